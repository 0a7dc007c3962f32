// Package link finds where a message leads its reader: the URLs of its text and
// HTML, as a browser would understand them, and the tricks by which a URL hides
// where it leads.
package link

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	whatwg "github.com/nlnwa/whatwg-url/url"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// maxURL bounds what is looked at of one URL, in octets.
const maxURL = 8 << 10

// URL is a URL as a browser understands it (WHATWG URL standard).
type URL struct {
	Href   string // normalised
	Scheme string // lower case, without the colon
	Host   string // ASCII, lower case; of an address, its usual form
	Port   string // "" when it is that of the scheme
	Path   string
	Query  string // without the question mark
	// Domain is the registrable domain of Host: what somebody can own. It is
	// Host itself for an address, and "" for names that nobody can own.
	Domain string
	// Shared says that many strangers have their pages below one suffix.
	Shared bool
	Tricks Trick
}

// Numeric tells whether the host is an address instead of a name.
func (u URL) Numeric() bool {
	_, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	return err == nil
}

// Web tells whether the URL leads to a web page.
func (u URL) Web() bool { return u.Scheme == "http" || u.Scheme == "https" }

var parser = whatwg.NewParser()

// Parse understands a URL as a browser does. What has no scheme is none.
func Parse(raw string) (URL, bool) {
	raw = raw[:min(len(raw), maxURL)]
	parsed, err := parser.Parse(strings.ToValidUTF8(raw, "\uFFFD"))
	if err != nil {
		return URL{}, false
	}
	u := URL{
		Href:   parsed.Href(false),
		Scheme: parsed.Scheme(),
		Host:   strings.ToLower(strings.TrimSuffix(parsed.Hostname(), ".")),
		Port:   parsed.Port(),
		Path:   parsed.Pathname(),
		Query:  strings.TrimPrefix(parsed.Search(), "?"),
	}
	u.Domain, u.Shared = Registrable(u.Host)
	u.Tricks = tricks(raw, u)
	return u, true
}

// Registrable gives the part of a host name that somebody can own, and whether
// it stands below a suffix that is given out piecewise to strangers, as hosters
// of free pages do. An address is its own.
func Registrable(host string) (domain string, shared bool) {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return host, false
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return "", false
	}
	switch {
	case freePages[host]: // strangers are told apart by the path
		return host, true
	case freePages[domain], strings.HasPrefix(domain, "blogspot."):
		below := strings.TrimSuffix(host, "."+domain)
		return below[strings.LastIndexByte(below, '.')+1:] + "." + domain, true
	}
	return domain, !icann && strings.Contains(suffix, ".")
}

// known tells whether a name ends in a top level that the Internet has.
func known(host string) bool {
	suffix, icann := publicsuffix.PublicSuffix(host)
	return icann || strings.Contains(suffix, ".")
}

// Unescape undoes percent escapes as often as they were done, five times at most.
func Unescape(s string) string {
	for range 5 {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == s {
			return s
		}
		s = plain
	}
	return s
}

// Unicode gives a host name as a reader may see it.
func Unicode(host string) string {
	shown, err := idna.Punycode.ToUnicode(host)
	if err != nil {
		return host
	}
	return shown
}

// mixes tells whether a label is written in scripts that no language mixes.
// Japanese and Korean mix Han with their own and with Latin letters.
func mixes(label string) bool {
	var latin, greek, cyrillic, other bool
	for _, r := range label {
		switch {
		case !unicode.IsLetter(r), unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo):
		case unicode.Is(unicode.Latin, r):
			latin = true
		case unicode.Is(unicode.Greek, r):
			greek = true
		case unicode.Is(unicode.Cyrillic, r):
			cyrillic = true
		default:
			other = true
		}
	}
	kinds := 0
	for _, has := range []bool{latin, greek, cyrillic, other} {
		if has {
			kinds++
		}
	}
	return kinds > 1
}
