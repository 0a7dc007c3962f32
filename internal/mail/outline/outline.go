// Package outline tells what a message is without reading it again: the header
// fields that people search and sort by, the tree of its parts with the place
// of each, and the beginning of its text. Read makes an Outline of a stored
// body in one pass; Append and Decode keep it as octets.
//
// Everything IMAP says of a message's content comes from here: ENVELOPE,
// BODYSTRUCTURE, PREVIEW, the place of BODY[1.2], the keys of SEARCH, SORT and
// THREAD. Texts gives what a search reads through.
package outline

import (
	"strings"
	"time"
)

// Outline is what is known of one stored message body.
//
// The strings of a decoded Outline share one piece of memory; who keeps some of
// many messages for long should strings.Clone them. It is for one goroutine at a
// time.
type Outline struct {
	Envelope   Envelope
	References []string  // message identifiers of References, oldest first, each with its angle brackets
	Sent       time.Time // of the Date field, in its own zone, whole seconds; zero when there is none that can be read
	Preview    string    // at most 200 characters of text for a list of messages (RFC 8970); no line ends

	root *Part  // nil until asked for
	tree string // root encoded
}

// Root gives the message itself, with all its parts.
func (o *Outline) Root() *Part {
	if o.root == nil {
		o.root = &Part{}
		r := reader{in: o.tree}
		if r.part(o.root, 0); r.bad || o.tree == "" {
			o.root = &Part{Type: "text", Subtype: "plain"}
		}
	}
	return o.root
}

// Envelope holds fields of a header as they stand, unfolded, but not decoded
// (RFC 9051 section 7.5.2). A field that is not there is "". Of address fields
// that stand more than once the values are joined with a comma and a line end.
type Envelope struct {
	Date, Subject                                   string
	From, Sender, ReplyTo, To, Cc, Bcc              string // see Addresses
	InReplyTo, MessageID                            string
	HasSubject, HasInReplyTo, HasDate, HasMessageID bool // tell an empty field from none
}

// Text is the value of a field that may be missing.
type Text struct {
	Value string
	Given bool
}

// Param is a parameter of Content-Type or Content-Disposition, name and value
// as the structure shows them: pieces of RFC 2231 joined under the name with
// "*" at its end, otherwise not decoded.
type Param struct{ Name, Value string }

// Kind says what the body of a Part is.
type Kind uint8

// Kinds of parts.
const (
	Leaf      Kind = iota // octets
	Multipart             // Children, possibly none
	Message               // one child: the message in it
)

// Part is one entity of a message. Offsets are octets from the beginning of the
// stored body.
type Part struct {
	Kind          Kind
	Type, Subtype string  // as written; what holds by default where none was given; "" when it was broken
	Params        []Param // of Content-Type, in their order
	ID            Text    // Content-ID
	Description   Text
	Encoding      string // Content-Transfer-Encoding as written, "" when not given; see Transfer
	MD5           Text
	Disposition   string // as written, "" when not given
	DispParams    []Param
	Language      []string
	Location      Text
	// NoMIME says of a message that it has neither MIME-Version nor
	// Content-Type; its structure is then shown without the other Content
	// fields, though they hold.
	NoMIME bool

	HeaderOffset, HeaderSize int64 // with the empty line
	BodyOffset, BodySize     int64
	Lines                    int64 // line ends in the body

	Children []Part
	Envelope *Envelope // of the message in a Message part; nil for other parts, and for the root of all
}

// Is tells whether the type is t, such as "text/plain", or of the kind of t
// when that ends in "/".
func (p *Part) Is(t string) bool {
	kind, sub, _ := strings.Cut(t, "/")
	return strings.EqualFold(p.Type, kind) && (sub == "" || strings.EqualFold(p.Subtype, sub))
}

// Param gives the value of the parameter of that name of Content-Type, as it
// stands in Params.
func (p *Part) Param(name string) string {
	for _, v := range p.Params {
		if strings.EqualFold(v.Name, name) {
			return v.Value
		}
	}
	return ""
}
