package imapd

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"%", "", true},
		{"*", "a/b", true}, {"%", "a", true}, {"%", "a/b", false}, {"a/%", "a/b", true}, {"a/%", "a", false},
		{"a/%", "a/b/c", false}, {"a/%/%", "a/b/c", true}, {"*c", "a/b/c", true}, {"%c", "a/b/c", false},
		{"%3/%4", "test3/test4", true}, {"%t*4", "test3/test4", true}, {"*%4", "x/4", true}, {"%*", "a/b", true},
		{"%%", "a/b", false}, {"a*b%c", "axb/bxc", true}, {"a*b%c", "axb/xc", false},
		{"inbox", "INBOX", true}, {"inb%", "INBOX", true}, {"%box", "INBOX", true}, {"inbox/%", "INBOX/a", true},
		{"inbox/A", "INBOX/a", false}, {"a/inbox", "a/INBOX", false}, {"inboxes", "INBOXES", false},
		{"e\u0301", "é", true}, {"*本", "日本", true},
	} {
		p := newPattern("", c.pattern)
		if got := p.match(c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.name, got)
		}
	}
	for _, n := range []int{63, 64, 65, 127, 128, maxListed, maxListed + 1} { // where words end
		name := strings.Repeat("a", n)
		for _, text := range []string{name, "%" + name, name + "*", name[:n-1] + "%"} {
			if p := newPattern("", text); p.match(name) == (n > maxListed && text != name[:n-1]+"%") || p.match(name+"/b/") != (text == name+"*" && n <= maxListed) {
				t.Errorf("%d octets", n)
			}
		}
	}
	if p := newPattern("a/", "%%*%"); !p.match("a/b/c") || p.match("a") {
		t.Error("reference")
	}
}

// BenchmarkPatternAtWorst is about the worst that a hostile client can reach
// with one name.
func BenchmarkPatternAtWorst(b *testing.B) {
	name := strings.Repeat(strings.Repeat("a", 249)+"/", 4) + "a"
	p := newPattern("", "*"+strings.Repeat("a", 200)+"b"+strings.Repeat("*%a", 500))
	for b.Loop() {
		if p.match(name) {
			b.Fatal(name)
		}
	}
}

// FuzzPattern compares with a regular expression.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a*b%c", "%/%", "*%*", "%a/*/b%", "inb%/x", "a**%%b"} {
		f.Add(s, "axb/bxc")
	}
	f.Add("%a%b/*c%d", "xaxb/yc/zcqd")
	f.Add("i*x", "INBOX/x")
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > 200 || len(name) > 500 || !utf8.ValidString(text) || !utf8.ValidString(name) {
			return
		}
		text, name = norm.NFC.String(text), norm.NFC.String(name)
		p := newPattern("", text)
		var b strings.Builder
		for _, r := range text {
			switch r {
			case '*':
				b.WriteString(`(?s:.*)`)
			case '%':
				b.WriteString(`[^/]*`)
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		want := regexp.MustCompile(`^(?:` + b.String() + `)$`).MatchString(name)
		if got := p.match(name); got != want && !(got && strings.HasPrefix(name, inbox)) {
			t.Fatalf("%q on %q: %v", text, name, got)
		}
	})
}
