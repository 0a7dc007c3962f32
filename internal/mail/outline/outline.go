// Package outline tells what a message is without reading it again: the header
// fields that people search and sort by, the tree of its parts with the place
// of each, and the beginning of its text. Read makes an Outline of a stored
// body in one pass; Append and Decode keep it as octets.
//
// Everything IMAP says of a message's content comes from here: ENVELOPE,
// BODYSTRUCTURE, PREVIEW, the place of BODY[1.2], the keys of SEARCH, SORT and
// THREAD.
package outline

import "time"

// Outline is what is known of one stored message body.
type Outline struct {
	Envelope   Envelope
	References []string  // message identifiers of References, oldest first, each with its angle brackets
	Sent       time.Time // of the Date field; zero when there is none that can be read
	Preview    string    // at most 200 characters of text for a list of messages (RFC 8970); no line ends
	Root       Part
}

// Envelope holds fields of a header as they stand, unfolded, but not decoded
// (RFC 9051 section 7.5.2). A field that is not there is "".
type Envelope struct {
	Date, Subject                                   string
	From, Sender, ReplyTo, To, Cc, Bcc              string
	InReplyTo, MessageID                            string
	HasSubject, HasInReplyTo, HasDate, HasMessageID bool // tell an empty field from none
}

// Param is a parameter of Content-Type or Content-Disposition, the value as
// the structure shows it.
type Param struct{ Name, Value string }

// Part is one entity of a message. Offsets are octets from the beginning of the
// stored body.
type Part struct {
	Type, Subtype string // in capitals
	Params        []Param
	ID            string // Content-ID
	Description   string
	Encoding      string // in capitals, "7BIT" when not given
	MD5           string
	Disposition   string // in capitals, "" when not given
	DispParams    []Param
	Language      []string
	Location      string

	HeaderOffset, HeaderSize int64 // with the empty line
	BodyOffset, BodySize     int64
	Lines                    int64 // of the body

	Children []Part    // of a multipart; of a message/rfc822 the one message in it
	Envelope *Envelope // of the message itself (the root of a message/rfc822 child); nil for other parts
}
