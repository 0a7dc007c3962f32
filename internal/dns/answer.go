package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits on what a stranger's zone may make us do.
const (
	maxAliases = 8   // steps in a chain of CNAMEs
	maxRecords = 512 // records of the type asked for in one answer
)

// An exchanger gets the response to one question. Its errors are causes: they
// are all temporary.
type exchanger interface {
	exchange(ctx context.Context, q dns.Question) (response, error)
}

// response is one message, with how far it may be believed.
type response struct {
	msg       *dns.Msg
	authentic bool
}

// answer is the outcome of one question after all aliases were followed. err is
// nil or an *Error.
type answer struct {
	meta Meta
	rrs  []dns.RR // of the type asked for; shared with the cache, not to be changed
	err  error
}

// resolve asks for name and follows its aliases, within one message where the
// server did that, by further questions where it did not.
func resolve(ctx context.Context, ex exchanger, name string, qtype uint16) answer {
	a := answer{meta: Meta{Name: name, Authentic: true, TTL: maxTTL}}
	fail := func(kind, cause error) answer {
		auth := a.meta.Authentic && kind != ErrTemporary
		a.err = &Error{Name: name, Type: dns.TypeToString[qtype], Kind: kind, Authentic: auth, Cause: cause}
		return a
	}
	for steps := 0; steps <= maxAliases; {
		resp, err := ex.exchange(ctx, dns.Question{Name: dns.Fqdn(a.meta.Name), Qtype: qtype, Qclass: dns.ClassINET})
		if err != nil {
			return fail(ErrTemporary, err)
		}
		a.meta.Authentic = a.meta.Authentic && resp.authentic
		n := a.follow(resp.msg, qtype, maxAliases-steps)
		if n < 0 {
			break
		}
		steps += n
		switch {
		case len(a.rrs) > maxRecords:
			return fail(ErrTemporary, fmt.Errorf("%d records", len(a.rrs)))
		case len(a.rrs) > 0:
			return a
		case resp.msg.Rcode == dns.RcodeNameError:
			a.meta.TTL = min(a.meta.TTL, denialTTL(resp.msg))
			return fail(ErrNoName, nil)
		case n == 0 || denialTTL(resp.msg) > 0:
			a.meta.TTL = min(a.meta.TTL, denialTTL(resp.msg))
			return fail(ErrNoRecord, nil)
		}
	}
	return fail(ErrTemporary, errors.New("chain of aliases is a loop or too long"))
}

// follow walks from a.meta.Name along the aliases in m, at most limit of them,
// and collects the records at the end. It returns the number of aliases, -1 when
// there are too many.
func (a *answer) follow(m *dns.Msg, qtype uint16, limit int) int {
	for n := 0; n <= limit; n++ {
		var alias *dns.CNAME
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || plain(h.Name) != a.meta.Name {
				continue
			}
			switch c, isAlias := rr.(*dns.CNAME); {
			case h.Rrtype == qtype:
				a.rrs = append(a.rrs, rr)
			case isAlias:
				alias = c
			default:
				continue
			}
			a.meta.TTL = min(a.meta.TTL, seconds(h.Ttl))
		}
		if len(a.rrs) > 0 || alias == nil {
			return n
		}
		a.meta.Name = plain(alias.Target)
	}
	return -1
}

// denialTTL is how long the denial in m may be kept: RFC 2308, 5. Without a SOA
// record it must not be.
func denialTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return 0
}

// seconds reads a TTL; one with the highest bit set counts as zero: RFC 2181, 8.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// plain is the form in which names are compared and returned.
func plain(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// askable says whether a name can exist at all. Escapes, which the library would
// interpret, and octets outside printable ASCII are never part of a mail name.
func askable(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' {
			return false
		}
	}
	_, ok := dns.IsDomainName(name)
	return ok && name != "" && name != "."
}

// isHostName says whether s, a plain name, consists of letters, digits, hyphens
// and underscores in labels: safe to log, compare and write into a header.
func isHostName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != ""
}
