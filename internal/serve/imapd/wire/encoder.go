package wire

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encoder writes responses to W. Errors of W stay in it until it is flushed.
type Encoder struct {
	W *bufio.Writer
	// UTF8 says that names and quoted strings may be UTF-8 (RFC 9051, RFC 6855).
	UTF8 bool
}

// Raw writes s as it stands.
func (e *Encoder) Raw(s string) { e.W.WriteString(s) }

// Rawf writes formatted text as it stands; arguments must not hold a
// stranger's text.
func (e *Encoder) Rawf(format string, args ...any) { fmt.Fprintf(e.W, format, args...) }

// Number writes n.
func (e *Encoder) Number(n int64) {
	e.W.Write(strconv.AppendInt(e.W.AvailableBuffer(), n, 10))
}

// maxQuoted is from when on a string is written as a literal, in octets.
const maxQuoted = 1000

// String writes s as a quoted string where that is possible, else as a literal.
// NUL, which neither may hold, becomes 0x80 as with other servers.
func (e *Encoder) String(s string) {
	if e.quotable(s) {
		e.quoted(s)
		return
	}
	s = strings.ReplaceAll(s, "\x00", "\x80")
	e.Rawf("{%d}\r\n", len(s))
	e.Raw(s)
}

func (e *Encoder) quotable(s string) bool {
	if len(s) > maxQuoted {
		return false
	}
	eight := false
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return false
		}
		eight = eight || s[i] >= 0x80
	}
	return !eight || e.UTF8 && utf8.ValidString(s)
}

func (e *Encoder) quoted(s string) {
	e.W.WriteByte('"')
	for i := strings.IndexAny(s, `"\`); i >= 0; i = strings.IndexAny(s, `"\`) {
		e.W.WriteString(s[:i])
		e.W.WriteByte('\\')
		e.W.WriteByte(s[i])
		s = s[i+1:]
	}
	e.W.WriteString(s)
	e.W.WriteByte('"')
}

// Nstring writes s, or NIL when it is not there.
func (e *Encoder) Nstring(s string, there bool) {
	if !there {
		e.Raw("NIL")
		return
	}
	e.String(s)
}

// Astring writes s as an atom when it is one, else as String.
func (e *Encoder) Astring(s string) {
	if s == "" || strings.EqualFold(s, "NIL") || strings.IndexFunc(s, func(r rune) bool { return r >= 0x7f || !atomChar(byte(r)) && r != ']' }) >= 0 {
		e.String(s)
		return
	}
	e.Raw(s)
}

// Mailbox writes a mailbox name.
func (e *Encoder) Mailbox(name string) {
	if !e.UTF8 {
		name = EncodeName(name)
	}
	e.Astring(name)
}

// Set writes numbers, in ascending order, as a set.
func (e *Encoder) Set(numbers []uint32) { e.W.Write(AppendSet(e.W.AvailableBuffer(), numbers)) }

// Ranges writes ranges as a set, as they stand.
func (e *Encoder) Ranges(ranges []Range) {
	for i, r := range ranges {
		e.W.Write(appendRange(e.W.AvailableBuffer(), i > 0, r))
	}
}

// List writes a parenthesized list of words as they stand.
func (e *Encoder) List(words []string) {
	e.Raw("(")
	for i, w := range words {
		if i > 0 {
			e.Raw(" ")
		}
		e.Raw(w)
	}
	e.Raw(")")
}

// Literal writes size octets of r as a literal. What r has too little is an
// error after which the connection is of no more use.
func (e *Encoder) Literal(size int64, r io.Reader) error {
	e.Rawf("{%d}\r\n", size)
	return e.copy(size, r)
}

// Literal8 is Literal for octets that may hold NUL (RFC 3516).
func (e *Encoder) Literal8(size int64, r io.Reader) error {
	e.Rawf("~{%d}\r\n", size)
	return e.copy(size, r)
}

func (e *Encoder) copy(size int64, r io.Reader) error {
	n, err := io.Copy(e.W, io.LimitReader(r, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
