package fulltext

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"Hello,\r\n\t World ":      "hello, world ",
		"a\u00a0\u3000b\x00c\x7fd": "a b c d",
		"ＡＢＣ１２３ ﾒｰﾙ ｶﾞ ㌔":           "abc123 メールガキロ",
		"株式\r\n 会社、 東京":             "株式会社、東京",
		"東京 Tokyo\n大阪":              "東京 tokyo 大阪",
		"e\u0301É":                  "éé",
		"Straße STRASSE ẞ":          "strasse strasse ss",
		"ΟΔΟΣ οδός":                 "οδοσ οδόσ",
		"Ёлка":                      "ёлка",
		"soft\u00adhyphen":          "softhyphen",
		"zero\u200bwidth\ufeff":     "zerowidth",
		"e\u200d\u0301":             "é",
		"\u1112\u1161\u11ab 한 글":    "한 한 글",
		"\xff\xfe":                  "\ufffd",
		"İstanbul ı":                "istanbul i",
		"ﬁne ① Ⅳ":                   "fine 1 iv",
		"☺️ 👩‍💻":                    "☺ 👩💻",
		"\u2028line\u0085separator": " line separator",
	} {
		if got := Normal(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzNormal(f *testing.F) {
	for _, s := range []string{"", "Aé\u0301", "ｶﾞ 会\n社", "\u0345Α", "\xff", "ΐ", "\u1e9e\u00df", "\ufdfa", "a\u0316\u0300", "ǰ̣", "\u0390", "㍿ ㍿"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 10_000 {
			return
		}
		n := Normal(in)
		if again := Normal(n); again != n {
			t.Fatalf("%q gives %q gives %q", in, n, again)
		}
		if !utf8.ValidString(n) || strings.Contains(n, "  ") || strings.ContainsFunc(n, unicode.IsControl) || !norm.NFKC.IsNormalString(n) {
			t.Fatalf("%q gives %q", in, n)
		}
		// A token alone has no other class than in its text, and nothing is lost.
		var all strings.Builder
		s := scanner{text: n}
		for s.next() {
			all.WriteString(s.token.word)
			if p := patternOf(s.token.word); len(p.tokens) != 1 || p.tokens[0].word != s.token.word || p.tokens[0].runes != utf8.RuneCountInString(s.token.word) {
				t.Fatalf("token %q of %q: %+v", s.token.word, n, p)
			}
		}
		if want := strings.Map(func(r rune) rune {
			if classOf(r) == gap {
				return -1
			}
			return r
		}, n); all.String() != want {
			t.Fatalf("tokens of %q are %q", n, all.String())
		}
	})
}
