package mail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// ErrHeaderLimit is wrapped when a header section is larger than its limits.
var ErrHeaderLimit = errors.New("header section over its limit")

// HeaderLimits bounds a header section.
type HeaderLimits struct {
	Bytes  int // of the whole section, line ends and the empty line included
	Fields int // lines that begin a field, or are none
	Line   int // octets of one line as it stands, line end included
}

// DefaultHeaderLimits are far above what honest mail has.
func DefaultHeaderLimits() HeaderLimits {
	return HeaderLimits{Bytes: 1 << 20, Fields: 5000, Line: 128 << 10}
}

// Field is one header field as it stands in the message.
type Field struct {
	Name string // as written, without the space some put before the colon; "" for a line that is no field
	raw  []byte // all its lines with their line ends
	body int    // where the value starts in raw
}

// Raw gives the field's octets, folding and line ends included.
func (f Field) Raw() string { return string(f.raw) }

// Value gives the value unfolded and without white space at its ends. What is
// encoded stays so; see DecodeText.
func (f Field) Value() string { return unfold(f.raw[f.body:]) }

// Is tells whether the field bears that name, whatever its case.
func (f Field) Is(name string) bool { return f.Name != "" && strings.EqualFold(f.Name, name) }

// unfold drops line ends (RFC 5322 section 2.2.3).
func unfold(raw []byte) string {
	raw = bytes.TrimRight(raw, "\r\n")
	if bytes.IndexByte(raw, '\n') < 0 {
		return strings.Trim(string(raw), " \t")
	}
	var b strings.Builder
	for line := range bytes.SplitSeq(raw, []byte{'\n'}) {
		b.Write(bytes.TrimRight(line, "\r"))
	}
	return strings.Trim(b.String(), " \t")
}

// Header is the header section of a message or of a MIME part. It keeps every
// octet and the order of what it read: written back untouched it is the same.
//
// It is tolerant: a line that is no field (the "From " line of an mbox, text
// without a colon, a fold before any field) is kept as a Field without a name.
type Header struct {
	fields []Field
	end    []byte // the empty line that ended the section; nil when the input ended first
}

// ReadHeader reads a header section and the empty line behind it, and nothing
// more. Over a limit it gives ErrHeaderLimit together with a Header of all
// octets read so far: what it holds, followed by the rest of r, is the input.
// A Header without empty line at the end of r is no error.
func ReadHeader(r *bufio.Reader, limits HeaderLimits) (*Header, error) {
	h := &Header{}
	size, line, inLine := 0, 0, false
	for {
		chunk, err := r.ReadSlice('\n')
		size += len(chunk)
		switch {
		case inLine:
			line += len(chunk)
			h.grow(chunk)
		case isBlank(chunk):
			h.end = bytes.Clone(chunk)
			return h, nil
		default:
			line = len(chunk)
			h.line(chunk)
		}
		if inLine = err == bufio.ErrBufferFull; !inLine {
			h.nameLast()
		}
		switch {
		case size > limits.Bytes || line > limits.Line || len(h.fields) > limits.Fields:
			h.nameLast()
			return h, fmt.Errorf("%w: %d octets, %d fields", ErrHeaderLimit, size, len(h.fields))
		case err == io.EOF:
			return h, nil
		case err != nil && !inLine:
			return h, fmt.Errorf("reading header: %w", err)
		}
	}
}

// ParseHeader splits a header section held in memory. An empty line ends it;
// what follows is ignored.
func ParseHeader(raw []byte) *Header {
	h := &Header{}
	for len(raw) > 0 {
		n := bytes.IndexByte(raw, '\n') + 1
		if n == 0 {
			n = len(raw)
		}
		if isBlank(raw[:n]) {
			h.end = bytes.Clone(raw[:n])
			break
		}
		h.line(raw[:n])
		h.nameLast()
		raw = raw[n:]
	}
	return h
}

// isBlank tells whether a line with its end is the empty line.
func isBlank(line []byte) bool {
	return len(line) > 0 && line[len(line)-1] == '\n' && len(bytes.TrimRight(line, "\r\n")) == 0
}

// line adds the start of a line: a fold to the field before, else a new field.
func (h *Header) line(chunk []byte) {
	if len(chunk) == 0 {
		return
	}
	if n := len(h.fields); n > 0 && h.fields[n-1].Name != "" && (chunk[0] == ' ' || chunk[0] == '\t') {
		h.grow(chunk)
		return
	}
	h.fields = append(h.fields, Field{raw: bytes.Clone(chunk)})
}

// grow adds octets to the last field.
func (h *Header) grow(chunk []byte) {
	f := &h.fields[len(h.fields)-1]
	f.raw = append(f.raw, chunk...)
}

// nameLast finds the name of the last field once its first line is whole.
func (h *Header) nameLast() {
	if len(h.fields) == 0 {
		return
	}
	f := &h.fields[len(h.fields)-1]
	if f.body != 0 {
		return
	}
	name, n := fieldName(f.raw)
	f.Name, f.body = name, n
}

