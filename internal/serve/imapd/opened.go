package imapd

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// opened is a message that is read. It must be closed.
type opened struct {
	it   *mailbox.Item
	text *mailbox.Content

	front  *[]byte // of buffers; nil: not read yet
	seen   int     // octets of the text in front
	header int64   // size of the header section, once front is read
}

// frontSize is what is read at once of a message whose header is looked for:
// most headers are smaller.
const frontSize = 8 << 10

var fronts = sync.Pool{New: func() any { b := make([]byte, frontSize); return &b }}

// close ends reading; what came from read is no longer valid.
func (m *opened) close() {
	m.text.Close()
	if m.front != nil {
		fronts.Put(m.front)
	}
}

// headerSize gives the size of the message's header section, which ends behind
// the first empty line or with the message, as in its outline.
func (m *opened) headerSize() (int64, error) {
	if m.front != nil {
		return m.header, nil
	}
	front := fronts.Get().(*[]byte)
	n, err := readAt(m.text, *front, 0)
	if err == nil {
		m.header, err = emptyLine(m.text, (*front)[:n])
	}
	if err != nil {
		fronts.Put(front)
		return 0, err
	}
	m.front, m.seen = front, n
	return m.header, nil
}

// readAt is ReadAt that takes the end of the message for no error.
func readAt(r io.ReaderAt, p []byte, at int64) (int, error) {
	n, err := r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("read header: %w", err)
	}
	return n, nil
}

// emptyLine gives what stands up to the end of the first empty line of r, of
// which front has been read.
func emptyLine(r io.ReaderAt, front []byte) (int64, error) {
	l, p := lineStart, front
	for at := int64(0); len(p) > 0; {
		if i := l.afterEmpty(p); i >= 0 {
			return at + int64(i), nil
		}
		if at += int64(len(p)); at == int64(len(front)) {
			p = make([]byte, frontSize)
		}
		n, err := readAt(r, p[:frontSize], at)
		if err != nil {
			return 0, err
		}
		if p = p[:n]; n == 0 {
			return at, nil
		}
	}
	return 0, nil
}

// inLine is what is known of a line of which a piece was read.
type inLine uint8

const (
	lineStart inLine = iota
	lineCR           // it has a CR so far
	lineText
)

// afterEmpty gives where the first empty line ends in the next piece, or -1.
func (l *inLine) afterEmpty(p []byte) int {
	for i := 0; i < len(p); {
		switch {
		case p[i] == '\n' && *l != lineText:
			return i + 1
		case p[i] == '\r' && *l == lineStart:
			*l = lineCR
			i++
			continue
		}
		*l = lineText
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			return -1
		}
		*l, i = lineStart, i+n+1
	}
	return -1
}

// maxHeader is how much of a header is searched for fields.
const maxHeader = 4 << 20

// read gives the octets of a header.
func (m *opened) read(at span) ([]byte, error) {
	if m.front != nil && at.at == 0 && at.size <= int64(m.seen) {
		return (*m.front)[:at.size], nil
	}
	header := make([]byte, min(at.size, maxHeader))
	n, err := readAt(m.text, header, at.at)
	return header[:n], err
}
