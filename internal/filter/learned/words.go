package learned

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Lengths of words, in letters. What is shorter says little, what is longer is
// mostly a random string that no second message holds.
const (
	minWord = 3
	maxWord = 24
	maxRun  = 12 // of kanji or katakana, as one token
)

// script is how a letter is cut into tokens.
type script int

const (
	noLetter  script = iota
	spaced           // European and other scripts with spaces between words
	digit            // only together with letters
	invisible        // as if it were not there
	han              // bigrams, in Japanese text whole runs too
	katakana
	hiragana
	hangul   // words and bigrams
	unspaced // Thai and its neighbours: bigrams
)

func scriptOf(r rune) script {
	switch {
	case r < 0x80:
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			return spaced
		case r >= '0' && r <= '9':
			return digit
		}
		return noLetter
	case r == 0xad, r >= 0x200b && r <= 0x200f, r == 0x2060, r == 0xfeff, r == 0x34f:
		return invisible
	case r == 0x30fc, unicode.Is(unicode.Katakana, r):
		return katakana
	case unicode.Is(unicode.Hiragana, r):
		return hiragana
	case unicode.Is(unicode.Han, r), r == 0x3005:
		return han
	case unicode.Is(unicode.Hangul, r):
		return hangul
	case unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
		return unspaced
	case unicode.IsLetter(r), unicode.IsMark(r):
		return spaced
	case unicode.IsDigit(r):
		return digit
	}
	return noLetter
}

// text adds the words of a text, and for the body (kind "") its links and how
// it is written.
func (c *collector) text(text, kind string) {
	text = norm.NFKC.String(text)
	w := &words{c: c, kind: kind, japanese: strings.ContainsFunc(text, kana)}
	for field := range strings.FieldsFuncSeq(text, separates) {
		if len(c.list) == maxSeen {
			return
		}
		w.field(field)
	}
	w.joinLetters()
	w.shape()
}

func separates(r rune) bool {
	return unicode.IsSpace(r) || r == '<' || r == '>' || r == '"' || r == '\x00'
}

func kana(r rune) bool {
	return unicode.Is(unicode.Hiragana, r) || unicode.Is(unicode.Katakana, r)
}

// words cuts one text.
type words struct {
	c        *collector
	kind     string
	japanese bool

	run     []rune
	of      script // of run
	letters int    // in run that are no digits
	upper   int
	single  []rune // letters that stand alone, one behind the other

	count, capitals, loud, money, percent int
	hidden                                bool
}

// field cuts what stands between two spaces. Addresses are left out: they tell
// who wrote, not what.
func (w *words) field(f string) {
	if i := linkStart(f); i >= 0 && w.kind == "" {
		end := i + linkEnd(f[i:])
		w.c.link(withScheme(f[i:end]), "")
		w.scan(f[:i])
		f = f[end:]
	}
	if strings.Contains(f, "@") && ascii(f) {
		return
	}
	w.scan(f)
}

func linkStart(f string) int {
	for _, start := range []string{"http://", "https://", "www.", "HTTP://", "Http://"} {
		if i := strings.Index(f, start); i >= 0 {
			return i
		}
	}
	return -1
}

// linkEnd ends a link in running text at the first letter of another script,
// which in Japanese follows without a space.
func linkEnd(f string) int {
	end := strings.IndexFunc(f, func(r rune) bool { return r >= 0x80 || r == ')' || r == ']' || r == '\'' })
	if end < 0 {
		end = len(f)
	}
	return len(strings.TrimRight(f[:end], ".,;:!?"))
}

func withScheme(target string) string {
	if strings.HasPrefix(target, "www.") {
		return "http://" + target
	}
	return target
}

func (w *words) scan(f string) {
	var last rune
	for _, r := range f {
		w.rune(r, last)
		last = r
	}
	w.flush()
}

