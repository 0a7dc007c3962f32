package link

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Trick is a set of ways in which a URL hides where it leads.
type Trick uint

// The tricks.
const (
	EscapedHost   Trick = 1 << iota // percent escapes in the host
	UserInfo                        // something before an @ that the reader takes for the host
	OddAddress                      // an address in hexadecimal, octal or as one number
	Backslash                       // a slash written the other way before the host
	HiddenSpace                     // tabs or line ends inside
	WideLetters                     // letters that a browser folds to ASCII
	MixedScripts                    // look-alikes of other alphabets in one label
	Redirect                        // another site's URL in the query or path
	Program                         // javascript:, data: or vbscript: instead of a place
	OddPort                         // a port that no web site uses
	EscapedLetter                   // escapes of letters and digits, that need none
)

var trickWords = []struct {
	trick Trick
	words string
}{
	{EscapedHost, "escapes in the host name"}, {UserInfo, "something before @ in place of the host"},
	{OddAddress, "an address in disguise"}, {Backslash, "backslashes"}, {HiddenSpace, "hidden white space"},
	{WideLetters, "letters that only look like ASCII"}, {MixedScripts, "letters of different alphabets in one word"},
	{Redirect, "another site's URL inside"}, {Program, "a program instead of a place"}, {OddPort, "an unusual port"},
	{EscapedLetter, "needless escapes"},
}

// String tells the tricks in words.
func (t Trick) String() string {
	var words []string
	for _, w := range trickWords {
		if t&w.trick != 0 {
			words = append(words, w.words)
		}
	}
	return strings.Join(words, ", ")
}

var (
	afterScheme    = regexp.MustCompile(`(?i)^\s*[a-z][a-z0-9+.-]*:[\\/\t\r\n]*`)
	escapedLetters = regexp.MustCompile(`(?i)%(3[0-9]|[46][1-9a-f]|[57][0-9a])`)
)

// usualPorts are those that web sites are found at. "" is the scheme's own.
var usualPorts = map[string]bool{"": true, "80": true, "443": true, "8080": true, "8443": true, "8000": true}

// tricks tells how raw hides that it is u.
func tricks(raw string, u URL) Trick {
	var t Trick
	add := func(trick Trick, is bool) {
		if is {
			t |= trick
		}
	}
	add(HiddenSpace, strings.ContainsAny(strings.TrimSpace(raw), "\t\r\n"))
	switch u.Scheme {
	case "javascript", "data", "vbscript":
		return t | Program
	case "http", "https", "ftp":
	default:
		return t
	}
	start := afterScheme.FindString(raw)
	rest := raw[len(start):]
	authority := rest
	if end := strings.IndexAny(rest, `/\?#`); end >= 0 {
		authority = rest[:end]
	}
	user, host, found := cutLast(authority, "@")
	if !found {
		host = authority
	}
	add(UserInfo, found && user != "")
	add(Backslash, strings.Contains(start, `\`) || strings.HasPrefix(rest[len(authority):], `\`))
	add(EscapedHost, strings.Contains(host, "%") && !strings.HasPrefix(host, "["))
	add(WideLetters, foldedToASCII(host, u.Host))
	name := strings.TrimSuffix(host, ":"+u.Port)
	_, err := netip.ParseAddr(strings.Trim(strings.TrimSuffix(name, ":"), "[]."))
	add(OddAddress, u.Numeric() && err != nil)
	for label := range strings.SplitSeq(Unicode(u.Host), ".") {
		add(MixedScripts, mixes(label))
	}
	add(OddPort, !usualPorts[u.Port])
	add(Redirect, redirects(u))
	add(EscapedLetter, len(escapedLetters.FindAllStringIndex(rest[len(authority):], 10)) >= 3 && !strings.Contains(rest, "%25"))
	return t
}

// foldedToASCII tells whether a host name is pure ASCII only after the browser
// has folded it: full-width and mathematical letters, odd dots.
func foldedToASCII(written, host string) bool {
	for _, r := range written {
		if r > 0x7f {
			return !strings.Contains(host, "xn--")
		}
	}
	return false
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Inner gives the URL of another site that is carried inside of u, such as a
// redirector is told where to lead.
func Inner(u URL) (URL, bool) {
	candidates := []string{u.Path}
	if values, err := url.ParseQuery(u.Query); err == nil {
		for _, list := range values {
			candidates = append(candidates, list...)
		}
	} else {
		candidates = append(candidates, u.Query)
	}
	for _, c := range candidates {
		c = Unescape(c)
		at := indexURL(c)
		if at < 0 {
			continue
		}
		if inner, ok := parseInner(c[at:]); ok && inner.Domain != "" && inner.Domain != u.Domain {
			return inner, true
		}
	}
	return URL{}, false
}

func redirects(u URL) bool {
	_, ok := Inner(u)
	return ok
}

func indexURL(s string) int {
	lower := strings.ToLower(s)
	for _, scheme := range []string{"https:/", "http:/", "http:\\"} {
		if at := strings.Index(lower, scheme); at >= 0 {
			return at
		}
	}
	return -1
}

// parseInner is Parse without a look at tricks, which would look inside again.
func parseInner(raw string) (URL, bool) {
	parsed, err := parser.Parse(raw[:min(len(raw), maxURL)])
	if err != nil {
		return URL{}, false
	}
	u := URL{Href: parsed.Href(false), Scheme: parsed.Scheme(), Host: strings.ToLower(parsed.Hostname())}
	u.Domain, u.Shared = Registrable(u.Host)
	return u, true
}
