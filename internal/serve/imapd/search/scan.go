package search

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
)

// errEnough ends the reading of a message about which all is known.
var errEnough = errors.New("nothing left to look for")

// scan reads a message and answers the text keys that bodies leaves open.
func (r *run) scan(ctx context.Context, message io.Reader, bodies []truth) error {
	if r.buf == nil {
		r.buf = make([]byte, 32<<10)
	}
	f := finder{bodies: bodies, buf: r.buf}
	for i, k := range r.texts {
		if bodies[i] == unknown {
			f.add(k.text, i)
		}
	}
	err := fulltext.Texts(message, func(text io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f.read(text)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for i, b := range bodies {
		if b == unknown {
			bodies[i] = no
		}
	}
	return nil
}

// finder looks for texts in a stream.
type finder struct {
	bodies  []truth
	wanted  []wanted
	longest int
	buf     []byte // of read
	tail    string // end of what was seen, normal: a text may begin in it
}

type wanted struct {
	text  string
	place int
}

func (f *finder) add(text string, place int) {
	f.wanted = append(f.wanted, wanted{text, place})
	f.longest = max(f.longest, len(text))
}

func (f *finder) enough() error {
	if len(f.wanted) == 0 {
		return errEnough
	}
	return nil
}

// write takes more text. Where two pieces meet they are made normal together.
func (f *finder) write(s string) {
	s = fulltext.Normal(f.tail + s)
	left := f.wanted[:0]
	for _, w := range f.wanted {
		if strings.Contains(s, w.text) {
			f.bodies[w.place] = yes
		} else {
			left = append(left, w)
		}
	}
	f.wanted = left
	cut := max(0, len(s)-f.longest-utf8.UTFMax)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	f.tail = s[cut:]
}

// read reads one text to its end, or until nothing is left to look for.
func (f *finder) read(r io.Reader) error {
	f.tail = ""
	buf, kept := f.buf, 0
	for {
		if err := f.enough(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[kept:])
		n += kept
		whole := n
		if err == nil {
			whole = wholeRunes(buf[:n])
		}
		f.write(string(buf[:whole]))
		kept = copy(buf, buf[whole:n])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return f.enough()
		case err != nil:
			return err
		}
	}
}

// wholeRunes gives how much of b is not the beginning of a character cut short.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}
