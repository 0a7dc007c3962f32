package outline

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"strings"
)

// StripHTML gives the text of HTML in UTF-8 as a reader sees it: without
// markup, comments, scripts, style sheets and the title; a line end where a
// block begins or ends. It reads in one pass, in memory that does not grow
// with the input.
func StripHTML(r io.Reader) io.Reader {
	return &htmlReader{in: bufio.NewReaderSize(r, 4<<10)}
}

type htmlReader struct {
	in   *bufio.Reader
	have []byte // to be delivered
	buf  []byte
	err  error
}

// Read implements io.Reader.
func (h *htmlReader) Read(dst []byte) (int, error) {
	for len(h.have) == 0 {
		if h.err != nil {
			return 0, h.err
		}
		h.buf = h.buf[:0]
		h.step()
		h.have = h.buf
	}
	n := copy(dst, h.have)
	h.have = h.have[n:]
	return n, nil
}

// step reads text up to a tag, or a tag.
func (h *htmlReader) step() {
	c, err := h.in.ReadByte()
	if err != nil {
		h.err = err
		return
	}
	if c != '<' {
		h.in.UnreadByte()
		h.text()
		return
	}
	next, _ := h.in.Peek(3)
	switch {
	case string(next) == "!--":
		h.in.Discard(3)
		h.skipPast("-->", false)
	case len(next) > 0 && (next[0] == '!' || next[0] == '?'):
		h.skipPast(">", false)
	case len(next) > 0 && (next[0] == '/' || isLetter(next[0])):
		h.tag()
	default:
		h.buf = append(h.buf, '<')
	}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// maxEntity is the longest character reference that is looked for.
const maxEntity = 40

// text reads text up to the next "<" or what the buffer holds.
func (h *htmlReader) text() {
	if h.in.Buffered() < maxEntity {
		h.in.Peek(maxEntity) // so that a reference is seen whole
	}
	piece, _ := h.in.Peek(h.in.Buffered())
	if i := bytes.IndexByte(piece, '<'); i >= 0 {
		piece = piece[:i]
	} else if i := bytes.LastIndexByte(piece, '&'); i > 0 && len(piece)-i < maxEntity {
		piece = piece[:i] // it may go on behind the buffer
	}
	if bytes.IndexByte(piece, '&') >= 0 {
		h.buf = append(h.buf, html.UnescapeString(string(piece))...)
	} else {
		h.buf = append(h.buf, piece...)
	}
	h.in.Discard(len(piece))
}

// tag reads a tag behind its "<".
func (h *htmlReader) tag() {
	var name []byte
	for len(name) < 12 {
		c, err := h.in.ReadByte()
		if err != nil {
			h.err = err
			return
		}
		if c != '/' && !isLetter(c) && (c < '0' || c > '9') || c == '/' && len(name) > 0 {
			h.in.UnreadByte()
			break
		}
		name = append(name, c|0x20) // "/" has that bit already
	}
	h.attributes()
	switch n := string(name); n {
	case "script", "style", "title":
		h.skipPast("</"+n, true)
		h.skipPast(">", false)
	default:
		if n = strings.TrimPrefix(n, "/"); !inline(n) {
			h.buf = append(h.buf, '\n')
		}
	}
}

// inline tells whether an element stands inside a line of text.
func inline(name string) bool {
	switch name {
	case "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
		"img", "ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span",
		"strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr":
		return true
	}
	return false
}

// attributes skips up to the ">" of a tag. It may stand in a value in quotes.
func (h *htmlReader) attributes() {
	value := false // "=" was the last but spaces
	for {
		c, err := h.in.ReadByte()
		if err != nil {
			h.err = err
			return
		}
		switch {
		case c == '>':
			return
		case value && (c == '"' || c == '\''):
			h.skipPast(string(c), false)
			value = false
		case c == '=':
			value = true
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			value = false
		}
	}
}

// skipPast skips up to mark and over it; with fold, mark is in lower case and
// the input in any.
func (h *htmlReader) skipPast(mark string, fold bool) {
	n := 0
	for n < len(mark) {
		c, err := h.in.ReadByte()
		if err != nil {
			h.err = err
			return
		}
		if fold && c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		switch {
		case c == mark[n]:
			n++
		case n == 2 && c == '-' && mark == "-->": // "--->"
		case c == mark[0]:
			n = 1
		default:
			n = 0
		}
	}
}
