package mail

import (
	"strings"
)

// DecodeText gives the value of an unstructured field, or a phrase, as people
// read it: encoded-words (RFC 2047, RFC 2231 section 5) decoded, unencoded
// 8-bit text and raw ISO-2022-JP recognised. It is tolerant: words split in
// the middle of a character are joined, spaces inside them and missing
// padding are forgiven, and what cannot be decoded stays as it stands. The
// result is valid UTF-8.
func DecodeText(value string) string {
	if !strings.Contains(value, "=?") {
		return decodeRaw(value)
	}
	var b strings.Builder
	var run encodedRun
	for value != "" {
		start := strings.Index(value, "=?")
		if start < 0 {
			break
		}
		w, size := parseEncodedWord(value[start:])
		if size == 0 {
			run.flush(&b)
			b.WriteString(decodeRaw(value[:start+2]))
			value = value[start+2:]
			continue
		}
		gap := value[:start]
		// White space between two encoded-words is not part of the text.
		if !run.open() || strings.Trim(gap, " \t\r\n") != "" {
			run.flush(&b)
			b.WriteString(decodeRaw(gap))
		}
		run.add(&b, w)
		value = value[start+size:]
	}
	run.flush(&b)
	b.WriteString(decodeRaw(value))
	return b.String()
}

// decodeRaw reads text that nobody encoded.
func decodeRaw(s string) string {
	if isASCII(s) && !strings.Contains(s, "\x1b") {
		return s
	}
	return DecodeCharset("", []byte(s))
}

// maxEncodedWord is what we read of one word; 75 is allowed, but programs that
// never split exist. The bound keeps a run of openings without end linear.
const maxEncodedWord = 4 << 10

type encodedWord struct {
	charset string
	text    []byte // transfer encoding undone
}

// encodedRun joins adjacent encoded-words of one charset before they are
// decoded: many programs split multi-byte characters between them.
type encodedRun struct {
	charset string
	text    []byte
	started bool
}

func (r *encodedRun) open() bool { return r.started }

func (r *encodedRun) add(b *strings.Builder, w encodedWord) {
	if r.started && !strings.EqualFold(r.charset, w.charset) {
		r.flush(b)
	}
	r.charset, r.started = w.charset, true
	r.text = append(r.text, w.text...)
}

func (r *encodedRun) flush(b *strings.Builder) {
	if r.started {
		b.WriteString(DecodeCharset(r.charset, r.text))
	}
	*r = encodedRun{}
}

// parseEncodedWord reads =?charset?encoding?text?= at the start of s and gives
// the octets it takes, 0 when there is none.
func parseEncodedWord(s string) (encodedWord, int) {
	none := encodedWord{}
	s = s[:min(len(s), maxEncodedWord)]
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || len(charset) > 60 || strings.ContainsAny(charset, " \t\r\n=") || len(rest) < 2 || rest[1] != '?' {
		return none, 0
	}
	text := rest[2:]
	end := wordEnd(text)
	if end < 0 {
		return none, 0
	}
	w := encodedWord{charset: charset}
	switch rest[0] {
	case 'b', 'B':
		w.text = decodeBase64Words(text[:end])
	case 'q', 'Q':
		w.text = decodeQ(text[:end])
	default:
		return none, 0
	}
	return w, 2 + len(charset) + 3 + end + 2
}

// wordEnd finds the "?=" that ends an encoded text. A "?" belongs to the text
// in the words of some programs, a "=?" never does.
func wordEnd(text string) int {
	end := strings.Index(text, "?=")
	if end < 0 {
		return -1
	}
	if next := strings.Index(text[:end], "=?"); next >= 0 {
		return -1
	}
	return end
}

// decodeBase64Words takes padding inside the text as the start of the next
// stretch, as it stands where a program glued pieces together.
func decodeBase64Words(s string) []byte {
	var out []byte
	for piece := range strings.SplitSeq(s, "=") {
		out = append(out, decodeBase64Loose(piece)...)
	}
	return out
}

// decodeQ undoes the Q encoding (RFC 2047 section 4.2).
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}
