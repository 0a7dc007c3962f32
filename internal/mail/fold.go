package mail

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Line lengths without CRLF (RFC 5322 section 2.1.1, RFC 2047 section 2). An
// encoded-word may take 75, but 60 lets it stand on a line with a field name.
const (
	foldAt   = 76
	maxLine  = 998
	maxWord  = 60
	wordOpen = "=?utf-8?B?"
)

// FormatField writes one field with folding and its CRLF. Line ends, NUL and
// other control characters in value become spaces, so no text can begin a new
// field. Text that is not ASCII is written as encoded-words (RFC 2047), which
// is right for unstructured fields and display names; build addresses with
// HeaderAddress.String.
func FormatField(name, value string) string {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\ufffd"))
	return fold(name+":", strings.Split(EncodeText(value), " "))
}

// fold joins words with spaces and breaks lines before those that would pass
// foldAt. Words are never broken unless one passes the hard limit of a line.
func fold(start string, words []string) string {
	var b strings.Builder
	b.WriteString(start)
	col, first := len(start), true
	for _, w := range words {
		for len(w) > maxLine-1 {
			b.WriteString("\r\n " + w[:maxLine-1])
			w, col, first = w[maxLine-1:], maxLine, false
		}
		// A line must not consist of white space alone, so an empty word
		// (two spaces in a row) never starts one.
		if !first && w != "" && col+1+len(w) > foldAt {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteString(" " + w)
		col += 1 + len(w)
		first = false
	}
	return b.String() + "\r\n"
}

// EncodeText gives text for an unstructured field or a phrase: ASCII stays,
// anything else becomes encoded-words of UTF-8 of at most 60 characters each,
// separated by single spaces. Only the stretch from the first to the last
// word that needs it is encoded. What looks like an encoded-word but is plain
// text is encoded too, so that DecodeText gives back what went in.
func EncodeText(text string) string {
	words := strings.Split(text, " ")
	first, last := -1, -1
	for i, w := range words {
		if !isASCII(w) || strings.Contains(w, "=?") || len(w) > maxLine-1 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return text
	}
	// Spaces between encoded-words vanish on decoding, so those inside and
	// any doubled ones at the borders are encoded with the text.
	for first > 0 && words[first-1] == "" {
		first--
	}
	for last < len(words)-1 && words[last+1] == "" {
		last++
	}
	out := append([]string{}, words[:first]...)
	out = append(out, encodeWords(strings.Join(words[first:last+1], " "))...)
	return strings.Join(append(out, words[last+1:]...), " ")
}

// encodeWords splits between characters, never within one: each encoded-word
// must decode by itself (RFC 2047 section 5).
func encodeWords(text string) []string {
	const room = (maxWord - len(wordOpen) - len("?=")) / 4 * 3
	var out []string
	text = strings.ToValidUTF8(text, "\ufffd")
	for text != "" {
		n := 0
		for n < len(text) {
			_, size := utf8.DecodeRuneInString(text[n:])
			if n+size > room {
				break
			}
			n += size
		}
		out = append(out, wordOpen+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
		text = text[n:]
	}
	return out
}