// fieldName gives the name at the start of a field and where its value
// starts, or "" and 0. White space before the colon is obsolete syntax
// (RFC 5322 section 4.5.8) and still read.
func fieldName(raw []byte) (string, int) {
	colon := bytes.IndexByte(raw, ':')
	if colon <= 0 {
		return "", 0
	}
	name := bytes.TrimRight(raw[:colon], " \t")
	if len(name) == 0 {
		return "", 0
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", 0
		}
	}
	return string(name), colon + 1
}

// All gives the fields from the top.
func (h *Header) All() iter.Seq[Field] { return slices.Values(h.fields) }

// Len gives the number of fields, nameless ones included.
func (h *Header) Len() int { return len(h.fields) }

// Complete tells whether the section ended with an empty line.
func (h *Header) Complete() bool { return h.end != nil }

// Get gives the value of the topmost field of that name, "" when there is none.
func (h *Header) Get(name string) string {
	if i := h.index(name); i >= 0 {
		return h.fields[i].Value()
	}
	return ""
}

// Values gives the values of all fields of that name from the top.
func (h *Header) Values(name string) []string {
	var out []string
	for _, f := range h.fields {
		if f.Is(name) {
			out = append(out, f.Value())
		}
	}
	return out
}

// Has tells whether there is a field of that name.
func (h *Header) Has(name string) bool { return h.index(name) >= 0 }

func (h *Header) index(name string) int {
	return slices.IndexFunc(h.fields, func(f Field) bool { return f.Is(name) })
}

// Add puts a field on top of the section, where trace fields belong. The
// value is folded and encoded as by FormatField.
func (h *Header) Add(name, value string) {
	h.insert(newField(name, FormatField(name, value)))
}

// insert puts fields on top, but below lines that begin with white space:
// there they would become folds of what is put above them.
func (h *Header) insert(fields ...Field) {
	at := 0
	for at < len(h.fields) && (h.fields[at].raw[0] == ' ' || h.fields[at].raw[0] == '\t') {
		at++
	}
	if at > 0 {
		h.fields[at-1].raw = endLine(h.fields[at-1].raw)
	}
	h.fields = slices.Insert(h.fields, at, fields...)
}

func endLine(raw []byte) []byte {
	if bytes.HasSuffix(raw, []byte{'\n'}) {
		return raw
	}
	return append(raw, '\r', '\n')
}

// AddRaw puts ready-made fields on top of the section: complete lines with
// CRLF, such as Received.Field or DKIM signatures give.
func (h *Header) AddRaw(fields string) {
	h.insert(ParseHeader([]byte(fields)).fields...)
}

// Append puts a field at the bottom of the section.
func (h *Header) Append(name, value string) {
	if n := len(h.fields); n > 0 {
		h.fields[n-1].raw = endLine(h.fields[n-1].raw)
	}
	h.fields = append(h.fields, newField(name, FormatField(name, value)))
}

// Set gives the field of that name this value, in the place of the topmost
// one; the others are deleted. A new field goes to the bottom.
func (h *Header) Set(name, value string) {
	i := h.index(name)
	if i < 0 {
		h.Append(name, value)
		return
	}
	h.fields[i] = newField(h.fields[i].Name, FormatField(h.fields[i].Name, value))
	rest := slices.DeleteFunc(h.fields[i+1:], func(f Field) bool { return f.Is(name) })
	h.fields = h.fields[:i+1+len(rest)]
}

// Delete removes all fields of that name and gives their number.
func (h *Header) Delete(name string) int {
	return h.DeleteFunc(func(f Field) bool { return f.Is(name) })
}

// DeleteFunc removes the fields that del holds for and gives their number.
func (h *Header) DeleteFunc(del func(Field) bool) int {
	before := len(h.fields)
	h.fields = slices.DeleteFunc(h.fields, del)
	return before - len(h.fields)
}

// Rename renames all fields of that name, leaving their values as they stand,
// and gives their number.
func (h *Header) Rename(from, to string) int {
	n := 0
	for i, f := range h.fields {
		if f.Is(from) {
			h.fields[i] = newField(to, to+":"+string(f.raw[f.body:]))
			n++
		}
	}
	return n
}

// Edit gives every field of that name the value that edit makes of the old
// one. Both are raw: folding and the line end are part of them and must stay
// well-formed. It tells how many fields changed.
func (h *Header) Edit(name string, edit func(raw string) string) int {
	n := 0
	for i, f := range h.fields {
		if !f.Is(name) {
			continue
		}
		old := string(f.raw[f.body:])
		if now := edit(old); now != old {
			h.fields[i].raw = append(bytes.Clone(f.raw[:f.body]), now...)
			n++
		}
	}
	return n
}

func newField(name, raw string) Field {
	return Field{Name: name, raw: []byte(raw), body: strings.IndexByte(raw, ':') + 1}
}

// Size gives the octets WriteTo writes.
func (h *Header) Size() int {
	n := len(h.end)
	for _, f := range h.fields {
		n += len(f.raw)
	}
	return n
}

// WriteTo writes the section with its empty line, if it had one.
func (h *Header) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for _, f := range h.fields {
		n, err := w.Write(f.raw)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	n, err := w.Write(h.end)
	return total + int64(n), err
}

// Bytes gives what WriteTo writes.
func (h *Header) Bytes() []byte {
	var b bytes.Buffer
	b.Grow(h.Size())
	h.WriteTo(&b)
	return b.Bytes()
}
