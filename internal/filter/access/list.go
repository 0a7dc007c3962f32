package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Tag is what an entry is held against.
type Tag string

// Tags, as they are written before a pattern.
const (
	Any     Tag = ""
	Connect Tag = "Connect"
	From    Tag = "From"
	To      Tag = "To"
)

// Action is what an entry says.
type Action string

// Actions. Skip ends a search as if nothing had been found.
const (
	Allow Action = "allow"
	Block Action = "block"
	Label Action = "label"
	Skip  Action = "skip"
)

// Weights of entries that give none, in points of score.
const (
	AllowWeight = 10 // taken from the score
	BlockWeight = 15 // decisive by itself
	LabelWeight = 2
)

// MaxEntries bounds a list. Looking up does not slow with size; memory grows by
// some 300 octets an entry.
const MaxEntries = 1_000_000

// Entry is one line of a list.
type Entry struct {
	Tag     Tag
	Pattern string // see the package comment
	Action  Action
	// Weight is in points, above 0, for Allow too; 0 is that of the action.
	Weight float64
	Note   string // why, for the reader of a finding
	Line   int    // where it stood in an imported text, 0 when it did not
}

// key is one way to be found.
type key struct {
	tag  Tag
	name string // user@example.com, user@, example.com; "" for networks
	net  netip.Prefix
}

// List is a set of entries to search in. The zero List is empty and ready.
// Reading is safe for concurrent use once nothing is added any more.
type List struct {
	entries map[key]Entry
	lengths [2][]int // prefix lengths in use, longest first: IPv4, IPv6
}

// Len gives the number of entries.
func (l *List) Len() int { return len(l.entries) }

// Add puts an entry in. An equal tag and pattern is an error, since one of the
// two cannot be meant.
func (l *List) Add(e Entry) error {
	switch e.Tag {
	case Any, Connect, From, To:
	default:
		return fmt.Errorf("unknown tag %q", e.Tag)
	}
	switch e.Action {
	case Allow, Block, Label, Skip:
	default:
		return fmt.Errorf("unknown action %q", e.Action)
	}
	if e.Weight < 0 || e.Weight > 1000 {
		return fmt.Errorf("weight %g is not between 0 and 1000", e.Weight)
	}
	k, err := parsePattern(e.Pattern)
	if err != nil {
		return err
	}
	if k.tag = e.Tag; k.net.IsValid() && (e.Tag == From || e.Tag == To) {
		return fmt.Errorf("%s: is never held against a network such as %s", e.Tag, e.Pattern)
	}
	if k.name != "" && strings.Contains(k.name, "@") && e.Tag == Connect {
		return fmt.Errorf("%s: is never held against an address such as %s", e.Tag, e.Pattern)
	}
	if old, ok := l.entries[k]; ok {
		return fmt.Errorf("%s is there already with %q", e.Pattern, old.Action)
	}
	if len(l.entries) >= MaxEntries {
		return fmt.Errorf("more than %d entries", MaxEntries)
	}
	if l.entries == nil {
		l.entries = map[key]Entry{}
	}
	l.entries[k] = e
	if k.net.IsValid() {
		l.addLength(k.net)
	}
	return nil
}

func (l *List) addLength(p netip.Prefix) {
	lengths := &l.lengths[family(p.Addr())]
	if !slices.Contains(*lengths, p.Bits()) {
		*lengths = append(*lengths, p.Bits())
		slices.SortFunc(*lengths, func(a, b int) int { return b - a })
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func parsePattern(s string) (key, error) {
	if p, ok, err := parseNetwork(s); ok || err != nil {
		return key{net: p}, err
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		d, err := mail.ParseDomain(s)
		return key{name: string(d)}, err
	}
	local, domain := s[:at], s[at+1:]
	if domain == "" {
		// Made whole, so that the same rules of quoting and case hold.
		a, err := mail.ParseAddress(local + "@invalid")
		return key{name: mail.NormalLocal(a.Local) + "@"}, err
	}
	a, err := mail.ParseAddress(s)
	return key{name: a.Key()}, err
}

// parseNetwork tells whether s is an address, a part of one as sendmail writes
// it, or a network with its length. ok is false for everything that begins as a
// name does.
func parseNetwork(s string) (p netip.Prefix, ok bool, err error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	six := len(s) > 5 && strings.EqualFold(s[:5], "IPv6:")
	if six {
		s = s[5:]
	} else if strings.Trim(s, "0123456789./") != "" && !strings.Contains(s, ":") {
		return p, false, nil
	}
	if strings.Contains(s, "/") {
		p, err = netip.ParsePrefix(s)
		if err == nil && p.Masked() != p {
			err = fmt.Errorf("%s has bits set behind its length", s)
		}
	} else if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
		p = netip.PrefixFrom(a, a.BitLen())
	} else if six || strings.Contains(s, ":") {
		p, err = partSix(s)
	} else {
		p, err = partFour(s)
	}
	if err == nil && p.Addr().Is4In6() {
		err = fmt.Errorf("%s: write IPv4 as IPv4", s)
	}
	return p, err == nil, err
}

// partFour reads "192.0.2" as 192.0.2.0/24.
func partFour(s string) (netip.Prefix, error) {
	s = strings.TrimSuffix(s, ".")
	n := strings.Count(s, ".") + 1
	if n > 3 {
		return netip.Prefix{}, fmt.Errorf("%q is no IPv4 network", s)
	}
	a, err := netip.ParseAddr(s + strings.Repeat(".0", 4-n))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no IPv4 network", s)
	}
	return netip.PrefixFrom(a, 8*n), nil
}

// partSix reads "2001:db8" as 2001:db8::/32.
func partSix(s string) (netip.Prefix, error) {
	s = strings.TrimSuffix(s, ":")
	n := strings.Count(s, ":") + 1
	if n > 7 || strings.Contains(s, "::") {
		return netip.Prefix{}, fmt.Errorf("%q is no IPv6 network", s)
	}
	a, err := netip.ParseAddr(s + strings.Repeat(":0", 8-n))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no IPv6 network", s)
	}
	return netip.PrefixFrom(a, 16*n), nil
}
