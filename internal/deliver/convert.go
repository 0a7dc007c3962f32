package deliver

import (
	"bytes"
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// conversion makes 8-bit or binary MIME fit for a peer that does not take it
// (RFC 6152 section 3, RFC 3030 section 3): leaf parts that do not fit are
// encoded, and nothing else changes but Content-Transfer-Encoding fields. What
// is signed or encrypted as a multipart stays as it is (RFC 1847 section 2.1).
type conversion struct {
	edits  []edit
	size   int64 // octets of the result
	eight  bool  // the result may hold 8-bit text
	sealed bool  // something that does not fit is signed or encrypted
}

// edit is one part whose header has changed.
type edit struct {
	part   *mail.Part
	encode func(io.Reader) io.Reader // what its body needs; nil: nothing
}

// errUnfit is a message that no conversion makes fit.
type errUnfit struct{ sealed bool }

func (e errUnfit) Error() string {
	if e.sealed {
		return "what is signed or encrypted cannot be converted"
	}
	return "this message cannot be converted"
}

// convert plans how to make a message fit; open gives it from its beginning,
// and is called twice: what the plan yields is measured and checked, so 8-bit
// octets in headers, between parts or where there is no MIME need no rule of
// their own. The error is errUnfit or one of reading.
func convert(open func() io.Reader, eight bool) (*conversion, error) {
	c := &conversion{eight: eight}
	if _, err := mail.ReadMIME(open(), mail.DefaultMIMELimits(), c.visit); err != nil {
		return nil, err
	}
	var o octets
	if _, err := io.Copy(&o, c.reader(open())); err != nil {
		return nil, err
	}
	if !o.fit(eight) {
		return nil, errUnfit{c.sealed}
	}
	c.size = o.size
	return c, nil
}

// visit decides what becomes of one part.
func (c *conversion) visit(p *mail.Part, body io.Reader) error {
	var o octets
	if p.Leaf {
		if _, err := io.Copy(&o, body); err != nil {
			return err
		}
	}
	fits := o.fit(c.eight)
	switch {
	case sealed(p):
		c.sealed = c.sealed || !fits
	case !editable(p):
	case fits:
		c.relabel(p)
	case !strings.HasPrefix(p.Type, "message/") && !strings.HasPrefix(p.Type, "multipart/"):
		c.encode(p, &o)
	}
	return nil
}

// relabel corrects the encoding that p declares, where it names more than the
// peer takes and the body does not need it.
func (c *conversion) relabel(p *mail.Part) {
	switch {
	case p.Encoding == "binary" && c.eight:
		c.edit(p, "8bit", nil)
	case p.Encoding == "binary" || p.Encoding == "8bit" && !c.eight:
		c.edit(p, "7bit", nil)
	}
}

func (c *conversion) edit(p *mail.Part, encoding string, encode func(io.Reader) io.Reader) {
	p.Header.Set("Content-Transfer-Encoding", encoding)
	c.edits = append(c.edits, edit{p, encode})
}

// encode chooses quoted-printable for text as long as it is the shorter one,
// and base64 for the rest. What claims to be encoded and is not clean is taken
// as our readers take it.
func (c *conversion) encode(p *mail.Part, o *octets) {
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		if p.Is("text/") && o.high <= o.size/6 {
			c.edit(p, "quoted-printable", mail.EncodeQuoted)
		} else {
			c.edit(p, "base64", mail.EncodeBase64)
		}
	case "base64", "quoted-printable":
		c.edit(p, "base64", func(r io.Reader) io.Reader { return mail.EncodeBase64(p.Decode(r)) })
	}
	// With another word nobody knows what the octets mean.
}

// sealed tells whether p lies in a multipart whose octets somebody has signed
// or encrypted.
func sealed(p *mail.Part) bool {
	for p = p.Parent; p != nil; p = p.Parent {
		if p.Type == "multipart/signed" || p.Type == "multipart/encrypted" {
			return true
		}
	}
	return false
}

// editable tells whether p has a header that can be changed, was read whole,
// and is one of MIME: without MIME-Version nobody looks at an encoding.
func editable(p *mail.Part) bool {
	if p.Decoded || !p.Header.Complete() || int64(p.Header.Size()) != p.HeaderSize {
		return false
	}
	for p.Parent != nil && !strings.HasPrefix(p.Parent.Type, "message/") {
		p = p.Parent
	}
	return p.Header.Has("MIME-Version")
}

// reader gives the converted message while it reads the original once.
func (c *conversion) reader(original io.Reader) io.Reader {
	var pieces []io.Reader
	at := int64(0)
	for _, e := range c.edits {
		p := e.part
		pieces = append(pieces, io.LimitReader(original, p.HeaderOffset-at), &late{make: func() (io.Reader, error) {
			_, err := io.CopyN(io.Discard, original, p.HeaderSize)
			return bytes.NewReader(p.Header.Bytes()), err
		}})
		at = p.BodyOffset
		if e.encode != nil {
			pieces = append(pieces, &late{make: func() (io.Reader, error) {
				return e.encode(io.LimitReader(original, p.BodySize)), nil
			}})
			at += p.BodySize
		}
	}
	return io.MultiReader(append(pieces, original)...)
}

// late is a reader that is made when it is first read.
type late struct {
	make func() (io.Reader, error)
	made io.Reader
}

// Read implements io.Reader.
func (l *late) Read(p []byte) (n int, err error) {
	if l.made == nil {
		if l.made, err = l.make(); err != nil {
			return 0, err
		}
	}
	return l.made.Read(p)
}

// octets measures what is written to it.
type octets struct {
	size, high int64 // all octets, and those above 127
	broken     bool  // NUL, CR or LF alone, or a line over 998 octets (RFC 2045 section 2.8)
	line       int
	prev       byte
}

// Write implements io.Writer.
func (o *octets) Write(p []byte) (int, error) {
	o.size += int64(len(p))
	for _, c := range p {
		switch {
		case c >= 0x80:
			o.high++
		case c == 0:
			o.broken = true
		}
		if (c == '\n') != (o.prev == '\r') {
			o.broken = true
		}
		o.prev = c
		switch c {
		case '\n':
			o.line = 0
		case '\r':
		default:
			if o.line++; o.line > 998 {
				o.broken = true
			}
		}
	}
	return len(p), nil
}

// fit tells whether what was written is 7-bit text, or 8-bit text where that
// is taken.
func (o *octets) fit(eight bool) bool {
	return !o.broken && o.prev != '\r' && (eight || o.high == 0)
}
