package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// modified is the base64 of modified UTF-7: "," for "/", no padding.
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// EncodeName writes a mailbox name in modified UTF-7 (RFC 3501 section 5.1.3).
func EncodeName(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		n := strings.IndexFunc(name, func(r rune) bool { return r == '&' || r < ' ' || r > '~' })
		if n < 0 {
			n = len(name)
		}
		b.WriteString(name[:n])
		name = name[n:]
		if rest, ok := strings.CutPrefix(name, "&"); ok {
			b.WriteString("&-")
			name = rest
			continue
		}
		n = strings.IndexFunc(name, func(r rune) bool { return r >= ' ' && r <= '~' })
		if n < 0 {
			n = len(name)
		}
		if n == 0 {
			continue
		}
		var octets []byte
		for _, u := range utf16.Encode([]rune(name[:n])) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + modified.EncodeToString(octets) + "-")
		name = name[n:]
	}
	return b.String()
}

// DecodeName reads modified UTF-7. It gives false when s is not the one form
// that EncodeName gives.
func DecodeName(s string) (string, bool) {
	var b strings.Builder
	for rest := s; rest != ""; {
		plain, shifted, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		var code string
		if code, rest, found = strings.Cut(shifted, "-"); !found {
			return "", false
		}
		if code == "" {
			b.WriteByte('&')
			continue
		}
		octets, err := modified.DecodeString(code)
		if err != nil || len(octets)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	name := b.String()
	if !utf8.ValidString(name) || EncodeName(name) != s {
		return "", false
	}
	return name, true
}
