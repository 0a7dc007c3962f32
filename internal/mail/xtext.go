package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrXtext is wrapped by the errors of DecodeXtext and DecodeAddrXtext.
var ErrXtext = errors.New("invalid xtext")

const upperHex = "0123456789ABCDEF"

// EncodeXtext encodes any octets for a DSN parameter (RFC 3461 section 4).
func EncodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isXchar(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// isXchar: printable without space, "+" and "=".
func isXchar(c byte) bool { return c > ' ' && c < 0x7f && c != '+' && c != '=' }

// DecodeXtext undoes EncodeXtext. Small hex digits are taken too. The result
// may hold any octet, line ends included: check it before printing it.
func DecodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if isXchar(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		if s[i] != '+' || i+2 >= len(s) {
			return "", fmt.Errorf("%w: octet %d", ErrXtext, i)
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%w: octet %d", ErrXtext, i)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// EncodeAddrXtext writes an address of type utf-8 in ASCII, as
// utf-8-addr-xtext (RFC 6533 section 3): 汀@example.jp is \x{6C40}@example.jp.
func EncodeAddrXtext(s string) string { return encodeAddr(s, false) }

// EncodeAddrUnitext writes an address of type utf-8 where UTF-8 is allowed, as
// utf-8-addr-unitext (RFC 6533 section 3).
func EncodeAddrUnitext(s string) string { return encodeAddr(s, true) }

func encodeAddr(s string, keepUTF8 bool) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf && isXchar(byte(r)) && r != '\\' || r >= utf8.RuneSelf && keepUTF8 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}

// DecodeAddrXtext undoes EncodeAddrXtext and EncodeAddrUnitext, and takes
// their mixtures.
func DecodeAddrXtext(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: not UTF-8", ErrXtext)
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf || isXchar(c) && c != '\\' {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 || end > len(`\x{10FFFF`) || !strings.HasPrefix(s[i:], `\x{`) {
			return "", fmt.Errorf("%w: octet %d", ErrXtext, i)
		}
		r, err := strconv.ParseUint(s[i+3:i+end], 16, 32)
		if err != nil || !utf8.ValidRune(rune(r)) {
			return "", fmt.Errorf("%w: octet %d", ErrXtext, i)
		}
		b.WriteRune(rune(r))
		i += end + 1
	}
	return b.String(), nil
}
