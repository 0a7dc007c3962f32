package fulltext

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxNormal bounds the rounds of Normal; two are enough for all but contrived
// text.
const maxNormal = 4

// Normal gives text in the form in which texts are compared: a text has a
// string when Normal of the one contains Normal of the other. It is NFKC, which
// makes one of half and full width, without case, and white space of any kind
// and length is one space. Between Chinese and Japanese characters white space
// is nothing: lines are broken in the middle of words there. Characters nobody
// sees (soft hyphens, joiners, variation selectors) are left out. There are no
// control characters in it.
func Normal(s string) string {
	if isASCII(s) {
		return string(foldASCII([]byte(s)))
	}
	return normalRest(s)
}

// normalOctets is Normal of text, which it may overwrite.
func normalOctets(text []byte) string {
	if isASCII(text) {
		return string(foldASCII(text))
	}
	return normalRest(string(text))
}

// normalRest is Normal where there is more than ASCII.
func normalRest(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if !strings.ContainsFunc(s, intricate) {
		return foldOnce(s)
	}
	for range maxNormal {
		next := foldOnce(norm.NFKC.String(strip(s)))
		if next == s || !strings.ContainsFunc(next, intricate) {
			return next
		}
		s = next
	}
	return s
}

// intricate tells whether there is more to a character than its case: all that
// NFKC may change or join to its neighbours. It errs on that side.
func intricate(r rune) bool {
	switch {
	case r < utf8.RuneSelf,
		r >= 0xc0 && r <= 0xff,                                 // Latin
		r >= 0x400 && r <= 0x481,                               // Cyrillic
		r >= 0x3001 && r <= 0x3029, r >= 0x3041 && r <= 0x3096, // Japanese
		r >= 0x30a1 && r <= 0x30fe,
		r >= 0x4e00 && r <= 0x9fff,
		r >= 0xac00 && r <= 0xd7a3: // Korean; a vowel after it is intricate
		return false
	}
	return true
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// folded are the octets of ASCII as Normal has them.
var folded = func() (list [utf8.RuneSelf]byte) {
	for c := range list {
		switch {
		case c <= ' ' || c == 0x7f:
			list[c] = ' '
		case 'A' <= c && c <= 'Z':
			list[c] = byte(c) + 'a' - 'A'
		default:
			list[c] = byte(c)
		}
	}
	return list
}()

// foldASCII makes text, which is nothing but ASCII, normal where it stands.
func foldASCII(text []byte) []byte {
	n, last := 0, byte(0)
	for _, c := range text {
		c = folded[c&0x7f]
		text[n] = c
		space := ((c ^ ' ') - 1) >> 7 // 1 or 0; a branch would go wrong at every word
		n += 1 - int(space&last)
		last = space
	}
	return text[:n]
}

// strip leaves out what nobody sees: it would keep letters and their marks
// apart.
func strip(s string) string {
	if !strings.ContainsFunc(s, unseen) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return -1
		}
		return r
	}, s)
}

func unseen(r rune) bool {
	if r < 0xad {
		return false
	}
	return r == 0xad || r == 0x34f || r == 0x61c || r >= 0x180b && r <= 0x180e || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e ||
		r >= 0x2060 && r <= 0x206f || r >= 0xfe00 && r <= 0xfe0f || r == 0xfeff || r >= 0xe0000 && r <= 0xe0fff
}

// foldOnce takes case and superfluous space off text in NFKC.
func foldOnce(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	last, space := rune(0), false
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r >= 0x80 && (unicode.IsSpace(r) || unicode.IsControl(r)) {
			space = true
			continue
		}
		if space && !(wide(last) && wide(r)) {
			b.WriteByte(' ')
		}
		space, last = false, r
		switch {
		case r < utf8.RuneSelf:
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
		case r == 'ß' || r == 'ẞ':
			b.WriteString("ss")
		case r >= 0x2e80 && r < 0xa640: // nothing there has case
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ToLower(unicode.ToUpper(r)))
		}
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}

// wide tells the characters of Chinese and Japanese, which put no space
// between words.
func wide(r rune) bool {
	return r >= 0x2e80 && (r <= 0x312f || r >= 0x31a0 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff || r >= 0x20000 && r <= 0x3ffff)
}
