package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// asker answers one question, aliases followed, perhaps from a cache.
type asker interface {
	ask(ctx context.Context, name string, qtype uint16) answer
}

// lookups turns single questions into the methods of Resolver.
type lookups struct{ asker }

// query brings the name into plain form before it is asked for.
func (l lookups) query(ctx context.Context, name string, qtype uint16) answer {
	if !askable(name) {
		return answer{err: &Error{Name: name, Type: dns.TypeToString[qtype], Kind: ErrNoName}}
	}
	return l.ask(ctx, plain(name), qtype)
}

// MX implements Resolver.
func (l lookups) MX(ctx context.Context, domain string) (MXResult, error) {
	a := l.query(ctx, domain, dns.TypeMX)
	if a.err != nil {
		return MXResult{}, a.err
	}
	res := MXResult{Meta: a.meta}
	for _, rr := range a.rrs {
		mx := rr.(*dns.MX)
		if mx.Mx == "." { // beside others it is an error of the zone: RFC 7505, 3
			res.Null = true
			continue
		}
		res.Hosts = append(res.Hosts, MX{Preference: mx.Preference, Host: plain(mx.Mx)})
	}
	res.Null = res.Null && len(res.Hosts) == 0
	sortMX(res.Hosts)
	return res, nil
}

// Addrs implements Resolver.
func (l lookups) Addrs(ctx context.Context, host string) (AddrsResult, error) {
	other := make(chan answer, 1)
	go func() { other <- l.query(ctx, host, dns.TypeAAAA) }()
	four := l.query(ctx, host, dns.TypeA)
	six := <-other

	if four.err != nil && six.err != nil {
		return AddrsResult{}, worse(four.err, six.err)
	}
	res := AddrsResult{Meta: four.meta}
	if four.err != nil {
		res.Meta = six.meta
	}
	for _, a := range []answer{four, six} {
		res.Authentic = res.Authentic && authentic(a)
		if IsTemporary(a.err) {
			res.Partial = a.err
		}
		if a.err == nil {
			res.TTL = min(res.TTL, a.meta.TTL)
		}
		for _, rr := range a.rrs {
			if addr, ok := address(rr); ok {
				res.Addrs = append(res.Addrs, addr)
			}
		}
	}
	if len(res.Addrs) == 0 {
		cause := errors.New("records without a usable address")
		return AddrsResult{}, &Error{Name: host, Type: "A", Kind: ErrTemporary, Cause: cause}
	}
	return res, nil
}

// worse picks which of two failures describes both: a temporary one leaves the
// question open, and a name that lacks one record exists.
func worse(a, b error) error {
	switch {
	case IsTemporary(a):
		return a
	case IsTemporary(b):
		return b
	case errors.Is(a, ErrNoRecord):
		return a
	}
	return b
}

func authentic(a answer) bool {
	var e *Error
	if errors.As(a.err, &e) {
		return e.Authentic
	}
	return a.meta.Authentic
}

func address(rr dns.RR) (netip.Addr, bool) {
	var addr netip.Addr
	var ok bool
	switch r := rr.(type) {
	case *dns.A:
		addr, ok = netip.AddrFromSlice(r.A)
	case *dns.AAAA:
		addr, ok = netip.AddrFromSlice(r.AAAA)
	}
	return addr.Unmap(), ok
}

// TXT implements Resolver. The strings of one record are joined without space:
// RFC 7208, 3.3 and RFC 6376, 3.6.2.2.
func (l lookups) TXT(ctx context.Context, name string) (TXTResult, error) {
	a := l.query(ctx, name, dns.TypeTXT)
	if a.err != nil {
		return TXTResult{}, a.err
	}
	res := TXTResult{Meta: a.meta}
	for _, rr := range a.rrs {
		var text strings.Builder
		for _, s := range rr.(*dns.TXT).Txt {
			text.WriteString(unescape(s))
		}
		res.Texts = append(res.Texts, text.String())
	}
	return res, nil
}

// unescape undoes the library's presentation form: \DDD and \X.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		if i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]) {
			out = append(out, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
			continue
		}
		i++
		out = append(out, s[i])
	}
	return string(out)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// PTR implements Resolver.
func (l lookups) PTR(ctx context.Context, addr netip.Addr) (PTRResult, error) {
	name, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return PTRResult{}, &Error{Name: addr.String(), Type: "PTR", Kind: ErrNoName}
	}
	a := l.query(ctx, name, dns.TypePTR)
	if a.err != nil {
		return PTRResult{}, a.err
	}
	res := PTRResult{Meta: a.meta}
	for _, rr := range a.rrs {
		if n := plain(rr.(*dns.PTR).Ptr); isHostName(n) {
			res.Names = append(res.Names, n)
		}
	}
	if len(res.Names) == 0 {
		return PTRResult{}, &Error{Name: name, Type: "PTR", Kind: ErrNoRecord}
	}
	return res, nil
}

// TLSA implements Resolver.
func (l lookups) TLSA(ctx context.Context, name string) (TLSAResult, error) {
	a := l.query(ctx, name, dns.TypeTLSA)
	if a.err != nil {
		return TLSAResult{}, a.err
	}
	res := TLSAResult{Meta: a.meta}
	for _, rr := range a.rrs {
		t := rr.(*dns.TLSA)
		data, err := hex.DecodeString(t.Certificate)
		if err != nil {
			return TLSAResult{}, &Error{Name: name, Type: "TLSA", Kind: ErrTemporary, Cause: fmt.Errorf("reading the record: %w", err)}
		}
		res.Records = append(res.Records, TLSA{t.Usage, t.Selector, t.MatchingType, data})
	}
	return res, nil
}

// maxPTR bounds how many names of an address are confirmed, as RFC 7208, 4.6.4
// does: an address with more is not a mail server's.
const maxPTR = 10

// ForwardConfirmed finds a name of addr that itself resolves to addr. Without
// one, ok is false, and err says, if not nil, that this could not be found out.
func ForwardConfirmed(ctx context.Context, r Resolver, addr netip.Addr) (name string, ok bool, err error) {
	addr = addr.Unmap().WithZone("")
	ptr, err := r.PTR(ctx, addr)
	if err != nil {
		if IsNotFound(err) {
			err = nil
		}
		return "", false, err
	}
	var open error
	for _, n := range ptr.Names[:min(len(ptr.Names), maxPTR)] {
		res, err := r.Addrs(ctx, n)
		for _, a := range res.Addrs {
			if a == addr {
				return n, true, nil
			}
		}
		if IsTemporary(err) {
			open = err
		} else if res.Partial != nil {
			open = res.Partial
		}
	}
	return "", false, open
}
