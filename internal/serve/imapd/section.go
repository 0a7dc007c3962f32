package imapd

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// section is what BODY[...] names (RFC 9051 section 6.4.5.1).
type section struct {
	path   []int
	what   content
	fields []string // of HEADER.FIELDS and HEADER.FIELDS.NOT
}

// content is what is meant of a part.
type content uint8

const (
	wholeBody content = iota
	headerOnly
	headerFields
	headerFieldsNot
	textOnly
	mimeHeader
)

// Bounds of a section that a client names.
const (
	maxPath   = 100
	maxFields = 1000
)

// parseSection reads a section of which spec, in capitals, has been read
// already: all but the list of HEADER.FIELDS.
func parseSection(d *wire.Decoder, spec string) (s section) {
	for spec != "" && spec[0] >= '0' && spec[0] <= '9' {
		number, rest, more := strings.Cut(spec, ".")
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || more && rest == "" || len(s.path) == maxPath {
			d.Fail("Invalid section")
			return section{}
		}
		s.path, spec = append(s.path, int(n)), rest
	}
	switch spec {
	case "":
	case "HEADER":
		s.what = headerOnly
	case "TEXT":
		s.what = textOnly
	case "MIME":
		if s.what = mimeHeader; len(s.path) == 0 {
			d.Fail("MIME needs a part")
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		if s.what = headerFields; spec == "HEADER.FIELDS.NOT" {
			s.what = headerFieldsNot
		}
		s.parseFields(d)
	default:
		d.Fail("Invalid section")
	}
	return s
}

func (s *section) parseFields(d *wire.Decoder) {
	d.SP()
	d.List(func() {
		if len(s.fields) == maxFields {
			d.Fail("Too many fields")
		}
		s.fields = append(s.fields, strings.ToUpper(d.Astring()))
	})
	if len(s.fields) == 0 {
		d.Fail("No fields are named")
	}
}

// write writes the section as its response names it, without brackets.
func (s *section) write(e *wire.Encoder) {
	sep := ""
	for _, n := range s.path {
		e.Rawf("%s%d", sep, n)
		sep = "."
	}
	if s.what == wholeBody {
		return
	}
	e.Raw(sep + [...]string{"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"}[s.what])
	if len(s.fields) == 0 {
		return
	}
	sep = " ("
	for _, f := range s.fields {
		e.Raw(sep)
		e.Astring(f)
		sep = " "
	}
	e.Raw(")")
}

// header tells whether the section is nothing but header.
func (s *section) header() bool { return s.what != wholeBody && s.what != textOnly }

// needsOutline tells whether one must know the structure of the message to find
// the section. Its own header is found without.
func (s *section) needsOutline() bool { return len(s.path) > 0 }

// span is a place in the text of a message, which is prefix and body.
type span struct{ at, size int64 }

// find gives the place of the section, or of the header that its fields are
// taken from. What a message does not have is found to be empty, as with other
// servers.
func (s *section) find(m *opened) (span, error) {
	if len(s.path) == 0 {
		return s.findWhole(m)
	}
	p, ok := m.it.Outline.Section(s.path)
	if ok && s.what != wholeBody && s.what != mimeHeader {
		p, ok = p.Inner()
	}
	prefix := int64(len(m.it.Prefix))
	switch {
	case !ok:
		return span{}, nil
	case s.what == wholeBody || s.what == textOnly:
		return span{prefix + p.BodyOffset, p.BodySize}, nil
	case p == m.it.Outline.Root(): // number 1 of what has no parts
		return span{0, prefix + p.HeaderSize}, nil
	}
	return span{prefix + p.HeaderOffset, p.HeaderSize}, nil
}

// findWhole is find for the message itself.
func (s *section) findWhole(m *opened) (span, error) {
	if s.what == wholeBody {
		return span{0, m.it.Size}, nil
	}
	size, err := m.headerSize()
	if s.what == textOnly {
		return span{size, m.it.Size - size}, err
	}
	return span{0, size}, err
}

// open gives the octets of the section, and their number.
func (s *section) open(m *opened) (*io.SectionReader, error) {
	at, err := s.find(m)
	if err != nil {
		return nil, err
	}
	if s.what != headerFields && s.what != headerFieldsNot {
		return io.NewSectionReader(m.text, at.at, at.size), nil
	}
	header, err := m.read(at)
	if err != nil {
		return nil, err
	}
	picked := outline.Fields(header, s.fields, s.what == headerFieldsNot)
	return io.NewSectionReader(bytes.NewReader(picked), 0, int64(len(picked))), nil
}

// partial is <offset.length> behind a section.
type partial struct {
	given          bool
	offset, length int64
}

func parsePartial(d *wire.Decoder) (p partial) {
	if !d.Accept('<') {
		return p
	}
	p.given, p.offset = true, d.Number64()
	d.Expect('.')
	if p.length = d.Number64(); p.length == 0 {
		d.Fail("0 octets are no part")
	}
	d.Expect('>')
	return p
}

// of gives what of size octets is asked for.
func (p partial) of(size int64) (offset, length int64) {
	if !p.given {
		return 0, size
	}
	offset = min(p.offset, size)
	return offset, min(p.length, size-offset)
}

// noNUL reads text for a literal, which may hold no NUL: 0x80 stands in its
// place, as with other servers.
type noNUL struct{ r io.Reader }

// Read implements io.Reader.
func (n noNUL) Read(p []byte) (int, error) {
	count, err := n.r.Read(p)
	for b := p[:count]; ; {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return count, err
		}
		b[i] = 0x80
		b = b[i+1:]
	}
}

// decoded is what BINARY gives of a section (RFC 3516 section 4.3).
type decoded struct {
	size int64
	nul  bool             // some octet is NUL
	from func() io.Reader // its octets from the beginning
}

// decode measures what BINARY gives of a section, which takes reading it
// through. It gives false where the encoding is unknown.
func (s *section) decode(ctx context.Context, m *opened) (out decoded, known bool, err error) {
	at, err := s.find(m)
	if err != nil {
		return out, true, err
	}
	stands := func() io.Reader { return io.NewSectionReader(m.text, at.at, at.size) }
	out.from = stands
	if len(s.path) > 0 {
		if part, ok := m.it.Outline.Section(s.path); ok {
			if _, known = part.Decode(stands()); !known {
				return out, false, nil
			}
			out.from = func() io.Reader { r, _ := part.Decode(stands()); return r }
		}
	}
	c := measure{ctx: ctx}
	_, err = io.Copy(&c, out.from())
	out.size, out.nul = c.size, c.nul
	return out, true, err
}

// measure counts what is written to it, until its context ends.
type measure struct {
	ctx  context.Context
	size int64
	nul  bool
}

// Write implements io.Writer.
func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	m.nul = m.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), m.ctx.Err()
}
