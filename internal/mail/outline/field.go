package outline

import (
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// value gives the value of a field unfolded: without its line ends, the white
// space that begins a folded line becoming one space where it was a tab.
func value(f mail.Field) string {
	raw := f.Raw()
	_, raw, _ = strings.Cut(raw, ":")
	raw = strings.TrimRight(raw, "\r\n")
	raw = strings.TrimLeft(raw, " \t")
	if strings.IndexByte(raw, '\n') < 0 {
		return raw
	}
	var b strings.Builder
	for i, line := range strings.Split(raw, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if i > 0 && strings.HasPrefix(line, "\t") {
			line = " " + line[1:]
		}
		b.WriteString(line)
	}
	return b.String()
}

// envelope reads the fields of ENVELOPE.
func envelope(h *mail.Header) Envelope {
	var e Envelope
	for f := range h.All() {
		switch strings.ToLower(f.Name) {
		case "date":
			e.Date, e.HasDate = value(f), true
		case "subject":
			e.Subject, e.HasSubject = value(f), true
		case "in-reply-to":
			e.InReplyTo, e.HasInReplyTo = value(f), true
		case "message-id":
			e.MessageID, e.HasMessageID = value(f), true
		case "from":
			addAddresses(&e.From, f)
		case "sender":
			addAddresses(&e.Sender, f)
		case "reply-to":
			addAddresses(&e.ReplyTo, f)
		case "to":
			addAddresses(&e.To, f)
		case "cc":
			addAddresses(&e.Cc, f)
		case "bcc":
			addAddresses(&e.Bcc, f)
		}
	}
	return e
}

// addAddresses joins fields that stand more than once, so that no address
// hides in the second.
func addAddresses(to *string, f mail.Field) {
	v := value(f)
	if *to != "" && v != "" {
		v = *to + ", " + v
	}
	if v != "" {
		*to = v
	}
}

// content reads the Content fields of a part. Of a field that stands more than
// once the first counts.
func (p *Part) content(h *mail.Header) {
	for f := range h.All() {
		name := strings.ToLower(f.Name)
		if !strings.HasPrefix(name, "content-") {
			continue
		}
		switch name {
		case "content-type":
			if p.Type == "" {
				p.Type, p.Subtype, p.Params = contentType(value(f))
			}
		case "content-id":
			p.ID.set(f)
		case "content-description":
			p.Description.set(f)
		case "content-transfer-encoding":
			if p.Encoding == "" {
				p.Encoding = transferEncoding(value(f))
			}
		case "content-md5":
			p.MD5.set(f)
		case "content-disposition":
			if p.DispParams == nil {
				p.Disposition, p.DispParams = disposition(value(f))
			}
		case "content-language":
			if p.Language == nil {
				p.Language = languages(value(f))
			}
		case "content-location":
			p.Location.set(f)
		}
	}
}

func (t *Text) set(f mail.Field) {
	if !t.Given {
		t.Value, t.Given = value(f), true
	}
}
