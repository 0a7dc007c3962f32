package outline

import (
	"bytes"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Bounds of what is taken apart. Behind them nothing is lost: what there is
// more is the body of the part at hand.
const (
	maxNesting = 99      // parts in parts
	maxParts   = 10_000  // of a message
	maxHeaders = 4 << 20 // octets of all header sections together that are looked into
)

// Read makes the Outline of a message in one pass over r. Broken messages are
// no error; an error comes from r. Memory is bounded, time is linear.
//
// It is a reading of its own beside mail.ReadMIME: that one finds all that any
// program of a victim might show, so that filters see it; this one says what
// clients expect of an IMAP server, also of broken messages.
func Read(r io.Reader) (*Outline, error) {
	o := &Outline{root: &Part{}}
	w := walk{scanner: newScanner(r), out: o, headers: maxHeaders, bare: -1}
	defer w.close()
	raw := w.entity(o.root, nil, 0)
	if w.err != nil && w.err != io.EOF {
		return nil, w.err
	}
	o.root.plain()
	o.Envelope = envelope(raw)
	o.References = references(raw)
	if sent, err := mail.ParseDate(o.Envelope.Date); err == nil {
		o.Sent = sent.Truncate(time.Second)
	}
	return o, nil
}

// walk is one run of Read.
type walk struct {
	*scanner
	out     *Outline
	parts   int
	headers int   // octets that may still be kept
	bare    int64 // where the last part without any body ended
}

// entity reads a part, or a message, and gives its header section.
func (w *walk) entity(p, parent *Part, depth int) []byte {
	if w.parts++; w.parts >= maxParts {
		w.open = nil // no part begins or ends any more
	}
	p.HeaderOffset = w.at.off
	raw, cut := w.header(w.headers)
	w.headers -= len(raw)
	start := w.at
	p.fields(raw, parent)
	p.classify()
	if !cut {
		w.content(p, depth)
	}
	w.place(p, start, cut)
	if cut && p.Kind == Message { // of nothing at all
		p.Envelope = &Envelope{}
		p.Children = []Part{{Type: "text", Subtype: "plain", HeaderOffset: p.BodyOffset, BodyOffset: p.BodyOffset}}
	}
	return raw
}

// place says where the body of p is, which was read up to the stop. The line
// end before a boundary belongs to that, also when it is that of a header; yet
// a message that is nothing but a header keeps it, as with Dovecot.
func (w *walk) place(p *Part, start mark, cut bool) {
	end := w.stop
	if cut || end.off < start.off {
		w.bare = end.off
		start = end
	} else if p.Kind == Message && w.bare == end.off && w.gap > 0 {
		end.off += w.gap
		end.lines++
	}
	start.off = max(start.off, p.HeaderOffset)
	p.HeaderSize, p.BodyOffset = start.off-p.HeaderOffset, start.off
	p.BodySize, p.Lines = max(end.off-start.off, 0), max(end.lines-start.lines, 0)
}

// classify says what the body is. A message/global may be encoded (RFC 6532
// section 3.7); then it is taken for octets.
func (p *Part) classify() {
	switch encoding, known := p.Transfer(); {
	case p.Is("message/rfc822"),
		p.Is("message/global") && known && encoding != "base64" && encoding != "quoted-printable":
		p.Kind = Message
	case p.Is("multipart/"):
		p.Kind = Multipart
	}
}

// content reads the body of a part.
func (w *walk) content(p *Part, depth int) {
	if p.Kind != Leaf && (depth >= maxNesting || w.parts >= maxParts) {
		p.Kind, p.Type, p.Subtype = Leaf, "application", "octet-stream"
	}
	switch p.Kind {
	case Leaf:
		w.leaf(p)
	case Message:
		p.Children = make([]Part, 1)
		e := envelope(w.entity(&p.Children[0], p, depth+1))
		p.Envelope = &e
	case Multipart:
		w.multipart(p, depth)
	}
}

func (w *walk) multipart(p *Part, depth int) {
	if p.Param("boundary") == "" {
		w.body(ignore)
		return
	}
	level := len(w.open)
	w.open = append(w.open, p.Param("boundary"))
	w.body(ignore) // before the first boundary
	for w.hit == level && !w.end {
		p.Children = append(p.Children, Part{})
		w.entity(&p.Children[len(p.Children)-1], p, depth+1)
	}
	w.open = w.open[:min(level, len(w.open))]
	if w.hit == level { // what stands behind the closing one
		w.body(ignore)
	}
}

func ignore([]byte) {}

// leaf reads a body that is not taken apart.
func (w *walk) leaf(p *Part) {
	if w.out.Preview != "" || !p.previewed() {
		w.body(ignore)
		return
	}
	var text []byte
	w.body(func(b []byte) { text = append(text, b[:min(len(b), previewFrom-len(text))]...) })
	w.out.Preview = p.preview(bytes.NewReader(text))
}
