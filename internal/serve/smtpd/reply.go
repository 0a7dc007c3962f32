package smtpd

import (
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// maxReplyText bounds a line's text, so that the line with its codes stays
// within the 512 octets of RFC 5321 section 4.5.3.1.5.
const maxReplyText = 480

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// appendReply appends r as it goes over the wire. Text is cut and cleaned, so
// that no Handler can break the protocol with it.
func appendReply(b []byte, r mail.Reply, utf8ok bool) []byte {
	text := r.Text
	for {
		line, rest, more := strings.Cut(text, "\n")
		b = appendReplyLine(b, r, line, !more, utf8ok)
		if !more {
			return b
		}
		text = rest
	}
}

// appendReplyLine appends one line of r; a line that is not the last has a
// hyphen behind its code.
func appendReplyLine(b []byte, r mail.Reply, line string, last, utf8ok bool) []byte {
	code := r.Code
	if code < 200 || code > 599 {
		code = 451
	}
	b = strconv.AppendInt(b, int64(code), 10)
	if last {
		b = append(b, ' ')
	} else {
		b = append(b, '-')
	}
	if r.Enhanced != "" {
		b = appendClean(b, r.Enhanced, false)
		b = append(b, ' ')
	}
	b = appendClean(b, line, utf8ok)
	return append(b, '\r', '\n')
}

// appendClean appends s with everything unprintable replaced. UTF-8 goes only
// to peers that asked for it (RFC 6531 section 3.7.4.2).
func appendClean(b []byte, s string, utf8ok bool) []byte {
	if len(s) > maxReplyText {
		s = s[:maxReplyText]
	}
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			b = append(b, c)
			i++
			continue
		}
		c, n := utf8.DecodeRuneInString(s[i:])
		if utf8ok && c != utf8.RuneError && unicode.IsPrint(c) {
			b = append(b, s[i:i+n]...)
		} else {
			b = append(b, '?')
		}
		i += n
	}
	return b
}
