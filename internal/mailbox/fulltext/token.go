package fulltext

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// class is what a token is made of. Where one class ends and another begins
// depends on the two characters alone, so the tokens of a string are those of
// any text around it but for the first and the last.
type class uint8

const (
	gap class = iota // spaces and punctuation: between tokens
	letter
	han
	hiragana
	katakana
	symbol
)

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' {
			return letter
		}
		return gap
	case r >= 0x3041 && r <= 0x309f:
		return hiragana
	case r >= 0x30a1 && r <= 0x30ff && r != '・' || r >= 0x31f0 && r <= 0x31ff:
		return katakana
	case r >= 0x3400 && r <= 0x9fff || r >= 0x3005 && r <= 0x3007 || r >= 0xf900 && r <= 0xfaff || r >= 0x20000 && r <= 0x3ffff:
		return han
	case unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r):
		return letter
	case unicode.IsPunct(r) || unicode.IsSpace(r) || unicode.IsControl(r):
		return gap
	}
	return symbol
}

// separation is what stands between a token and the one before it, by its
// number in separators.
type separation uint32

// separators are those that are told apart: they join the words of phrases and
// sentences, addresses, names of hosts and files.
var separators = [...]string{"", " ", ".", "-", "@", "/", "_", "'", ":", "=", ", ", ". ", "://", "、", "。"}

const (
	space       = separation(1)               // " "
	others      = separation(len(separators)) // anything else, which must be looked at; also in front of the first token
	separations = others + 1
)

// A place is the number of a token in its text times separations, plus its
// separation.

const (
	maxRun  = 64                  // characters of a token; longer runs are cut
	stride  = maxRun / 2          // between the beginnings of their pieces
	certain = maxRun - stride + 1 // characters that are surely together in one piece
)

// token is a run of characters of one class.
type token struct {
	word   string
	behind separation
	runes  int
}

// scanner gives the tokens of normal text, one after the other.
type scanner struct {
	text  string // still to be scanned
	token token  // found last, uncut
}

// next finds the next run.
func (s *scanner) next() bool {
	if s.plain() {
		return true
	}
	start, kind := -1, gap
	between := 0
	for i := 0; i < len(s.text); {
		k, size := s.classAt(i)
		switch {
		case start < 0 && k == gap:
			i += size
			between = i
			continue
		case start < 0:
			start, kind, s.token.runes = i, k, 0
		case k != kind:
			s.take(start, i, between)
			return true
		}
		s.token.runes++
		i += size
	}
	if start < 0 {
		return false
	}
	s.take(start, len(s.text), between)
	return true
}

// plain is next for what most of a text is: letters of ASCII between two spaces,
// or a space and punctuation. For all else it tells false.
func (s *scanner) plain() bool {
	t := s.text
	if s.token.word == "" || len(t) < 2 || t[0] != ' ' || classes[t[1]] != letter {
		return false
	}
	end := 2
	for end < len(t) && classes[t[end]] == letter {
		end++
	}
	if end < len(t) && t[end] >= utf8.RuneSelf {
		return false // it may go on
	}
	s.token, s.text = token{t[1:end], space, end - 1}, t[end:]
	return true
}

// classes are those of characters of one octet.
var classes = func() (list [256]class) {
	for c := range rune(utf8.RuneSelf) {
		list[c] = classOf(c)
	}
	return list
}()

// classAt gives the class of the character at i, and its octets.
func (s *scanner) classAt(i int) (class, int) {
	if c := s.text[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	r, size := utf8.DecodeRuneInString(s.text[i:])
	return classOf(r), size
}

func (s *scanner) take(start, end, between int) {
	s.token.behind = others
	if i := slices.Index(separators[:], s.text[:between]); i >= 0 && s.token.word != "" {
		s.token.behind = separation(i)
	}
	s.token.word, s.text = s.text[start:end], s.text[end:]
}

// tokens calls yield for each token of normal text with its place, of which
// the first has the number from, and gives the number behind the last one. Runs
// that are too long are given in pieces that overlap, every other number, so
// that no piece seems to follow another.
func tokens(text string, from uint32, yield func(word string, place uint32)) uint32 {
	s := scanner{text: text}
	n := from
	for s.next() {
		word := s.token.word
		for runes := s.token.runes; runes > maxRun; runes -= stride {
			yield(word[:runeOffset(word, maxRun)], n*uint32(separations)+uint32(s.token.behind))
			word = word[runeOffset(word, stride):]
			n += 2
		}
		yield(word, n*uint32(separations)+uint32(s.token.behind))
		n++
	}
	return n
}

// runeOffset gives the offset of character n of s.
func runeOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// lastRunes gives the last n characters of s.
func lastRunes(s string, n int) string {
	i := len(s)
	for ; n > 0 && i > 0; n-- {
		_, size := utf8.DecodeLastRuneInString(s[:i])
		i -= size
	}
	return s[i:]
}

// maxPattern is how many tokens of a string are looked for; each costs a look
// at all words.
const maxPattern = 16

// pattern is a string that is looked for, as tokens.
type pattern struct {
	tokens []token
	more   bool // there are tokens behind them
	exact  bool // what has the tokens in their places has the string
}

// patternOf takes a normal string apart.
func patternOf(text string) pattern {
	p := pattern{exact: true}
	s := scanner{text: text}
	for s.next() {
		if p.more = len(p.tokens) == maxPattern; p.more {
			break
		}
		p.tokens = append(p.tokens, s.token)
		if s.token.runes > certain || len(p.tokens) > 1 && s.token.behind == others {
			p.exact = false
		}
	}
	if len(p.tokens) == 0 || p.more || s.text != "" || !strings.HasPrefix(text, p.tokens[0].word) {
		p.exact = false
	}
	return p
}

// whole tells which ends of the words for token i are known: the first token of
// a string may be the end of a word, its last one the beginning.
func (p *pattern) whole(i int) (begin, end bool) {
	return i > 0, i < len(p.tokens)-1 || p.more
}
