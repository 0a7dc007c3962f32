package outline

import (
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Read makes the Outline of a message in one pass over r. Broken messages are
// no error; an error comes from r. Memory is bounded by the limits of
// mail.ReadMIME, time is linear.
func Read(r io.Reader) (*Outline, error) {
	var o Outline
	root, err := mail.ReadMIME(r, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if o.Preview != "" || p.Decoded || !previewed(p) {
			return nil
		}
		text, err := preview(p, body)
		o.Preview = text
		return err
	})
	if err != nil {
		return nil, err
	}
	o.Envelope = envelope(root.Header)
	for _, v := range root.Header.Values("References") {
		o.References = append(o.References, mail.MessageIDs(v)...)
	}
	if sent, err := mail.ParseDate(o.Envelope.Date); err == nil {
		o.Sent = sent.Truncate(1e9)
	}
	o.Root = part(root)
	return &o, nil
}

// part makes a Part of what ReadMIME knows of one.
func part(m *mail.Part) Part {
	p := Part{
		HeaderOffset: m.HeaderOffset, HeaderSize: m.HeaderSize,
		BodyOffset: m.BodyOffset, BodySize: m.BodySize, Lines: m.BodyLines,
	}
	p.content(m.Header)
	kind, sub, _ := strings.Cut(m.Type, "/")
	if !strings.EqualFold(p.Type, kind) || p.Subtype == "" {
		p.Type, p.Subtype = kind, sub
	}
	switch {
	case m.Leaf || len(m.Children) == 1 && m.Children[0].Decoded:
	case m.Is("multipart/"):
		p.Kind = Multipart
	case len(m.Children) == 1:
		p.Kind = Message
		e := envelope(m.Children[0].Header)
		p.Envelope = &e
	}
	if p.Kind != Leaf {
		for _, c := range m.Children {
			p.Children = append(p.Children, part(c))
		}
	}
	return p
}
