package mail

import (
	"bytes"
	"io"
)

// transferCoder undoes or applies a Content-Transfer-Encoding piece by piece.
type transferCoder interface {
	code(out, in []byte) []byte // appends what in completes
	end(out []byte) []byte      // appends what is left at the end
}

// transferReader runs a transferCoder over a reader in small steps.
type transferReader struct {
	in   io.Reader
	by   transferCoder
	buf  []byte
	out  []byte
	rest []byte // of out, not yet delivered
	err  error
}

func newTransferReader(in io.Reader, by transferCoder) io.Reader {
	return &transferReader{in: in, by: by, buf: make([]byte, 4096)}
}

// Read implements io.Reader.
func (r *transferReader) Read(dst []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.in.Read(r.buf)
		r.out = r.by.code(r.out[:0], r.buf[:n])
		if r.err == io.EOF {
			r.out = r.by.end(r.out)
		}
		r.rest = r.out
	}
	n := copy(dst, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// base64Decoder reads base64 from anything: octets outside the alphabet are
// left out, and padding ends a quantum but not the body, since some programs
// go on behind it.
type base64Decoder struct {
	bits   uint32
	n      int // letters in bits, 0 to 3
	padded bool
	note   func(detail string)
}

func (d *base64Decoder) code(out, in []byte) []byte {
	for len(in) > 0 {
		for d.n == 0 && !d.padded && len(in) >= 4 { // whole quanta, nearly always
			// The table has values plus one, so foreign octets make zeros.
			a, b, c, e := base64Table[in[0]], base64Table[in[1]], base64Table[in[2]], base64Table[in[3]]
			if a == 0 || b == 0 || c == 0 || e == 0 {
				break
			}
			v := uint32(a-1)<<18 | uint32(b-1)<<12 | uint32(c-1)<<6 | uint32(e-1)
			out = append(out, byte(v>>16), byte(v>>8), byte(v))
			in = in[4:]
		}
		if len(in) > 0 {
			out = d.octet(out, in[0])
			in = in[1:]
		}
	}
	return out
}

func (d *base64Decoder) octet(out []byte, c byte) []byte {
	v := base64Value(c)
	switch {
	case v >= 0:
		if d.padded {
			d.note("data after padding")
			d.padded = false
		}
		d.bits, d.n = d.bits<<6|uint32(v), d.n+1
		if d.n < 4 {
			return out
		}
		out = append(out, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
		d.bits, d.n = 0, 0
	case c == '=':
		d.padded = true
		out = d.flush(out)
	case !isSpace(c):
		d.note("foreign character")
	}
	return out
}

// flush writes the whole octets of a quantum that ended early.
func (d *base64Decoder) flush(out []byte) []byte {
	switch d.n {
	case 2:
		out = append(out, byte(d.bits>>4))
	case 3:
		out = append(out, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return out
}

func (d *base64Decoder) end(out []byte) []byte {
	if d.n != 0 {
		d.note("cut short")
	}
	return d.flush(out)
}

// maxQuotedSpace bounds the white space held back to see whether a line ends
// behind it; more of it than a line may have is text.
const maxQuotedSpace = 1000

// quotedDecoder reads quoted-printable (RFC 2045 section 6.7): "=" with two
// hex digits, soft line breaks, white space at line ends dropped. Anything
// else stays as it stands.
type quotedDecoder struct {
	hold []byte // white space, or an unfinished "=" sequence
	note func(detail string)

	upper, lower bool // forms of hex digits seen
}

// form notes the form of a hex digit: programs that know only upper case, as
// the standard wants it, read a text in both forms differently.
func (d *quotedDecoder) form(c byte) {
	switch {
	case c >= 'A' && c <= 'F' && !d.upper:
		d.upper = true
	case c >= 'a' && c <= 'f' && !d.lower:
		d.lower = true
	default:
		return
	}
	if d.upper && d.lower {
		d.note("escapes in two forms")
	}
}

func (d *quotedDecoder) code(out, in []byte) []byte {
	for len(in) > 0 {
		if len(d.hold) == 0 {
			n := bytes.IndexAny(in, "= \t\r\n")
			if n < 0 {
				n = len(in)
			}
			out = append(out, in[:n]...)
			if in = in[n:]; len(in) == 0 {
				break
			}
		}
		out = d.octet(out, in[0])
		in = in[1:]
	}
	return out
}

func (d *quotedDecoder) octet(out []byte, c byte) []byte {
	if len(d.hold) > 0 && d.hold[0] == '=' {
		return d.escaped(out, c)
	}
	switch {
	case c == '=':
		out = append(out, d.hold...)
		d.hold = append(d.hold[:0], '=')
		return out
	case c == ' ' || c == '\t' || c == '\r':
		if len(d.hold) >= maxQuotedSpace {
			out = append(out, d.hold...)
			d.hold = d.hold[:0]
		}
		d.hold = append(d.hold, c)
		return out
	case c == '\n':
		if n := len(d.hold); n > 0 && d.hold[n-1] == '\r' {
			out = append(out, '\r')
		}
		d.hold = d.hold[:0]
	}
	out = append(out, d.hold...)
	d.hold = d.hold[:0]
	return append(out, c)
}

// escaped goes on behind "=": two hex digits, or white space and a line end.
func (d *quotedDecoder) escaped(out []byte, c byte) []byte {
	first := byte(0)
	if len(d.hold) > 1 {
		first = d.hold[1]
	}
	soft := first == 0 || isSpace(first)
	switch {
	case first == 0 && unhex(c) >= 0:
		d.hold = append(d.hold, c)
		return out
	case unhex(first) >= 0 && unhex(c) >= 0:
		d.hold = d.hold[:0]
		d.form(first)
		d.form(c)
		return append(out, byte(unhex(first)<<4|unhex(c)))
	case soft && c == '\n':
		d.hold = d.hold[:0]
		return out
	case soft && isSpace(c) && len(d.hold) < maxQuotedSpace:
		d.hold = append(d.hold, c)
		return out
	}
	d.note("bad escape")
	out = append(out, d.hold...)
	d.hold = d.hold[:0]
	return d.octet(out, c)
}

// end: a "=" at the very end is a soft line break whose line end belonged to
// the boundary.
func (d *quotedDecoder) end(out []byte) []byte {
	if len(d.hold) > 1 && d.hold[0] == '=' && !isSpace(d.hold[1]) {
		d.note("bad escape")
		return append(out, d.hold...)
	}
	return out
}
