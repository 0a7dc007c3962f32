package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxTTL is the longest any answer is kept: a correction must get through.
const maxTTL = time.Hour

// Zone answers from the text of a zone file (RFC 1035, 5). The text may hold any
// number of domains; the origin is the root, and no SOA record is needed.
// Whatever is not in it does not exist. Wildcards work as in RFC 4592.
type Zone struct {
	lookups
	// Authentic marks every answer as validated. Set before first use.
	Authentic bool
	// Failing lists names in plain form for which every question fails
	// temporarily. Set before first use.
	Failing []string

	records map[string][]dns.RR // by owner in plain form; nil for an empty non-terminal
}

// ParseZone reads the text of a zone file. $INCLUDE is refused.
func ParseZone(text string) (*Zone, error) {
	z := &Zone{records: make(map[string][]dns.RR)}
	z.lookups = lookups{z}
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		owner := plain(rr.Header().Name)
		z.records[owner] = append(z.records[owner], rr)
		for up := parent(owner); up != ""; up = parent(up) {
			if _, ok := z.records[up]; !ok {
				z.records[up] = nil
			}
		}
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("zone text: %w", err)
	}
	return z, nil
}

func parent(name string) string {
	_, up, _ := strings.Cut(name, ".")
	return up
}

// ask has no cache: the zone is in memory.
func (z *Zone) ask(ctx context.Context, name string, qtype uint16) answer {
	return resolve(ctx, z, name, qtype)
}

func (z *Zone) exchange(ctx context.Context, q dns.Question) (response, error) {
	if err := ctx.Err(); err != nil {
		return response{}, err
	}
	m := z.Reply(q)
	if m.Rcode == dns.RcodeServerFailure {
		return response{}, errors.New("the zone says so")
	}
	return response{msg: m, authentic: m.AuthenticatedData}, nil
}

// Reply is the message, without an ID, in which a recursive server would answer
// q from this zone: it makes a Zone into a DNS server for tests.
func (z *Zone) Reply(q dns.Question) *dns.Msg {
	m := new(dns.Msg)
	m.Response, m.RecursionAvailable, m.AuthenticatedData = true, true, z.Authentic
	m.Question = []dns.Question{q}
	name := plain(q.Name)
	for range maxAliases + 2 {
		if slices.Contains(z.Failing, name) {
			m.Rcode, m.Answer = dns.RcodeServerFailure, nil
			return m
		}
		rrs, exists := z.find(name)
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		var alias *dns.CNAME
		found := false
		for _, rr := range rrs {
			c, isAlias := rr.(*dns.CNAME)
			if rr.Header().Rrtype != q.Qtype && !isAlias {
				continue
			}
			cp := dns.Copy(rr)
			cp.Header().Name = dns.Fqdn(name)
			m.Answer = append(m.Answer, cp)
			if rr.Header().Rrtype == q.Qtype {
				found = true
			} else {
				alias = c
			}
		}
		if found || alias == nil {
			break
		}
		name = plain(alias.Target)
	}
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:  "localhost.", Mbox: "postmaster.localhost.", Serial: 1, Refresh: 60, Retry: 60, Expire: 60, Minttl: 60,
	}}
	return m
}

// find returns the records of a name or of the wildcard that covers it. The
// nearest existing ancestor decides whether there is one: RFC 4592, 3.3.1.
func (z *Zone) find(name string) ([]dns.RR, bool) {
	if rrs, ok := z.records[name]; ok {
		return rrs, true
	}
	for up := parent(name); up != ""; up = parent(up) {
		if rrs, ok := z.records["*."+up]; ok {
			return rrs, true
		}
		if _, ok := z.records[up]; ok {
			return nil, false
		}
	}
	return nil, false
}
