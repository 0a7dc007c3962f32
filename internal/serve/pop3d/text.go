package pop3d

import (
	"bytes"
	"errors"
	"io"
)

// writeText sends a message as a multi-line response (RFC 1939 section 3):
// dots at the start of lines doubled, every line ending in CRLF, then the
// final dot. When lines is not negative it sends the header and so many lines
// of the body (TOP).
func writeText(w io.Writer, r io.Reader, lines int) error {
	t := textWriter{w: w, header: true, left: lines, start: true}
	buf := make([]byte, 32<<10)
	for !t.done {
		n, err := r.Read(buf)
		if werr := t.write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	return t.end()
}

type textWriter struct {
	w      io.Writer
	start  bool // at the start of a line
	cr     bool // the last octet was CR
	empty  bool // the line so far is empty; only meaningful unless start
	header bool // the empty line was not seen yet
	left   int  // lines of the body to send; negative: all
	done   bool
}

// write sends the lines and parts of lines in p.
func (t *textWriter) write(p []byte) error {
	for len(p) > 0 && !t.done {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if err := t.part(line); err != nil {
			return err
		}
		if !whole {
			return nil
		}
		if err := t.newline(); err != nil {
			return err
		}
		p = rest
	}
	return nil
}

// part sends octets of one line.
func (t *textWriter) part(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if t.start {
		t.start, t.empty = false, true
		if p[0] == '.' {
			if _, err := t.w.Write([]byte(".")); err != nil {
				return err
			}
		}
	}
	t.empty = t.empty && len(p) == 1 && p[0] == '\r'
	t.cr = p[len(p)-1] == '\r'
	_, err := t.w.Write(p)
	return err
}

// newline ends a line, with the CR that a stored bare LF lacks.
func (t *textWriter) newline() error {
	blank := t.start || t.empty
	end := "\r\n"
	if t.cr {
		end = "\n"
	}
	t.start, t.cr, t.empty = true, false, false
	if _, err := io.WriteString(t.w, end); err != nil {
		return err
	}
	switch {
	case t.header && blank:
		t.header = false
	case !t.header:
		t.left--
	}
	t.done = !t.header && t.left == 0
	return nil
}

// end completes the last line and the response.
func (t *textWriter) end() error {
	if !t.start {
		end := "\r\n"
		if t.cr {
			end = "\n"
		}
		if _, err := io.WriteString(t.w, end); err != nil {
			return err
		}
	}
	_, err := io.WriteString(t.w, ".\r\n")
	return err
}
