package link

import (
	"regexp"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/hypertext"
)

// maxFound bounds how many different URLs of one message are looked at.
const maxFound = 500

// Found is a URL and where it was found.
type Found struct {
	URL
	Raw   string
	Shown string // what the reader sees of a link in HTML
	Kind  hypertext.Kind
	HTML  bool
}

// Of gives the URLs of a message, each target once for what is shown of it.
func Of(m *filter.Message) []Found { return filter.Once(m, collect) }

func collect(m *filter.Message) []Found {
	var c collector
	for _, p := range m.Parts {
		if page := p.Page(); page != nil {
			for _, l := range page.Links {
				c.add(l.Target, Found{Shown: l.Shown, Kind: l.Kind, HTML: true})
			}
			for _, raw := range InText(page.Text) {
				c.add(raw, Found{Shown: raw})
			}
			continue
		}
		for _, raw := range InText(p.Text) {
			c.add(raw, Found{Shown: raw})
		}
	}
	return c.found
}

type collector struct {
	found []Found
	seen  map[[2]string]bool
}

func (c *collector) add(raw string, f Found) {
	key := [2]string{raw, f.Shown}
	if len(c.found) == maxFound || c.seen[key] {
		return
	}
	if c.seen == nil {
		c.seen = map[[2]string]bool{}
	}
	c.seen[key] = true
	if strings.HasPrefix(raw, "//") {
		raw = "http:" + raw
	}
	u, ok := Parse(raw)
	if !ok {
		if u, ok = Parse("http://" + raw); !ok || !f.HTML || !known(u.Host) {
			return
		}
	}
	f.URL, f.Raw = u, raw
	c.found = append(c.found, f)
}

// Candidates in text: anything with a scheme, and names and addresses that
// programs make links of although they have none.
const urlRest = `[^\s<>"'{}|\\^` + "`" + `\x{3000}-\x{30ff}\x{4e00}-\x{9fff}\x{ff00}-\x{ffef}]*`

var (
	withScheme = regexp.MustCompile(`(?i)(?:https?|ftp)(?::|%3a)[\\/]{1,3}` + urlRest)
	userAtHost = regexp.MustCompile(`(?i)www\.[a-z0-9.:-]+@[a-z0-9.-]+(?::[0-9]+)?` + urlRest)
	mailto     = regexp.MustCompile(`(?i)\bmailto:[^\s<>"']+`)
	address    = regexp.MustCompile(`(?i)[a-z0-9.!#$%&*+/=?^_~-]+@((?:[a-z0-9-]+\.)+[a-z]{2,24})`)
	bareName   = regexp.MustCompile(`(?i)([a-z0-9_-](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_-]+)*\.[a-z]{2,24})((?::[0-9]{1,5})?(?:[/?#]` + urlRest + `)?)`)
)

// InText gives the URLs that mail programs would make links of in plain text.
// Names without a scheme get http:// or, when they begin so, ftp://; addresses
// get mailto:.
func InText(text string) []string {
	var w wordScan
	for word := range strings.FieldsSeq(text) {
		if strings.ContainsAny(word, ".:%@") && len(w.out) < maxFound {
			w.word(word)
		}
	}
	return w.out
}

// wordScan looks for URLs word by word: none has white space inside.
type wordScan struct{ out []string }

func (w *wordScan) word(s string) {
	if strings.ContainsAny(s, `/\`) {
		s = w.take(withScheme, "", s)
	}
	if strings.ContainsRune(s, '@') {
		s = w.take(mailto, "", s)
		s = w.take(userAtHost, "http://", s)
		s = w.take(address, "mailto:", s)
	}
	if !strings.ContainsRune(s, '.') {
		return
	}
	for _, m := range bareName.FindAllStringSubmatch(s, maxFound) {
		name := strings.TrimLeft(m[1], "-")
		host := strings.ToLower(name)
		if !known(host) || fileName(host) && m[2] == "" {
			continue
		}
		scheme := "http://"
		if strings.HasPrefix(host, "ftp.") {
			scheme = "ftp://"
		}
		if raw := scheme + trim(name+m[2]); plausible(raw) {
			w.out = append(w.out, raw)
		}
	}
}

// take keeps what matches, and gives the rest.
func (w *wordScan) take(re *regexp.Regexp, prefix, s string) string {
	return re.ReplaceAllStringFunc(s, func(raw string) string {
		raw = prefix + trim(raw)
		if plausible(raw) && (prefix != "mailto:" || known(raw[strings.LastIndexByte(raw, '@')+1:])) {
			w.out = append(w.out, raw)
		}
		return " "
	})
}

var badLabel = regexp.MustCompile(`\.\.|^-|\.-|-\.|-$`)

// plausible tells whether the host of a URL could be found by anybody.
func plausible(raw string) bool {
	if strings.HasPrefix(strings.ToLower(raw), "mailto:") {
		return strings.Count(raw, "@") == 1
	}
	u, ok := Parse(raw)
	return ok && u.Host != "" && !badLabel.MatchString(u.Host)
}

// fileName tells of endings that are top levels and, far more often, files.
func fileName(name string) bool {
	if strings.HasPrefix(name, "www.") || strings.Count(name, ".") > 1 {
		return false
	}
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "zip", "py", "pl", "sh", "rs", "md", "so", "ps", "mov", "java", "app", "py3", "tar":
		return true
	}
	return false
}

// trim takes off what ends the sentence instead of the URL.
func trim(raw string) string {
	for {
		short := strings.TrimRight(raw, ".,;:!?*'\"-")
		if last := len(short) - 1; last > 0 {
			switch short[last] {
			case ')':
				if strings.Count(short, "(") < strings.Count(short, ")") {
					short = short[:last]
				}
			case ']':
				if strings.Count(short, "[") < strings.Count(short, "]") {
					short = short[:last]
				}
			case '>':
				short = short[:last]
			}
		}
		if short == raw {
			return raw
		}
		raw = short
	}
}

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// Hosts gives the hosts that the links of a message lead to, each once: names
// and addresses.
func Hosts(m *filter.Message) []string {
	var out []string
	seen := map[string]bool{}
	for _, f := range Of(m) {
		if host := strings.Trim(f.Host, "[]"); f.Web() && host != "" && !seen[host] {
			seen[host] = true
			out = append(out, host)
		}
	}
	return out
}
