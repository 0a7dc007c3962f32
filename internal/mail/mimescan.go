package mail

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"
)

// scanBuffer is the longest piece of a line seen at once. A boundary has to
// fit into it.
const (
	scanBuffer  = 16 << 10
	maxBoundary = 4 << 10
)

// mimeScanner reads a message line by line, counts offsets, and finds the
// boundary lines of all multiparts that are open.
type mimeScanner struct {
	in     *bufio.Reader
	at     mark  // of the next octet to read
	left   int64 // octets until the total limit
	cut    bool  // the limit was reached
	inside bool  // the next piece continues a line
	open   []string
	hit    int    // index in open of the boundary line last read, -1 for none
	hitEnd bool   // it is a closing one
	loose  bool   // it has more text behind it
	eol    int    // length of its line end
	hitAt  mark   // where it starts
	watch  string // a boundary that was closed
	again  bool   // and came again
	back   []byte // put back by unread
	pieces []byte // of the bodyReader, of which there is one at a time
	err    error
}

// scanners keeps scanners, for their buffers.
var scanners = sync.Pool{New: func() any {
	return &mimeScanner{in: bufio.NewReaderSize(nil, scanBuffer), pieces: make([]byte, 0, scanBuffer)}
}}

// mark is a place in the message: octets and line ends before it.
type mark struct{ off, lines int64 }

func (m *mark) add(b []byte) {
	m.off += int64(len(b))
	m.lines += int64(bytes.Count(b, []byte{'\n'}))
}

func newMIMEScanner(r io.Reader, limit int64) *mimeScanner {
	s := scanners.Get().(*mimeScanner)
	s.in.Reset(r)
	*s = mimeScanner{in: s.in, pieces: s.pieces, left: limit, hit: -1}
	return s
}

// release gives back the buffers of a scanner that nobody reads from any more.
// What is left over of it, and of its bodyReader, is at its end.
func (s *mimeScanner) release() {
	s.in.Reset(nil)
	scanners.Put(&mimeScanner{in: s.in, pieces: s.pieces[:0]})
	s.in, s.pieces, s.back, s.hit, s.err = nil, nil, nil, -1, io.EOF
}

// next gives the next line, or piece of a line longer than scanBuffer, with
// its line end. A CRLF is never split. It gives nil at a boundary line (see
// hit) and at the end of the input or an error (hit is -1). What it gives is
// valid until the next call.
func (s *mimeScanner) next() []byte {
	if s.hit >= 0 || s.err != nil && s.back == nil {
		return nil
	}
	piece := s.read()
	if len(piece) == 0 {
		return nil
	}
	start, at := !s.inside, s.at
	s.at.off += int64(len(piece))
	if s.inside = piece[len(piece)-1] != '\n'; !s.inside {
		s.at.lines++
	}
	if start && s.boundary(piece) {
		s.hitAt = at
		s.skipLine(piece)
		return nil
	}
	return piece
}

// read gives the next piece and sets err where the input or the total limit
// ends with it.
func (s *mimeScanner) read() []byte {
	if s.back != nil {
		piece := s.back
		s.back = nil
		return piece
	}
	piece, err := s.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		err = nil
		if piece[len(piece)-1] == '\r' && s.in.UnreadByte() == nil {
			piece = piece[:len(piece)-1]
		}
	}
	if n := int64(len(piece)); n >= s.left {
		s.cut = n > s.left || s.more()
		piece, err = piece[:s.left], io.EOF
	}
	s.left -= int64(len(piece))
	s.err = err
	return piece
}

// unread puts back the whole line that next gave last.
func (s *mimeScanner) unread(line []byte) {
	s.at.off -= int64(len(line))
	s.at.lines -= int64(bytes.Count(line, []byte{'\n'}))
	s.back = bytes.Clone(line)
	s.inside = false
}

// more tells whether there is input behind the total limit.
func (s *mimeScanner) more() bool {
	_, err := s.in.Peek(1)
	return err == nil
}

// skipLine reads the rest of a boundary line longer than one piece.
func (s *mimeScanner) skipLine(piece []byte) {
	for s.inside && s.err == nil {
		piece = s.read()
		s.at.add(piece)
		s.inside = len(piece) > 0 && piece[len(piece)-1] != '\n'
	}
	s.inside = false
	s.eol = lineEnd(piece)
}

// boundary tells whether line is a boundary line of an open multipart, the
// innermost first. RFC 2046 section 5.1.1 lets any text follow the boundary
// on its line, so without an exact match the longest that begins the line
// counts.
func (s *mimeScanner) boundary(line []byte) bool {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	text := string(bytes.TrimRight(line[2:], " \t\r\n"))
	bare, closing := strings.CutSuffix(text, "--")
	prefix := -1
	for i := len(s.open) - 1; i >= 0; i-- {
		b := s.open[i]
		switch {
		case text == b:
			return s.found(i, false, false)
		case closing && strings.TrimRight(bare, " \t") == b:
			return s.found(i, true, false)
		case strings.HasPrefix(text, b) && (prefix < 0 || len(b) > len(s.open[prefix])):
			prefix = i
		}
	}
	if prefix < 0 {
		s.again = s.again || s.watch != "" && strings.HasPrefix(text, s.watch)
		return false
	}
	return s.found(prefix, strings.HasPrefix(text[len(s.open[prefix]):], "--"), true)
}

func (s *mimeScanner) found(i int, end, loose bool) bool {
	s.hit, s.hitEnd, s.loose = i, end, loose
	return true
}

// bodyReader gives the octets up to the next boundary line. The line end
// before that line belongs to the boundary (RFC 2046 section 5.1.1), so one
// line end is always held back.
type bodyReader struct {
	s    *mimeScanner
	at   mark // where what was delivered ends
	held []byte
	have []byte
}

func (s *mimeScanner) body() *bodyReader { return &bodyReader{s: s, at: s.pos()} }

// pos gives where the octets that next gave end: before a boundary line that
// was met.
func (s *mimeScanner) pos() mark {
	if s.hit >= 0 {
		return s.hitAt
	}
	return s.at
}

// Read implements io.Reader.
func (r *bodyReader) Read(dst []byte) (int, error) {
	if r.s.in == nil { // released
		return 0, io.EOF
	}
	if len(r.have) == 0 && !r.fill() {
		if r.s.hit < 0 && r.s.err != io.EOF {
			return 0, r.s.err
		}
		return 0, io.EOF
	}
	n := copy(dst, r.have)
	r.have = r.have[n:]
	r.at.add(dst[:n])
	return n, nil
}

// fill gets the next octets to deliver. It gives false at the end.
func (r *bodyReader) fill() bool {
	buf := r.s.pieces[:0]
	for len(buf) < scanBuffer/2 {
		piece := r.s.next()
		if piece == nil {
			if r.s.hit < 0 { // end of input: no boundary takes the line end
				buf = append(buf, r.held...)
			}
			r.held = r.held[:0]
			break
		}
		n := len(piece) - lineEnd(piece)
		buf = append(append(buf, r.held...), piece[:n]...)
		r.held = append(r.held[:0], piece[n:]...)
	}
	r.s.pieces, r.have = buf, buf
	return len(r.have) > 0
}

// drain reads what is left of the body and gives where it ends.
func (r *bodyReader) drain() (mark, error) {
	_, err := io.Copy(io.Discard, r)
	return r.at, err
}

// lineEnd gives the length of the line end at the end of line: 0, 1 or 2.
func lineEnd(line []byte) int {
	switch {
	case bytes.HasSuffix(line, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(line, []byte("\n")):
		return 1
	}
	return 0
}
