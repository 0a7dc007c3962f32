package imapd

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// pattern is a mailbox name with wildcards as LIST has it (RFC 9051 section
// 6.3.9): "*" stands for anything, "%" for anything within a level.
type pattern string

// newPattern puts a reference in front of a pattern. Wildcards that stand side
// by side become one. One that no name can match gives false.
func newPattern(reference, text string) (pattern, bool) {
	var b strings.Builder
	var last byte
	plain := 0
	text = norm.NFC.String(reference + text)
	for i := range len(text) {
		c := text[i]
		switch {
		case c != '*' && c != '%':
			plain++
			b.WriteByte(c)
		case last != '*' && last != '%':
			b.WriteByte(c)
		case c == '*' && last == '%':
			s := b.String()
			b.Reset()
			b.WriteString(s[:len(s)-1])
			b.WriteByte('*')
		default:
			continue // says no more than the one before
		}
		last = c
	}
	return pattern(b.String()), plain <= maxListed
}

// maxListed bounds the names that LIST can give, in octets: a folder's with
// the address of its owner in front.
const maxListed = mailbox.MaxName + 400

// match tells whether a name fits. INBOX is matched in any case.
//
// Each wildcard takes as little as it can. When what follows does not fit, the
// last "%" takes one octet more, or, where that would leave its level, the
// last "*": taking more at an earlier wildcard could not help. So the time
// grows with the product of the lengths at most.
func (p pattern) match(name string) bool {
	fold := name == inbox || strings.HasPrefix(name, inbox+"/")
	i, j := 0, 0
	percent, star := retry{}, retry{}
	for j < len(name) || i < len(p) {
		if i < len(p) {
			switch c := p[i]; {
			case c == '*':
				i++
				star, percent = retry{i, j, true}, retry{}
				continue
			case c == '%':
				i++
				percent = retry{i, j, true}
				continue
			case j < len(name) && (c == name[j] || fold && j < len(inbox) && upper(c) == name[j]):
				i++
				j++
				continue
			}
		}
		switch {
		case percent.set && percent.j < len(name) && name[percent.j] != '/':
			percent.j++
			i, j = percent.i, percent.j
		case star.set && star.j < len(name):
			star.j++
			percent = retry{}
			i, j = star.i, star.j
		default:
			return false
		}
	}
	return true
}

// retry is where matching goes on when a wildcard takes more.
type retry struct {
	i, j int // in the pattern, behind the wildcard; in the name
	set  bool
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// patterns are alternatives.
type patterns []pattern

func (ps patterns) match(name string) bool {
	for _, p := range ps {
		if p.match(name) {
			return true
		}
	}
	return false
}
