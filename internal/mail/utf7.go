package mail

import (
	"encoding/base64"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// utf7 reads UTF-7 (RFC 2152). Nothing should write it, so its encoder gives
// UTF-8, which every reader of today prefers.
type utf7 struct{}

func (utf7) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: &utf7Decoder{}}
}

func (utf7) NewEncoder() *encoding.Encoder { return unicode.UTF8.NewEncoder() }

// utf7Decoder holds the bits of a shifted stretch that make no unit yet.
type utf7Decoder struct {
	shifted bool
	opened  bool   // just after "+": a "-" now stands for "+"
	bits    uint32 // the low n bits are pending
	n       uint
	high    rune // a high surrogate waiting for its partner
}

// Reset implements transform.Transformer.
func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

// Transform implements transform.Transformer. Each octet of input makes at
// most two characters.
func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.octet(dst[nDst:], src[nSrc])
	}
	if atEOF && d.high != 0 {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
		d.high = 0
	}
	return nDst, nSrc, nil
}

func (d *utf7Decoder) octet(dst []byte, c byte) int {
	if !d.shifted {
		if c == '+' {
			*d = utf7Decoder{shifted: true, opened: true}
			return 0
		}
		return utf8.EncodeRune(dst, plain7(c))
	}
	opened := d.opened
	d.opened = false
	if v := base64Value(c); v >= 0 {
		return d.sextet(dst, uint32(v))
	}
	n := 0
	if d.high != 0 {
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	*d = utf7Decoder{}
	switch {
	case c == '-' && opened:
		dst[n] = '+'
		return n + 1
	case c == '-':
		return n
	}
	return n + utf8.EncodeRune(dst[n:], plain7(c))
}

func (d *utf7Decoder) sextet(dst []byte, v uint32) int {
	d.bits, d.n = d.bits<<6|v, d.n+6
	if d.n < 16 {
		return 0
	}
	d.n -= 16
	unit := rune(d.bits >> d.n & 0xffff)
	d.bits &= 1<<d.n - 1
	high := d.high
	d.high = 0
	switch {
	case high != 0 && unit >= 0xdc00 && unit < 0xe000:
		return utf8.EncodeRune(dst, utf16.DecodeRune(high, unit))
	case unit >= 0xd800 && unit < 0xdc00:
		d.high = unit
		if high != 0 {
			return utf8.EncodeRune(dst, utf8.RuneError)
		}
		return 0
	case high != 0:
		n := utf8.EncodeRune(dst, utf8.RuneError)
		return n + utf8.EncodeRune(dst[n:], unit)
	}
	return utf8.EncodeRune(dst, unit)
}

// plain7 is an octet outside a shift: ASCII, or Latin-1 by mistake.
func plain7(c byte) rune { return rune(c) }

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64Table has the value of each letter plus one; zero is no letter.
var base64Table = func() (t [256]byte) {
	for i := range len(base64Letters) {
		t[base64Letters[i]] = byte(i + 1)
	}
	return t
}()

// base64Value gives the value of a letter of base64, -1 for anything else.
func base64Value(c byte) int { return int(base64Table[c]) - 1 }

// decodeBase64Loose decodes what it can: other octets are left out and the
// padding may be missing.
func decodeBase64Loose(s string) []byte {
	clean := make([]byte, 0, len(s))
	for i := range len(s) {
		if base64Value(s[i]) >= 0 {
			clean = append(clean, s[i])
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}
