package senderauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Result is the outcome of a check in the words of RFC 8601 section 2.7.
type Result string

// Results.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"
	Policy    Result = "policy"
	Neutral   Result = "neutral"
	TempError Result = "temperror"
	PermError Result = "permerror"
)

// DKIMResult is the outcome of one signature.
type DKIMResult struct {
	Result    Result
	Domain    string // d=, in lower case
	Identity  string // i=
	Selector  string
	Algorithm string
	Bits      int    // of an RSA key
	Reason    string // of anything but a pass
	Testing   bool   // the domain only tries DKIM out
	// Partial says that text can be added to the body and it still passes (l=).
	Partial bool
	Fields  []string  // signed, in lower case
	Signed  time.Time // zero: not told
	Expires time.Time // zero: never
}

// signature is one signature field that can be checked: DKIM-Signature, or
// ARC-Message-Signature, which has the same form but for v and i.
type signature struct {
	field  mail.Field
	tags   tags
	domain string
	names  []string // of signed fields
	simple bool     // the header's canonicalisation; otherwise relaxed
	body   wantedBody
	sum    []byte // bh
	value  []byte // b
}

var errSyntax = errors.New("malformed signature")

// parseSignature reads a signature as far as it does not need the key. That of
// a handler (ARC) may leave From out, and is relaxed when it does not say.
func parseSignature(f mail.Field) (*signature, error) {
	arc := !f.Is("DKIM-Signature")
	_, value, _ := strings.Cut(f.Raw(), ":")
	t, err := parseTags(value)
	if err != nil {
		return nil, err
	}
	s := &signature{field: f, tags: t, domain: strings.ToLower(t.compact("d"))}
	for _, name := range []string{"a", "b", "bh", "d", "h", "s"} {
		if _, given := t[name]; !given || t.compact(name) == "" && !(arc && name == "h") {
			return s, fmt.Errorf("%w: no %s", errSyntax, name)
		}
	}
	if s.value, err = t.octets("b"); err != nil {
		return s, fmt.Errorf("%w: b", errSyntax)
	}
	if s.sum, err = t.octets("bh"); err != nil {
		return s, fmt.Errorf("%w: bh", errSyntax)
	}
	for _, name := range t.list("h") {
		s.names = append(s.names, strings.ToLower(name))
	}
	if !arc && !slices.Contains(s.names, "from") {
		return s, fmt.Errorf("%w: From is not signed", errSyntax)
	}
	if q := t.list("q"); len(q) > 0 && !slices.Contains(q, "dns/txt") {
		return s, fmt.Errorf("%w: keys elsewhere than in DNS", errSyntax)
	}
	switch t.compact("a") {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1":
		return s, errors.New("SHA-1 proves nothing (RFC 8301)")
	default:
		return s, fmt.Errorf("%w: algorithm", errSyntax)
	}
	if _, given := t["c"]; arc && !given {
		t["c"] = "relaxed/simple"
	}
	return s, s.canonical()
}

// canonical reads c and l.
func (s *signature) canonical() error {
	header, body, _ := strings.Cut(s.tags.compact("c"), "/")
	for _, c := range []string{header, body} {
		if c != "" && c != "simple" && c != "relaxed" {
			return fmt.Errorf("%w: canonicalisation", errSyntax)
		}
	}
	s.simple = header != "relaxed"
	s.body = wantedBody{relaxed: body == "relaxed", limit: -1}
	if l, ok := s.tags["l"]; ok {
		n, err := strconv.ParseInt(strings.TrimSpace(l), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: l", errSyntax)
		}
		s.body.limit = n
	}
	return nil
}

// times reads t and x.
func (s *signature) times(r *DKIMResult) error {
	for name, at := range map[string]*time.Time{"t": &r.Signed, "x": &r.Expires} {
		text, ok := s.tags[name]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return fmt.Errorf("%w: %s", errSyntax, name)
		}
		*at = time.Unix(n, 0)
	}
	if !r.Expires.IsZero() && !r.Signed.IsZero() && r.Expires.Before(r.Signed) {
		return fmt.Errorf("%w: it ends before it begins", errSyntax)
	}
	return nil
}

// hashHeader hashes the signed fields, from the lowest of each name up, and
// then the signature itself without its value (RFC 6376 section 3.7).
func (s *signature) hashHeader(h *mail.Header) []byte {
	left := map[string][]string{} // by name, the highest first
	for f := range h.All() {
		name := strings.ToLower(f.Name)
		if slices.Contains(s.names, name) {
			left[name] = append(left[name], f.Raw())
		}
	}
	sum := sha256.New()
	for _, name := range s.names {
		all := left[name]
		if len(all) == 0 {
			continue // that there is none is signed, too
		}
		sum.Write([]byte(s.canonicalField(all[len(all)-1])))
		left[name] = all[:len(all)-1]
	}
	own := s.canonicalField(withoutTag(s.field.Raw(), "b"))
	sum.Write([]byte(strings.TrimSuffix(own, "\r\n")))
	return sum.Sum(nil)
}

func (s *signature) canonicalField(raw string) string {
	if !s.simple {
		return relaxedHeader(raw)
	}
	raw = strings.ReplaceAll(strings.TrimRight(raw, "\r\n"), "\r\n", "\n")
	return strings.ReplaceAll(raw, "\n", "\r\n") + "\r\n"
}

// covers tells whether the signature is about all From fields there are, so
// that none can be added that a reader would see.
func (s *signature) covers(h *mail.Header) bool {
	signed := 0
	for _, name := range s.names {
		if name == "from" {
			signed++
		}
	}
	return len(h.Values("From")) <= signed
}

// fits compares the body's hash.
func (s *signature) fits(bodies bodyHashes) error {
	b := bodies[s.body]
	if s.body.limit > b.seen {
		return errors.New("the body is shorter than what was signed")
	}
	if subtle.ConstantTimeCompare(b.Hash.Sum(nil), s.sum) != 1 {
		return errors.New("the body has been changed")
	}
	return nil
}
