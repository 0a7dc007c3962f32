package mail

import (
	"encoding/base64"
	"io"
)

// EncodeBase64 gives r in base64 (RFC 2045 section 6.8), in lines of 76
// characters. Behind the last one there is no line end: in a multipart it
// belongs to the boundary.
func EncodeBase64(r io.Reader) io.Reader { return newTransferReader(r, &base64Encoder{}) }

// EncodeQuoted gives r in quoted-printable (RFC 2045 section 6.7), in lines of
// 76 characters at most. CRLF stays a line end; CR or LF alone is encoded, so
// that any octets come back as they were. No line begins with a hyphen, so
// none can be taken for a boundary.
func EncodeQuoted(r io.Reader) io.Reader { return newTransferReader(r, &quotedEncoder{}) }

// base64Line is what one line of base64 holds.
const base64Line = 57

type base64Encoder struct {
	line [base64Line]byte
	n    int  // octets in line
	more bool // a line was written before
}

func (e *base64Encoder) code(out, in []byte) []byte {
	for len(in) > 0 {
		n := copy(e.line[e.n:], in)
		in = in[n:]
		if e.n += n; e.n == base64Line {
			out = e.end(out)
		}
	}
	return out
}

func (e *base64Encoder) end(out []byte) []byte {
	if e.n == 0 {
		return out
	}
	if e.more {
		out = append(out, '\r', '\n')
	}
	out = base64.StdEncoding.AppendEncode(out, e.line[:e.n])
	e.n, e.more = 0, true
	return out
}

// quotedRoom is what fits on a line in front of the "=" of a soft line break.
const quotedRoom = 75

type quotedEncoder struct {
	col   int
	space byte // white space held back to see whether a line ends behind it
	cr    bool // likewise a CR, to see whether LF follows
}

func (e *quotedEncoder) code(out, in []byte) []byte {
	for _, c := range in {
		if c == '\r' && !e.cr {
			e.cr = true
			continue
		}
		if c == '\n' && e.cr {
			out = append(e.flush(out, false), '\r', '\n')
			e.col = 0
			continue
		}
		out = e.flush(out, true)
		switch c {
		case '\r':
			e.cr = true
		case ' ', '\t':
			e.space = c
		default:
			out = e.put(out, c, c < ' ' || c > '~' || c == '=')
		}
	}
	return out
}

func (e *quotedEncoder) end(out []byte) []byte {
	return e.flush(out, e.cr)
}

// flush writes what was held back: text tells that more of the line follows
// the white space, and that the CR is none of a line end.
func (e *quotedEncoder) flush(out []byte, text bool) []byte {
	if e.space != 0 {
		out = e.put(out, e.space, !text)
		e.space = 0
	}
	if e.cr && text {
		out = e.put(out, '\r', true)
	}
	e.cr = false
	return out
}

// put writes one octet, encoded when it has to be or stands where a boundary
// would begin.
func (e *quotedEncoder) put(out []byte, c byte, encode bool) []byte {
	const hex = "0123456789ABCDEF"
	width := 1
	if encode {
		width = 3
	}
	if e.col+width > quotedRoom {
		out = append(out, "=\r\n"...)
		e.col = 0
	}
	if encode || c == '-' && e.col == 0 {
		e.col += 3
		return append(out, '=', hex[c>>4], hex[c&15])
	}
	e.col++
	return append(out, c)
}
