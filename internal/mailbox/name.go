package mailbox

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of folder names.
const (
	MaxName  = 1000 // octets of UTF-8
	MaxLevel = 255  // octets of UTF-8 between two /
	MaxDepth = 20   // levels
)

const inbox = "INBOX"

// NormalName gives the form in which a folder name is kept: NFC, INBOX in
// capitals (also as the first level), the empty name as INBOX. It refuses with
// ErrName what no client should see in a list: control and format characters,
// empty levels, "." and "..", a backslash in front, wildcards of LIST, and
// names over the bounds. Modified UTF-7 is IMAP's business.
func NormalName(name string) (string, error) {
	if name == "" {
		return inbox, nil
	}
	if len(name) > 4*MaxName || !utf8.ValidString(name) {
		return "", fmt.Errorf("%w: too long or not UTF-8", ErrName)
	}
	name = norm.NFC.String(name)
	if len(name) > MaxName {
		return "", fmt.Errorf("%w: longer than %d octets", ErrName, MaxName)
	}
	if name[0] == '\\' || name[0] == '#' {
		return "", fmt.Errorf("%w: begins with %q", ErrName, name[0])
	}
	for _, r := range name {
		if r == '%' || r == '*' || r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || isBidiControl(r) {
			return "", fmt.Errorf("%w: character %U", ErrName, r)
		}
	}
	levels := strings.Split(name, "/")
	if len(levels) > MaxDepth {
		return "", fmt.Errorf("%w: more than %d levels", ErrName, MaxDepth)
	}
	for _, l := range levels {
		if l == "" || l == "." || l == ".." || len(l) > MaxLevel {
			return "", fmt.Errorf("%w: empty, dotted or overlong level", ErrName)
		}
	}
	if strings.EqualFold(levels[0], inbox) {
		levels[0] = inbox
	}
	return strings.Join(levels, "/"), nil
}

// isBidiControl finds the characters that make one name look like another.
func isBidiControl(r rune) bool {
	return r == 0x200E || r == 0x200F || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0xFEFF
}
