package outline

import (
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// envelope reads the fields of ENVELOPE.
func envelope(raw []byte) Envelope {
	var e Envelope
	eachField(raw, func(name string, value []byte) {
		if to := e.addresses(name); to != nil {
			// Joined, so that no address hides in a field given twice, and in
			// a way that Addresses knows: what is broken in one spoils no other.
			switch v := unfold(value); {
			case v == "":
			case *to == "":
				*to = v
			default:
				*to += fieldBreak + v
			}
			return
		}
		switch strings.ToLower(name) {
		case "date":
			e.Date, e.HasDate = text(value), true
		case "subject":
			e.Subject, e.HasSubject = text(value), true
		case "in-reply-to":
			e.InReplyTo, e.HasInReplyTo = text(value), true
		case "message-id":
			e.MessageID, e.HasMessageID = text(value), true
		}
	})
	return e
}

// addresses gives the place of an address field, nil for other fields.
func (e *Envelope) addresses(name string) *string {
	switch strings.ToLower(name) {
	case "from":
		return &e.From
	case "sender":
		return &e.Sender
	case "reply-to":
		return &e.ReplyTo
	case "to":
		return &e.To
	case "cc":
		return &e.Cc
	case "bcc":
		return &e.Bcc
	}
	return nil
}

// references gives the message identifiers of the References fields.
func references(raw []byte) []string {
	var out []string
	eachField(raw, func(name string, value []byte) {
		if strings.EqualFold(name, "References") {
			out = append(out, mail.MessageIDs(unfold(value))...)
		}
	})
	return out
}

// fields reads the Content fields of a part of parent, or of a message. Of a
// field that stands more than once the first counts.
func (p *Part) fields(raw []byte, parent *Part) {
	typed := false
	p.NoMIME = parent == nil || parent.Kind == Message
	eachField(raw, func(name string, value []byte) {
		if strings.EqualFold(name, "MIME-Version") {
			p.NoMIME = false
		}
		if len(name) < len("Content-") || !strings.EqualFold(name[:len("Content-")], "Content-") {
			return
		}
		switch strings.ToLower(name[len("Content-"):]) {
		case "type":
			if !typed {
				typed, p.NoMIME = true, false
				p.Type, p.Subtype, p.Params = contentType(unfold(value))
			}
		case "id":
			p.ID.set(value)
		case "description":
			p.Description.set(value)
		case "transfer-encoding":
			if p.Encoding == "" {
				p.Encoding = transferEncoding(unfold(value))
			}
		case "md5":
			p.MD5.set(value)
		case "disposition":
			if p.DispParams == nil {
				p.Disposition, p.DispParams = disposition(unfold(value))
			}
		case "language":
			if p.Language == nil {
				p.Language = languages(unfold(value))
			}
		case "location":
			p.Location.set(value)
		}
	})
	switch {
	case typed:
	case parent != nil && parent.Is("multipart/digest"):
		p.Type, p.Subtype = "message", "rfc822"
	default:
		p.Type, p.Subtype = "text", "plain"
	}
}

// plain forgets what a message says of its content where that is no more than
// what holds by default, so that the most common of all takes the least room.
func (p *Part) plain() {
	ascii := len(p.Params) == 0 ||
		len(p.Params) == 1 && strings.EqualFold(p.Params[0].Name, "charset") && strings.EqualFold(p.Params[0].Value, "us-ascii")
	if !ascii || !p.Is("text/plain") || p.Encoding != "" && !strings.EqualFold(p.Encoding, "7bit") || p.ID.Given || p.Description.Given ||
		p.MD5.Given || p.Location.Given || p.Disposition != "" || p.DispParams != nil || p.Language != nil {
		return
	}
	p.Type, p.Subtype, p.Params, p.Encoding = "text", "plain", nil, ""
}

func (t *Text) set(value []byte) {
	if !t.Given {
		t.Value, t.Given = text(value), true
	}
}
