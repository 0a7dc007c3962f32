package outline

import "strings"

// lexer takes apart the value of a structured field (RFC 5322 section 3.2,
// RFC 2045 section 5.1). It goes on as far as it can where the syntax is
// broken, in the way other IMAP servers do, so that clients see the same
// whichever server they use.
type lexer struct {
	in      string
	pos     int
	comment string // the last one read, without its parentheses
}

// state is what stands behind what was read.
type state int8

const (
	broken state = iota - 1 // the syntax is wrong here
	ended                   // nothing more
	more
)

func (l *lexer) end() bool { return l.pos >= len(l.in) }

// at tells whether c is next.
func (l *lexer) at(c byte) bool { return l.pos < len(l.in) && l.in[l.pos] == c }

// take reads c if it is next.
func (l *lexer) take(c byte) bool {
	if l.at(c) {
		l.pos++
		return true
	}
	return false
}

// space skips white space and comments.
func (l *lexer) space() state {
	for !l.end() {
		switch l.in[l.pos] {
		case ' ', '\t', '\r', '\n':
			l.pos++
		case '(':
			if !l.skipComment() {
				return broken
			}
		default:
			return more
		}
	}
	return ended
}

// skipComment reads a comment and keeps its text. It gives false when it has
// no end.
func (l *lexer) skipComment() bool {
	var b strings.Builder
	depth := 0
	for ; l.pos < len(l.in); l.pos++ {
		c := l.in[l.pos]
		switch {
		case c == '(':
			if depth++; depth == 1 {
				continue
			}
		case c == ')':
			if depth--; depth == 0 {
				l.pos++
				l.comment = b.String()
				return true
			}
		case c == '\\':
			if l.pos++; l.pos == len(l.in) {
				return false
			}
			c = l.in[l.pos]
		}
		b.WriteByte(c)
	}
	return false
}

// Classes of octets. Octets of 8 bits count as letters.
func isAtext(c byte) bool {
	return c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAtomOrDot(c byte) bool { return c == '.' || isAtext(c) }

// isToken tells whether c may stand in a token of MIME.
func isToken(c byte) bool {
	return c == '.' || isAtext(c) && c != '/' && c != '?' && c != '='
}

// run reads octets of a class, and the space behind them.
func (l *lexer) run(class func(byte) bool) (string, state) {
	start := l.pos
	for !l.end() && class(l.in[l.pos]) {
		l.pos++
	}
	word := l.in[start:l.pos]
	if l.end() {
		return word, ended
	}
	return word, l.space()
}

// token reads a token of MIME; it may be empty.
func (l *lexer) token() (string, state) { return l.run(isToken) }

// atom reads an atom.
func (l *lexer) atom() (string, state) {
	if l.end() || !isAtext(l.in[l.pos]) {
		return "", broken
	}
	return l.run(isAtext)
}

// dotAtom reads atoms with dots between them, white space around the dots
// allowed (RFC 5322 section 4.4).
func (l *lexer) dotAtom() (string, state) {
	var b strings.Builder
	for {
		word, st := l.atom()
		b.WriteString(word)
		if word == "" || st != more || !l.take('.') {
			return b.String(), st
		}
		b.WriteByte('.')
		if l.space() != more {
			return b.String(), broken
		}
	}
}

// looseDots reads a local part without quotes, whose dots may stand anywhere,
// but with no white space behind them.
func (l *lexer) looseDots() (string, state) {
	var b strings.Builder
	st := broken
	for {
		for l.take('.') {
			b.WriteByte('.')
			if st = more; l.end() {
				return b.String(), ended
			}
		}
		if l.at('@') {
			return b.String(), st
		}
		var word string
		word, st = l.atom()
		b.WriteString(word)
		if st != more || !l.at('.') {
			return b.String(), st
		}
	}
}

// quoted reads a quoted string. One without an end is broken and gives
// nothing.
func (l *lexer) quoted() (string, state) {
	var b strings.Builder
	for l.pos++; l.pos < len(l.in); l.pos++ {
		switch c := l.in[l.pos]; c {
		case '"':
			l.pos++
			return b.String(), l.space()
		case '\\':
			if l.pos++; l.pos < len(l.in) {
				b.WriteByte(l.in[l.pos])
			}
		case '\r':
			if l.pos+1 == len(l.in) || l.in[l.pos+1] != '\n' {
				b.WriteByte(c)
			}
		case '\n':
		default:
			b.WriteByte(c)
		}
	}
	return "", broken
}

// phrase reads words, quoted or not, joined by single spaces.
func (l *lexer) phrase() (string, state) {
	if l.end() {
		return "", ended
	}
	if l.at('.') {
		return "", broken
	}
	var b strings.Builder
	for {
		var word string
		var st state
		if l.at('"') {
			word, st = l.quoted()
		} else {
			word, st = l.run(isAtomOrDot)
		}
		b.WriteString(word)
		if st != more {
			return b.String(), st
		}
		if c := l.in[l.pos]; c != '"' && !isAtomOrDot(c) {
			return b.String(), more
		}
		b.WriteByte(' ')
	}
}

// domain reads what follows "@", which is next.
func (l *lexer) domain() (string, state) {
	l.pos++
	if l.space() != more {
		return "", broken
	}
	if l.at('[') {
		return l.domainLiteral()
	}
	return l.dotAtom()
}

func (l *lexer) domainLiteral() (string, state) {
	start := l.pos
	for ; l.pos < len(l.in); l.pos++ {
		switch l.in[l.pos] {
		case '\\':
			l.pos++
		case ']':
			l.pos++
			return l.in[start:l.pos], l.space()
		}
	}
	l.pos = len(l.in)
	return "", broken
}
