package mail

import (
	"fmt"
	"strings"
)

// ParsePath parses the reverse- or forward-path at the start of s, "<" to ">",
// and gives what follows it. "<>" is the zero Address. A source route
// ("<@a,@b:user@c>") is checked and dropped, as RFC 5321 section 4.1.1.3 and
// appendix C ask.
func ParsePath(s string) (a Address, rest string, err error) {
	in, ok := strings.CutPrefix(s, "<")
	if !ok {
		return Address{}, "", fmt.Errorf("%w: path without <", ErrAddress)
	}
	if rest, ok := strings.CutPrefix(in, ">"); ok {
		return Address{}, rest, nil
	}
	if in, err = dropRoute(in); err != nil {
		return Address{}, "", err
	}
	end, err := pathEnd(in)
	if err != nil {
		return Address{}, "", err
	}
	a, err = ParseAddress(in[:end])
	if err != nil {
		return Address{}, "", err
	}
	return a, in[end+1:], nil
}

// dropRoute cuts an A-d-l with its colon from the start of s.
func dropRoute(s string) (string, error) {
	if !strings.HasPrefix(s, "@") {
		return s, nil
	}
	for {
		if !strings.HasPrefix(s, "@") {
			return "", fmt.Errorf("%w: source route", ErrAddress)
		}
		hop := s[1:]
		n := strings.IndexAny(hop, ",:")
		if strings.HasPrefix(hop, "[") { // an IPv6 literal holds colons
			n = strings.IndexByte(hop, ']') + 1
		}
		if n <= 0 || n >= len(hop) || n > MaxDomain {
			return "", fmt.Errorf("%w: source route", ErrAddress)
		}
		if _, err := parseDomain(hop[:n]); err != nil {
			return "", err
		}
		switch hop[n] {
		case ':':
			return hop[n+1:], nil
		case ',':
			s = hop[n+1:]
		default:
			return "", fmt.Errorf("%w: source route", ErrAddress)
		}
	}
}

// pathEnd finds the > that ends a path; one inside quotes does not.
func pathEnd(s string) (int, error) {
	from := 0
	if strings.HasPrefix(s, `"`) {
		_, n, err := parseQuoted(s)
		if err != nil {
			return 0, err
		}
		from = n
	}
	end := strings.IndexByte(s[from:], '>')
	if end < 0 {
		return 0, fmt.Errorf("%w: path without >", ErrAddress)
	}
	return from + end, nil
}
