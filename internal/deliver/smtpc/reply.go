package smtpc

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// Limits of what a peer may say in one reply. RFC 5321 section 4.5.3.1.5 has
// 512 octets a line; some servers are more talkative.
const (
	maxReplyLine  = 4096
	maxReplyLines = 200
	maxReplyBytes = 64 << 10
	maxKeptText   = 2000 // octets of text kept for events and reports
)

// ErrReply is wrapped when a peer's reply breaks the grammar of RFC 5321
// section 4.2 or the limits above. The connection cannot be used any more.
var ErrReply = errors.New("malformed SMTP reply")

// Reply is what a peer said.
type Reply struct {
	Code     int    // 200 to 599
	Enhanced string // RFC 3463, "" when the peer gave none that fits the code
	Lines    []string
}

// Text joins the lines with \n; they hold printable characters only.
func (r *Reply) Text() string { return strings.Join(r.Lines, "\n") }

// Class is the first digit of the code.
func (r *Reply) Class() int { return r.Code / 100 }

// Error gives the reply as the error that the rest of migiwa speaks of.
func (r *Reply) Error() *mail.Reply {
	enhanced := r.Enhanced
	if enhanced == "" && r.Class() != 3 {
		enhanced = fmt.Sprintf("%d.0.0", r.Class())
	}
	return &mail.Reply{Code: r.Code, Enhanced: enhanced, Text: r.Text()}
}

// ReadReply reads one reply of one or more lines. The text is made printable
// and cut to a bounded length; a line may end in LF alone.
func ReadReply(br *bufio.Reader) (*Reply, error) {
	r := &Reply{}
	total, kept := 0, 0
	for n := 0; ; n++ {
		line, err := readLine(br)
		if err != nil {
			return nil, err
		}
		if total += len(line); n >= maxReplyLines || total > maxReplyBytes {
			return nil, fmt.Errorf("%w: longer than %d lines or %d octets", ErrReply, maxReplyLines, maxReplyBytes)
		}
		code, more, text, err := splitLine(line)
		if err != nil {
			return nil, err
		}
		if n > 0 && code != r.Code {
			return nil, fmt.Errorf("%w: code changes from %d to %d", ErrReply, r.Code, code)
		}
		r.Code = code
		enhanced, text := splitEnhanced(text, code)
		if n == 0 {
			r.Enhanced = enhanced
		}
		text = printable(text, maxKeptText-kept)
		kept += len(text)
		r.Lines = append(r.Lines, text)
		if !more {
			return r, nil
		}
	}
}

// readLine gives a line without its end.
func readLine(br *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > maxReplyLine {
			return "", fmt.Errorf("%w: line longer than %d octets", ErrReply, maxReplyLine)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

func splitLine(line string) (code int, more bool, text string, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, false, "", fmt.Errorf("%w: %q", ErrReply, printable(line, 80))
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, "", nil
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", fmt.Errorf("%w: %q", ErrReply, printable(line, 80))
	}
	return code, line[3] == '-', line[4:], nil
}

// splitEnhanced takes an enhanced status code of the reply's own class from
// the front of text (RFC 2034 section 4).
func splitEnhanced(text string, code int) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !ValidEnhanced(word) || int(word[0]-'0') != code/100 {
		return "", text
	}
	return word, rest
}

// ValidEnhanced tells whether s is a status code of RFC 3463 section 2.
func ValidEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || strings.IndexByte("245", parts[0][0]) < 0 {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || len(p) > 1 && p[0] == '0' {
			return false
		}
		for i := range len(p) {
			if !digit(p[i]) {
				return false
			}
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// printable replaces what could harm a log, a header or a terminal, and cuts s
// to most octets.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:max(most, 0)], "")
	}
	return s
}
