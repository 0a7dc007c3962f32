package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321 section 4.5.3.1, in octets.
//
// MaxLocal is for addresses a site makes of its own. ParseAddress does not
// hold a stranger to it: bounce addresses that carry another address (VERP,
// SRS) are often longer, no widespread server refuses them, and the section
// itself asks for techniques that impose no limits.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 254 // without the angle brackets
)

// ErrAddress is wrapped by every error of this file's parsers.
var ErrAddress = errors.New("invalid mail address")

// Domain is a mail domain in canonical form: A-labels in lower case without a
// trailing dot, or an address literal such as "[192.0.2.1]".
type Domain string

// Address is a parsed mailbox. The zero Address is the null sender "<>".
//
// Local and Domain are for decisions, Wire is what the peer wrote: an address
// that is passed on must not be changed on its way (RFC 5321 section 2.3.11).
// Compare addresses by Key, never with ==.
type Address struct {
	Local  string // without quotes and backslashes, case kept
	Domain Domain // empty only in "postmaster" and in the zero Address
	Wire   string // local-part@domain as it stood on the wire, without < and >
}

// IsNull tells whether a is the null sender.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// String gives the wire form, "" for the null sender.
func (a Address) String() string { return a.Wire }

// Path gives the wire form in angle brackets, "<>" for the null sender.
func (a Address) Path() string { return "<" + a.Wire + ">" }

// UTF8 tells whether handing a on needs SMTPUTF8 (RFC 6531).
func (a Address) UTF8() bool { return !isASCII(a.Wire) }

// Key gives the canonical form under which the directory knows a: the local
// part prepared by NormalLocal, then "@" and the canonical domain.
func (a Address) Key() string {
	if a.IsNull() {
		return ""
	}
	return NormalLocal(a.Local) + "@" + string(a.Domain)
}

// NormalLocal folds case and width of a local part (PRECIS UsernameCaseMapped,
// RFC 8265). What PRECIS refuses, such as a quoted string with spaces, is only
// lowered and composed, so that it stays distinct and can still be compared.
//
// NormalLocal(NormalLocal(s)) is NormalLocal(s).
func NormalLocal(local string) string {
	// Composing or lowering once may open the way for another step (a capital
	// that lowers to two characters, say), so go on until nothing changes.
	for range 8 {
		next := normalOnce(local)
		if next == local {
			break
		}
		local = next
	}
	return local
}

func normalOnce(local string) string {
	if isASCII(local) {
		return strings.ToLower(local)
	}
	if s, err := precis.UsernameCaseMapped.String(local); err == nil {
		return s
	}
	return norm.NFC.String(strings.ToLower(local))
}

// domains allows underscores, and hyphens anywhere inside a label, as in the
// real "r3---sn-abc.example"; a label that begins with "xn--" must be valid.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false),
	idna.CheckHyphens(false), idna.BidiRule())

// ParseDomain brings a domain name or address literal to canonical form. One
// trailing dot is dropped.
func ParseDomain(s string) (Domain, error) {
	return parseDomain(strings.TrimSuffix(s, "."))
}

func parseDomain(s string) (Domain, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if s == "" || len(s) > MaxDomain*4 {
		return "", fmt.Errorf("%w: empty or overlong domain", ErrAddress)
	}
	a, err := toASCII(s)
	if err != nil {
		return "", fmt.Errorf("%w: domain: %v", ErrAddress, err)
	}
	if len(a) > MaxDomain {
		return "", fmt.Errorf("%w: domain longer than %d octets", ErrAddress, MaxDomain)
	}
	for label := range strings.SplitSeq(a, ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%w: domain label %q", ErrAddress, label)
		}
	}
	return Domain(a), nil
}

