package digest

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bounds of what is looked at in one part.
const (
	maxWords     = 20_000
	maxWordRunes = 30 // longer is an identifier; Korean letters count singly
)

// words gives the words of a text in a form that survives what senders of bulk
// change from copy to copy: case, width, accents, invisible characters, letters
// of other scripts that look alike, single letters set apart, numbers, addresses,
// links, and words that look made at random. names are those of the recipients,
// which are left out. Scripts without spaces give pairs of characters.
func words(text string, names []string) []string {
	text = norm.NFKD.String(text)
	for _, name := range names {
		if !spaced(name) {
			text = strings.ReplaceAll(text, name, " ")
		}
	}
	s := &splitter{names: names}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, ">") { // what is answered to
			continue
		}
		for field := range strings.FieldsSeq(line) {
			s.field(field)
		}
		if len(s.out) >= maxWords {
			break
		}
	}
	s.endWord()
	s.endLetters()
	return s.out[:min(len(s.out), maxWords)]
}

// spaced tells whether a text is of a script that sets its words apart.
func spaced(s string) bool { return !strings.ContainsFunc(s, dense) }

// dense tells whether a rune is of a script without spaces between words.
func dense(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー'
}

// splitter collects words.
type splitter struct {
	names   []string
	out     []string
	word    []rune
	digits  bool
	last    rune     // of a dense run, 0 outside
	letters []string // words of one letter in a row
}

// field takes what stands between spaces. Addresses and links are cut out of
// it: where spaces are not used, text goes on right behind them.
func (s *splitter) field(field string) {
	for {
		at := strings.Index(field, "://")
		if i := strings.IndexByte(field, '@'); i >= 0 && (at < 0 || i < at) {
			at = i
		}
		if len(field) > 4 && strings.EqualFold(field[:4], "www.") {
			at = 0
		}
		if at < 0 {
			break
		}
		start, end := at, at
		for start > 0 && field[start-1] > ' ' && field[start-1] < 0x7f && field[start-1] != '<' && field[start-1] != '(' {
			start--
		}
		for end < len(field) && field[end] > ' ' && field[end] < 0x7f {
			end++
		}
		s.runes(field[:start])
		field = field[end:]
	}
	s.runes(field)
}

func (s *splitter) runes(text string) {
	for _, r := range text {
		switch {
		case r >= 0x80 && unicode.In(r, unicode.Mn, unicode.Cf):
			continue
		case dense(r):
			s.endWord()
			if s.last != 0 {
				s.out = append(s.out, string([]rune{s.last, r}))
			}
			s.last = r
			continue
		case unicode.IsLetter(r):
			s.word = append(s.word, alike(unicode.ToLower(r)))
		case unicode.IsDigit(r):
			s.word, s.digits = append(s.word, r), true
		case r == '\'' || r == '’': // don't is dont
			continue
		default:
			s.endWord()
		}
		s.last = 0
	}
	s.endWord()
	s.last = 0
}

func (s *splitter) endWord() {
	if len(s.word) == 0 {
		return
	}
	w, digits := string(s.word), s.digits
	n := len(s.word)
	random := n > maxWordRunes && s.word[0] < 0x250 || digits || randomWord(s.word)
	s.word, s.digits = s.word[:0], false
	if random || slices.Contains(s.names, w) {
		return
	}
	if n == 1 {
		s.letters = append(s.letters, w)
		return
	}
	s.endLetters()
	s.out = append(s.out, w)
}

// endLetters joins letters that were set apart into one word. Fewer are left out:
// "a" and "I" come and go.
func (s *splitter) endLetters() {
	if len(s.letters) >= 3 {
		s.out = append(s.out, strings.Join(s.letters, ""))
	}
	s.letters = s.letters[:0]
}

// randomWord tells whether Latin letters look like no word of any language.
func randomWord(w []rune) bool {
	if len(w) < 5 {
		return false
	}
	vowels, row, longest := 0, 0, 0
	for _, r := range w {
		switch {
		case r >= 0x80:
			return false
		case strings.ContainsRune("aeiouy", r):
			vowels++
			row = 0
		default:
			row++
			longest = max(longest, row)
		}
	}
	return vowels == 0 || longest >= 6
}

// alike gives the Latin letter that r is drawn like. Texts in those scripts only
// become unreadable, the same way each time.
func alike(r rune) rune {
	if r < 0x250 {
		return r
	}
	if l, ok := drawn[r]; ok {
		return l
	}
	return r
}

var drawn = func() map[rune]rune {
	const these, those = "авсеіјкмнорѕтухһӏԁԛԝοαενικρτυχ", "abceijkmhopstyxhldqwoaevikptux"
	m, i := map[rune]rune{}, 0
	for _, r := range these {
		m[r] = rune(those[i])
		i++
	}
	return m
}()
