package senderauth

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var errSPF = errors.New("SPF record with an error")

// spfTerm is one mechanism of a record (RFC 7208 section 5).
type spfTerm struct {
	result SPFResult // when it matches
	name   string    // all, include, a, mx, ptr, ip4, ip6, exists
	domain string    // domain-spec, "" for the current domain
	net    netip.Prefix
	bits4  int // of a and mx
	bits6  int
}

// spfRecord is a record that has been read whole: an error anywhere in it makes
// all of it void (RFC 7208 section 4.6).
type spfRecord struct {
	terms    []spfTerm
	redirect string
}

var (
	spfModifier = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.-]*)=(.*)$`)
	spfCIDR     = regexp.MustCompile(`^(.*?)(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?$`)
	spfMacros   = regexp.MustCompile(`^(?:[!-$&-~]|%[%_-]|%\{[slodiphvSLODIPHV](?:[1-9][0-9]*)?[rR]?[.+,/_=-]*\})*$`)
	spfEnd      = regexp.MustCompile(`(?:\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?|%[%_-]|%\{[^}]*\})$`)
)

// isDomainSpec tells whether s is a domain-spec (RFC 7208 section 7.1).
func isDomainSpec(s string) bool { return spfMacros.MatchString(s) && spfEnd.MatchString(s) }

// parseSPF reads a record behind its version.
func parseSPF(text string) (*spfRecord, error) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return nil, fmt.Errorf("%w: octet %#x", errSPF, c)
		}
	}
	r := &spfRecord{}
	seen := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ' ' }) {
		if m := spfModifier.FindStringSubmatch(word); m != nil {
			if err := r.modifier(strings.ToLower(m[1]), m[2], seen); err != nil {
				return nil, err
			}
			continue
		}
		t, err := parseMechanism(word)
		if err != nil {
			return nil, err
		}
		r.terms = append(r.terms, t)
	}
	return r, nil
}

func (r *spfRecord) modifier(name, value string, seen map[string]bool) error {
	known := name == "redirect" || name == "exp"
	switch {
	case known && seen[name]:
		return fmt.Errorf("%w: %s twice", errSPF, name)
	case known && !isDomainSpec(value), !known && !spfMacros.MatchString(value):
		return fmt.Errorf("%w: %s=%.50q", errSPF, name, value)
	}
	seen[name] = true
	if name == "redirect" {
		r.redirect = value
	}
	return nil
}

var spfQualifiers = map[byte]SPFResult{'+': SPFPass, '-': SPFFail, '~': SPFSoftFail, '?': SPFNeutral}

func parseMechanism(word string) (spfTerm, error) {
	bad := fmt.Errorf("%w: %.50q", errSPF, word)
	t := spfTerm{result: SPFPass, bits4: 32, bits6: 128}
	if q, ok := spfQualifiers[word[0]]; ok {
		t.result, word = q, word[1:]
	}
	end := strings.IndexAny(word, ":/")
	if end < 0 {
		end = len(word)
	}
	t.name = strings.ToLower(word[:end])
	value, given := strings.CutPrefix(word[end:], ":")
	switch t.name {
	case "all":
		if word[end:] != "" {
			return t, bad
		}
	case "ip4", "ip6":
		return t, t.network(value, given, bad)
	case "a", "mx":
		m := spfCIDR.FindStringSubmatch(value)
		if m == nil || !t.lengths(m[2], m[3]) {
			return t, bad
		}
		t.domain = m[1]
		if given && !isDomainSpec(t.domain) || !given && t.domain != "" {
			return t, bad
		}
	case "include", "exists", "ptr":
		t.domain = value
		if given && !isDomainSpec(value) || !given && (t.name != "ptr" || word[end:] != "") {
			return t, bad
		}
	default:
		return t, bad
	}
	return t, nil
}

// lengths takes the prefix lengths of a and mx.
func (t *spfTerm) lengths(four, six string) bool {
	if four != "" {
		t.bits4, _ = strconv.Atoi(four)
	}
	if six != "" {
		t.bits6, _ = strconv.Atoi(six)
	}
	return t.bits4 <= 32 && t.bits6 <= 128
}

func (t *spfTerm) network(value string, given bool, bad error) error {
	m := spfCIDR.FindStringSubmatch(value)
	if !given || m == nil || m[3] != "" {
		return bad
	}
	a, err := netip.ParseAddr(m[1])
	if err != nil || a.Zone() != "" || a.Is4() != (t.name == "ip4") {
		return bad
	}
	bits := a.BitLen()
	if m[2] != "" {
		bits, _ = strconv.Atoi(m[2])
	}
	if bits > a.BitLen() {
		return bad
	}
	t.net = netip.PrefixFrom(a, bits).Masked()
	return nil
}
