package senderauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// maxSignatures bounds one message. What is above is not looked at.
const maxSignatures = 10

// Verifier checks DKIM signatures (RFC 6376, RFC 8301, RFC 8463) and chains of
// ARC (RFC 8617).
type Verifier struct {
	Resolver dns.Resolver
	Now      func() time.Time // nil: time.Now
}

// Verify checks a message in one pass and constant memory but for its header.
// Lines may end in CRLF or LF. An error is one of message.
func (v *Verifier) Verify(ctx context.Context, message io.Reader) ([]DKIMResult, ARCResult, error) {
	in := bufio.NewReaderSize(message, 32<<10)
	limits := mail.DefaultHeaderLimits()
	header, err := mail.ReadHeader(in, limits)
	if err != nil {
		if errors.Is(err, mail.ErrHeaderLimit) {
			return []DKIMResult{{Result: PermError, Reason: "the header is too large"}}, ARCResult{Result: None}, nil
		}
		return nil, ARCResult{}, err
	}
	bodies := bodyHashes{}
	var found []*checked
	for f := range header.All() {
		if f.Is("DKIM-Signature") && len(found) < maxSignatures {
			c := v.begin(f)
			if c.err == nil {
				bodies.want(c.sig.body)
			}
			found = append(found, c)
		}
	}
	look := v.keeper(ctx)
	for _, c := range found {
		if c.err == nil { // the keys come while the body is hashed
			go look.ahead(c.result.Selector, c.result.Domain)
		}
	}
	chain := readChain(header)
	if chain.err == nil && chain.last != nil {
		bodies.want(chain.last.body)
	}
	if _, err := io.Copy(bodies, in); err != nil {
		return nil, ARCResult{}, err
	}
	bodies.end()
	var out []DKIMResult
	for _, c := range found {
		out = append(out, c.finish(header, bodies, look))
	}
	return out, chain.verify(header, bodies, look), nil
}

// keyFinder gives the key of a selector.
type keyFinder func(selector, domain string) (*publicKey, error)

// ahead looks for a key that is asked for later. A panic comes again then.
func (look keyFinder) ahead(selector, domain string) {
	defer func() { _ = recover() }()
	_, _ = look(selector, domain)
}

// keeper asks for each key once. It may be called from several goroutines.
func (v *Verifier) keeper(ctx context.Context) keyFinder {
	var known sync.Map
	return func(selector, domain string) (*publicKey, error) {
		look, _ := known.LoadOrStore(selector+"\x00"+domain, sync.OnceValues(func() (*publicKey, error) {
			return lookUpKey(ctx, v.Resolver, selector, domain)
		}))
		return look.(func() (*publicKey, error))()
	}
}

// checked is a DKIM signature at work.
type checked struct {
	sig    *signature
	result DKIMResult
	err    error
}

// begin reads a signature and checks all that needs neither key nor body.
func (v *Verifier) begin(f mail.Field) *checked {
	c := &checked{}
	c.sig, c.err = parseSignature(f)
	if c.sig == nil {
		return c
	}
	t := c.sig.tags
	c.result = DKIMResult{Domain: c.sig.domain, Identity: unquote(t.compact("i")), Selector: t.compact("s"), Algorithm: t.compact("a"), Partial: t["l"] != ""}
	if c.err != nil {
		return c
	}
	c.result.Fields = c.sig.names
	if t["v"] != "1" {
		c.err = fmt.Errorf("%w: version", errSyntax)
		return c
	}
	if c.err = c.sig.times(&c.result); c.err != nil {
		return c
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	switch {
	case !c.result.Expires.IsZero() && now().After(c.result.Expires):
		c.err = errors.New("the signature has expired")
	case c.result.Signed.After(now().Add(24 * time.Hour)):
		c.err = errors.New("the signature is from the future")
	default:
		c.err = c.identity(false)
	}
	return c
}

// identity checks that i is within d; with strict, that it is d.
func (c *checked) identity(strict bool) error {
	if c.result.Identity == "" {
		return nil
	}
	_, domain, found := cutAt(c.result.Identity)
	domain = strings.ToLower(domain)
	if !found || domain != c.result.Domain && (strict || !strings.HasSuffix(domain, "."+c.result.Domain)) {
		return errors.New("identity is not of the signing domain")
	}
	return nil
}

func cutAt(address string) (local, domain string, found bool) {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[:i], address[i+1:], true
	}
	return address, "", false
}

// finish gives the outcome, with the key and the body.
func (c *checked) finish(h *mail.Header, bodies bodyHashes, look keyFinder) DKIMResult {
	if c.err != nil {
		c.result.Result, c.result.Reason = PermError, c.err.Error()
		return c.result
	}
	key, err := look(c.result.Selector, c.result.Domain)
	if err != nil {
		c.result.Result, c.result.Reason = PermError, err.Error()
		switch {
		case errors.Is(err, errKeyLater):
			c.result.Result = TempError
		case errors.Is(err, errKeySize):
			c.result.Result = Policy
		}
		return c.result
	}
	c.result.Testing = key.testing
	if key.rsa != nil {
		c.result.Bits = key.bits()
	}
	if err := c.identity(key.strict); err != nil {
		c.result.Result, c.result.Reason = PermError, err.Error()
		return c.result
	}
	c.result.Result = Fail
	if err := c.sig.fits(bodies); err != nil {
		c.result.Reason = err.Error()
	} else if err := key.verify(c.result.Algorithm, c.sig.hashHeader(h), c.sig.value); err != nil {
		c.result.Reason = "the header has been changed, or the key is another"
	} else if !c.sig.covers(h) {
		c.result.Result, c.result.Reason = Policy, "a From field has been added"
	} else {
		c.result.Result = Pass
	}
	return c.result
}