// toASCII maps a name to A-labels in lower case. Most names need no mapping.
func toASCII(s string) (string, error) {
	if lower := strings.ToLower(s); isASCII(s) && !strings.Contains(lower, "xn--") {
		return lower, nil
	}
	if !utf8.ValidString(s) {
		return "", errors.New("not UTF-8")
	}
	a, err := domains.ToASCII(s)
	if err != nil {
		return "", err
	}
	// A canonical form that maps to something else is none.
	if again, err := domains.ToASCII(a); err != nil || again != a {
		return "", errors.New("label does not map to itself")
	}
	return a, nil
}

func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		c := l[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func parseLiteral(s string) (Domain, error) {
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", fmt.Errorf("%w: address literal without ]", ErrAddress)
	}
	if len(in) > 5 && strings.EqualFold(in[:5], "IPv6:") {
		ip, err := netip.ParseAddr(in[5:])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", fmt.Errorf("%w: IPv6 literal", ErrAddress)
		}
		return Domain("[IPv6:" + ip.String() + "]"), nil
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || !ip.Is4() {
		return "", fmt.Errorf("%w: address literal", ErrAddress)
	}
	return Domain("[" + ip.String() + "]"), nil
}

// Unicode gives the domain for people to read, with U-labels.
func (d Domain) Unicode() string {
	if u, err := domains.ToUnicode(string(d)); err == nil {
		return u
	}
	return string(d)
}

// ParseAddress parses local-part@domain strictly by RFC 5321 section 4.1.2
// with the UTF-8 of RFC 6531. A bare "postmaster" is an Address without domain.
func ParseAddress(s string) (Address, error) {
	if len(s) > MaxPath {
		return Address{}, fmt.Errorf("%w: longer than %d octets", ErrAddress, MaxPath)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, isC1) {
		return Address{}, fmt.Errorf("%w: not UTF-8, or control characters", ErrAddress)
	}
	if strings.EqualFold(s, "postmaster") {
		return Address{Local: s, Wire: s}, nil
	}
	local, n, err := parseLocal(s)
	if err != nil {
		return Address{}, err
	}
	if n >= len(s) || s[n] != '@' {
		return Address{}, fmt.Errorf("%w: no @ after the local part", ErrAddress)
	}
	d, err := parseDomain(s[n+1:])
	if err != nil {
		return Address{}, err
	}
	return Address{Local: local, Domain: d, Wire: s}, nil
}

// parseLocal reads a dot-string or quoted-string at the start of s and gives
// its meaning and the octets it took.
func parseLocal(s string) (string, int, error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	n := 0
	for n < len(s) && (isAtext(s[n]) || s[n] == '.') {
		n++
	}
	l := s[:n]
	if l == "" || l[0] == '.' || l[n-1] == '.' || strings.Contains(l, "..") {
		return "", 0, fmt.Errorf("%w: local part", ErrAddress)
	}
	return l, n, nil
}

func parseQuoted(s string) (string, int, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if b.Len() == 0 {
				return "", 0, fmt.Errorf("%w: empty quoted local part", ErrAddress)
			}
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(s) && s[i+1] >= ' ' && s[i+1] < 0x7f:
			i++
			b.WriteByte(s[i])
		case c >= ' ' && c != 0x7f && c != '\\':
			b.WriteByte(c)
		default:
			return "", 0, fmt.Errorf("%w: control character in quoted local part", ErrAddress)
		}
	}
	return "", 0, fmt.Errorf("%w: quoted local part without end", ErrAddress)
}

// isC1 finds the control characters of Latin-1, which UTF-8 can carry but no
// address has any use for.
func isC1(r rune) bool { return r >= 0x80 && r < 0xa0 }

// MakeAddress builds an address from its parts, quoting local where needed.
// Local must not be empty nor hold control characters; a local part from
// ParseAddress never does.
func MakeAddress(local string, d Domain) Address {
	wire := local
	if _, n, err := parseLocal(local); err != nil || n != len(local) || local[0] == '"' {
		wire = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if d != "" {
		wire += "@" + string(d)
	}
	return Address{Local: local, Domain: d, Wire: wire}
}

func isAtext(c byte) bool {
	return c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
