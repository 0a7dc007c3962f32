package outline

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"
)

// scanBuffer is what is seen of a message at once. Longer header lines are
// kept, boundaries are not looked for behind it.
const scanBuffer = 32 << 10

// maxLine is how much of one header line is kept.
const maxLine = 1 << 20

// scanner runs through a message, counts, and finds the boundary lines of the
// multiparts that are open.
type scanner struct {
	in   *bufio.Reader
	at   mark  // of the next octet
	eol  int64 // length of the line end before at; 0 when at is inside a line
	last byte  // the octet before at
	open []string
	hit  int   // index in open of the boundary line last read, -1 at the end of input
	end  bool  // it is a closing one
	stop mark  // where what stands before it ends
	gap  int64 // octets of the line end between stop and it
	err  error
}

// mark is a place in the message: octets and line ends before it.
type mark struct{ off, lines int64 }

// buffers are those of scanners that are done: a buffer is many times the size
// of most messages.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, scanBuffer) }}

// newScanner gives a scanner to be closed.
func newScanner(r io.Reader) *scanner {
	in := buffers.Get().(*bufio.Reader)
	in.Reset(r)
	return &scanner{in: in, hit: -1}
}

func (s *scanner) close() {
	s.in.Reset(nil)
	buffers.Put(s.in)
}

// pass counts b, which was read.
func (s *scanner) pass(b []byte) {
	if len(b) == 0 {
		return
	}
	s.at.off += int64(len(b))
	s.at.lines += int64(bytes.Count(b, []byte{'\n'}))
	s.eol = 0
	if b[len(b)-1] == '\n' {
		if len(b) > 1 {
			s.last = b[len(b)-2]
		}
		if s.eol = 1; s.last == '\r' {
			s.eol = 2
		}
	}
	s.last = b[len(b)-1]
}

// lineStart tells whether the next octet begins a line.
func (s *scanner) lineStart() bool { return s.eol > 0 || s.at.off == 0 }

// line reads a line with its end, or a piece of one that is longer than the
// buffer. It gives nil at a boundary line, which it reads over, and at the end
// of the input. What it gives is valid until the next call.
func (s *scanner) line() []byte {
	start := s.lineStart()
	b, err := s.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		s.err = err
	}
	if start && s.boundary(b) {
		s.stop, s.gap = mark{s.at.off - s.eol, s.at.lines}, s.eol
		if s.eol > 0 {
			s.stop.lines--
		}
		for s.pass(b); s.eol == 0 && s.err == nil; s.pass(b) {
			if b, err = s.in.ReadSlice('\n'); err != nil && err != bufio.ErrBufferFull {
				s.err = err
			}
		}
		return nil
	}
	if len(b) == 0 {
		s.hit, s.stop, s.gap = -1, s.at, 0
		return nil
	}
	s.pass(b)
	return b
}

// body reads up to the next boundary line or the end of the input, and hands
// what stands before it to keep, in pieces and with the line end that belongs
// to the boundary.
func (s *scanner) body(keep func([]byte)) {
	for {
		if next, _ := s.in.Peek(2); len(next) < 2 || s.lineStart() && string(next) == "--" {
			b := s.line()
			if b == nil {
				return
			}
			keep(b)
			continue
		}
		b, _ := s.in.Peek(s.in.Buffered())
		if i := bytes.Index(b, []byte("\n--")); i >= 0 {
			b = b[:i+1]
		} else if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			b = b[:i+1]
		}
		s.pass(b)
		keep(b)
		s.in.Discard(len(b))
	}
}

// boundary tells whether line is a boundary line of an open multipart. Any
// text may follow the boundary on its line (RFC 2046 section 5.1.1), so the
// longest that begins the line counts, of the same the innermost.
func (s *scanner) boundary(line []byte) bool {
	if len(line) < 2 || line[0] != '-' || line[1] != '-' {
		return false
	}
	line = bytes.TrimRight(line[2:], "\r\n")
	best := -1
	for i, b := range s.open {
		if len(b) <= len(line) && string(line[:len(b)]) == b && (best < 0 || len(b) >= len(s.open[best])) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	s.hit, s.end = best, bytes.HasPrefix(line[len(s.open[best]):], []byte("--"))
	return true
}

// header reads a header section and the empty line behind it, of which it
// keeps at most limit octets: lines that are too much are left out. A boundary line ends it too; that is told by
// cut. Whatever stands in it is header: where the empty line is missing, other
// servers take the text for header as well.
func (s *scanner) header(limit int) (raw []byte, cut bool) {
	for skip, length := false, 0; ; {
		start := s.lineStart()
		b := s.line()
		if b == nil {
			return raw, true
		}
		if start {
			skip, length = false, 0
		}
		length += len(b)
		skip = skip || length > maxLine || len(raw)+len(b) > limit
		switch {
		case !skip:
			raw = append(raw, b...)
		case len(raw) > 0 && raw[len(raw)-1] != '\n':
			raw = append(raw, '\n') // the line is cut
		}
		if start && (len(b) == 1 && b[0] == '\n' || len(b) == 2 && b[0] == '\r' && b[1] == '\n') {
			return raw, false
		}
	}
}

// eachField calls fn for each field of a header section. The name has no white
// space at its end, the value is as it stands, with its line ends. A line
// without a colon is a name without a value.
func eachField(raw []byte, fn func(name string, value []byte)) {
	for len(raw) > 0 {
		n := 0
		for n < len(raw) {
			i := bytes.IndexByte(raw[n:], '\n')
			if i < 0 {
				n = len(raw)
				break
			}
			if n += i + 1; n == len(raw) || raw[n] != ' ' && raw[n] != '\t' {
				break
			}
		}
		name, value, _ := bytes.Cut(raw[:n], []byte{':'})
		fn(strings.TrimRight(string(name), " \t\r\n"), value)
		raw = raw[n:]
	}
}

// unfold gives the value of a field without its line ends and the space
// before it (RFC 5322 section 2.2.3).
func unfold(value []byte) string {
	value = bytes.TrimLeft(bytes.TrimRight(value, "\r\n"), " \t")
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	var b strings.Builder
	for line := range bytes.SplitSeq(value, []byte{'\n'}) {
		b.Write(bytes.TrimSuffix(line, []byte{'\r'}))
	}
	return b.String()
}

// text gives the value of a field that is shown as it stands: unfolded, a CR
// without LF a space.
func text(value []byte) string {
	s := unfold(value)
	if !strings.Contains(s, "\r") {
		return s
	}
	var b strings.Builder
	for i, piece := range strings.FieldsFunc(s, func(r rune) bool { return r == '\r' }) {
		if i > 0 && piece[0] != ' ' && piece[0] != '\t' {
			b.WriteByte(' ')
		}
		b.WriteString(piece)
	}
	return b.String()
}
