package dnsbl

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Kind is what a list holds.
type Kind string

// Kinds of lists.
const (
	Address Kind = "address" // of clients
	Domain  Kind = "domain"  // of senders, clients and their greetings
	URL     Kind = "url"     // hosts in links
)

// List is one zone that is asked.
type List struct {
	Zone string // list.example.net, without a dot at either end
	Kind Kind
	// Name stands for the zone in findings and errors; "" is the zone. A zone
	// that holds a customer's key must not be shown to recipients.
	Name string
	// Weight is the score of an answer that Answers does not know, in points;
	// below 0 for a list of the good. 0 ignores such answers.
	Weight float64
	// Answers tells what answers mean, by
	//
	//	127.0.0.2     an answer
	//	127.0.0.0/28  a range of them
	//	&8            a bit in the last octet
	//
	// An exact answer goes before the longest range, that before bits.
	Answers map[string]Answer
	// Full asks for whole host names instead of registered domains. Lists
	// say which they hold.
	Full bool
	// Addrs asks a Domain or URL list for hosts that are addresses too.
	Addrs bool
}

// Answer is what one answer means.
type Answer struct {
	Weight  float64 // points
	Words   string  // why, for people
	Refusal bool    // it is no listing: the list does not answer us
}

// zone is a List in use.
type zone struct {
	List
	symbol string
	exact  map[netip.Addr]Answer
	ranges []rangeAnswer // longest first
	bits   []bitAnswer   // lowest first
	health health
}

type rangeAnswer struct {
	net netip.Prefix
	Answer
}

type bitAnswer struct {
	bit byte
	Answer
}

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")
	refusals = netip.MustParsePrefix("127.255.255.0/24")
	refusal  = netip.MustParseAddr("127.0.0.1")
)

// newZone checks a List.
func newZone(l List) (*zone, error) {
	d, err := mail.ParseDomain(l.Zone)
	if err != nil || strings.HasPrefix(l.Zone, "[") {
		return nil, fmt.Errorf("list %q: its zone is no domain name", l.Zone)
	}
	z := &zone{List: l, exact: map[netip.Addr]Answer{}}
	z.Zone = string(d)
	if z.Name == "" {
		z.Name = z.Zone
	}
	switch z.Kind {
	case Address, Domain, URL:
	default:
		return nil, fmt.Errorf("list %s: unknown kind %q", z.Name, z.Kind)
	}
	z.symbol = "DNSBL_" + strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToUpper(z.Name))
	for code, a := range l.Answers {
		if err := z.addAnswer(code, a); err != nil {
			return nil, fmt.Errorf("list %s: answer %q: %w", z.Name, code, err)
		}
	}
	z.sortAnswers()
	return z, nil
}

func (z *zone) addAnswer(code string, a Answer) error {
	if bit, ok := strings.CutPrefix(code, "&"); ok {
		n, err := strconv.ParseUint(bit, 10, 8)
		if err != nil || n == 0 || n&(n-1) != 0 {
			return fmt.Errorf("not one bit of 1 to 128")
		}
		z.bits = append(z.bits, bitAnswer{byte(n), a})
		return nil
	}
	if strings.Contains(code, "/") {
		p, err := netip.ParsePrefix(code)
		if err != nil || p.Bits() < 8 || !loopback.Contains(p.Addr()) || p.Masked() != p {
			return fmt.Errorf("not a network in 127.0.0.0/8")
		}
		z.ranges = append(z.ranges, rangeAnswer{p, a})
		return nil
	}
	addr, err := netip.ParseAddr(code)
	if err != nil || !loopback.Contains(addr) {
		return fmt.Errorf("not an address in 127.0.0.0/8")
	}
	z.exact[addr] = a
	return nil
}

// verdict is what the records of one name say.
type verdict struct {
	listed  bool
	weight  float64 // of the heaviest answer: one list counts once
	words   []string
	answers []netip.Addr
	refused error // the zone did not answer
}

// judge reads the answer to one question.
func (z *zone) judge(addrs []netip.Addr) verdict {
	var v verdict
	for _, a := range addrs {
		switch {
		case !a.Is4(): // a list has no meaning for these
			continue
		case !loopback.Contains(a):
			return verdict{refused: fmt.Errorf("answers %s, which is no answer of a list", a)}
		}
		meanings, known := z.meanings(a)
		for _, m := range meanings {
			if m.Refusal {
				return verdict{refused: fmt.Errorf("refuses to answer (%s) %s", a, m.Words)}
			}
		}
		if !known && (a == refusal || refusals.Contains(a)) {
			return verdict{refused: fmt.Errorf("refuses to answer (%s)", a)}
		}
		for _, m := range meanings {
			v.add(a, m)
		}
	}
	return v
}

func (v *verdict) add(a netip.Addr, m Answer) {
	if m.Weight == 0 {
		return
	}
	if !v.listed || max(m.Weight, -m.Weight) > max(v.weight, -v.weight) {
		v.weight = m.Weight
	}
	v.listed = true
	v.answers = append(v.answers, a)
	if m.Words != "" {
		v.words = append(v.words, m.Words)
	}
}

// meanings gives what an answer means; known says that it was set and is not
// only the weight for all others.
func (z *zone) meanings(a netip.Addr) (list []Answer, known bool) {
	if m, ok := z.exact[a]; ok {
		return []Answer{m}, true
	}
	for _, r := range z.ranges {
		if r.net.Contains(a) {
			return []Answer{r.Answer}, true
		}
	}
	// 127.0.0.1 has a bit set, and is still the refusal of those very lists.
	last := a.As4()[3]
	for _, b := range z.bits {
		if last&b.bit != 0 && a != refusal && !refusals.Contains(a) {
			list = append(list, b.Answer)
		}
	}
	if len(list) > 0 {
		return list, true
	}
	return []Answer{{Weight: z.Weight}}, false
}