func (w *words) rune(r, last rune) {
	s := scriptOf(r)
	switch {
	case s == invisible:
		w.hidden = true
		return
	case (r == '\'' || r == '’') && w.of == spaced:
		return
	case s == noLetter:
		w.flush()
		w.sign(r, last)
		return
	case joins(w.of, s):
	default:
		w.flush()
	}
	if len(w.run) == 0 || w.of == digit {
		w.of = s
	}
	if s != digit {
		w.letters++
	}
	if unicode.IsUpper(r) {
		w.upper++
		r = unicode.ToLower(r)
	}
	w.run = append(w.run, r)
}

// joins tells whether a letter of script b goes on in a run of script a.
func joins(a, b script) bool {
	wordly := func(s script) bool { return s == spaced || s == digit }
	chinese := func(s script) bool { return s == han || s == katakana || s == hiragana }
	return a == b || wordly(a) && wordly(b) || chinese(a) && chinese(b)
}

// sign counts what is no letter and yet says something.
func (w *words) sign(r, last rune) {
	switch r {
	case '!':
		w.loud++
	case '%':
		if last >= '0' && last <= '9' {
			w.percent++
		}
	case '$', '€', '£', '¥':
		w.money++
	}
}

// flush ends the run.
func (w *words) flush() {
	if len(w.run) == 0 {
		return
	}
	switch w.of {
	case spaced:
		w.word()
	case han, katakana, hiragana:
		if w.japanese {
			w.runs()
		}
		w.bigrams()
	case hangul:
		w.word()
		w.bigrams()
	case unspaced:
		w.bigrams()
	}
	w.run, w.of, w.letters, w.upper = w.run[:0], noLetter, 0, 0
}

// word adds a run as one word.
func (w *words) word() {
	n := len(w.run)
	if n == 1 && w.letters == 1 {
		if len(w.single) < maxWord {
			w.single = append(w.single, w.run[0])
		}
		return
	}
	w.joinLetters()
	w.count++
	if n > 3 && w.upper == n {
		w.capitals++
	}
	least := minWord
	if w.run[0] > 0x2e7f { // Hangul, where a syllable is a letter here
		least = 2
	}
	if n < least || n > maxWord || w.letters < n-w.letters || w.letters < n && n > 10 {
		return
	}
	if s := string(w.run); w.kind != "" || !w.c.skip[s] {
		w.c.add(w.kind, s)
	}
}

// joinLetters adds a word that was spelt w i t h  s p a c e s.
func (w *words) joinLetters() {
	if len(w.single) >= 4 {
		w.c.add(kindShape, "letters apart")
		w.c.add(w.kind, string(w.single))
	}
	w.single = w.single[:0]
}

// runs adds the kanji and katakana runs of Japanese text, which are mostly
// words: no dictionary is needed for them.
func (w *words) runs() {
	start := 0
	for i := 1; i <= len(w.run); i++ {
		of := scriptOf(w.run[start])
		if i < len(w.run) && scriptOf(w.run[i]) == of {
			continue
		}
		if n := i - start; of != hiragana && n >= 3 && n <= maxRun {
			w.c.add(w.kind, string(w.run[start:i]))
		}
		start = i
	}
}

func (w *words) bigrams() {
	w.count++
	if len(w.run) == 1 {
		w.c.add(w.kind, string(w.run))
	}
	for i := 0; i+2 <= len(w.run); i++ {
		w.c.add(w.kind, string(w.run[i:i+2]))
	}
}

// shape adds how the text is written, apart from its words.
func (w *words) shape() {
	of := w.kind
	if of == "" {
		of = "text:"
	}
	add := func(there bool, what string) {
		if there {
			w.c.add(kindShape, of+what)
		}
	}
	add(w.loud > 0, "exclamation="+bucket(w.loud))
	add(w.money > 0, "money="+bucket(w.money))
	add(w.percent > 0, "percent="+bucket(w.percent))
	add(w.hidden, "invisible letters")
	add(w.capitals > 2 && w.capitals*5 > w.count, "shouting")
}
