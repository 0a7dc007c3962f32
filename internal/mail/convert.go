package mail

import (
	"bytes"
	"io"
	"strings"
)

// Conversion makes 8-bit or binary MIME fit for a peer that does not take it
// (RFC 6152 section 3, RFC 3030 section 3): leaf parts that do not fit are
// encoded, and nothing else changes but Content-Transfer-Encoding fields. What
// is signed or encrypted as a multipart stays as it is (RFC 1847 section 2.1).
type Conversion struct {
	Size int64 // octets of the result

	edits  []edit
	eight  bool // the result may hold 8-bit text
	sealed bool // something that does not fit is signed or encrypted
}

// edit is one part whose header has changed.
type edit struct {
	part   *Part
	encode func(io.Reader) io.Reader // what its body needs; nil: nothing
}

// UnfitError is a message that no conversion makes fit; Sealed tells that it is
// signed or encrypted.
type UnfitError struct{ Sealed bool }

// Error gives the reason in words.
func (e *UnfitError) Error() string {
	if e.Sealed {
		return "what is signed or encrypted cannot be converted"
	}
	return "this message cannot be converted"
}

// Convert plans how to make a message fit; open gives it from its beginning,
// and is called twice: what the plan yields is measured and checked, so 8-bit
// octets in headers, between parts or where there is no MIME need no rule of
// their own. The error is an *UnfitError or one of reading.
func Convert(open func() io.Reader, eight bool) (*Conversion, error) {
	c := &Conversion{eight: eight}
	if _, err := ReadMIME(open(), DefaultMIMELimits(), c.visit); err != nil {
		return nil, err
	}
	var o Octets
	if _, err := io.Copy(&o, c.Reader(open())); err != nil {
		return nil, err
	}
	if !o.Fit(eight) {
		return nil, &UnfitError{c.sealed}
	}
	c.Size = o.Size
	return c, nil
}

// visit decides what becomes of one part.
func (c *Conversion) visit(p *Part, body io.Reader) error {
	var o Octets
	if p.Leaf {
		if _, err := io.Copy(&o, body); err != nil {
			return err
		}
	}
	fits := o.Fit(c.eight)
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
func (c *Conversion) relabel(p *Part) {
	switch {
	case p.Encoding == "binary" && c.eight:
		c.edit(p, "8bit", nil)
	case p.Encoding == "binary" || p.Encoding == "8bit" && !c.eight:
		c.edit(p, "7bit", nil)
	}
}

func (c *Conversion) edit(p *Part, encoding string, encode func(io.Reader) io.Reader) {
	p.Header.Set("Content-Transfer-Encoding", encoding)
	c.edits = append(c.edits, edit{p, encode})
}

// encode chooses quoted-printable for text as long as it is the shorter one,
// and base64 for the rest. What claims to be encoded and is not clean is taken
// as our readers take it.
func (c *Conversion) encode(p *Part, o *Octets) {
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		if p.Is("text/") && o.High <= o.Size/6 {
			c.edit(p, "quoted-printable", EncodeQuoted)
		} else {
			c.edit(p, "base64", EncodeBase64)
		}
	case "base64", "quoted-printable":
		c.edit(p, "base64", func(r io.Reader) io.Reader { return EncodeBase64(p.Decode(r)) })
	}
	// With another word nobody knows what the octets mean.
}

// sealed tells whether p lies in a multipart whose octets somebody has signed
// or encrypted.
func sealed(p *Part) bool {
	for p = p.Parent; p != nil; p = p.Parent {
		if p.Type == "multipart/signed" || p.Type == "multipart/encrypted" {
			return true
		}
	}
	return false
}

// editable tells whether p has a header that can be changed, was read whole,
// and is one of MIME: without MIME-Version nobody looks at an encoding.
func editable(p *Part) bool {
	if p.Decoded || !p.Header.Complete() || int64(p.Header.Size()) != p.HeaderSize {
		return false
	}
	for p.Parent != nil && !strings.HasPrefix(p.Parent.Type, "message/") {
		p = p.Parent
	}
	return p.Header.Has("MIME-Version")
}

// Reader gives the converted message while it reads the original once.
func (c *Conversion) Reader(original io.Reader) io.Reader {
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

// Octets measures what is written to it.
type Octets struct {
	Size, High int64 // all octets, and those above 127

	broken bool // NUL, CR or LF alone, or a line over 998 octets (RFC 2045 section 2.8)
	line   int
	prev   byte
}

// Write implements io.Writer.
func (o *Octets) Write(p []byte) (int, error) {
	o.Size += int64(len(p))
	for _, c := range p {
		switch {
		case c >= 0x80:
			o.High++
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

// Fit tells whether what was written is 7-bit text, or 8-bit text where that
// is taken.
func (o *Octets) Fit(eight bool) bool {
	return !o.broken && o.prev != '\r' && (eight || o.High == 0)
}
