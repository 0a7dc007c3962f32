package deliver

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
)

// Action is what a report says of its recipients (RFC 3464 section 2.3.3).
type Action string

// The actions.
const (
	ActionFailed    Action = "failed"
	ActionDelayed   Action = "delayed"
	ActionDelivered Action = "delivered"
	ActionRelayed   Action = "relayed"
	ActionExpanded  Action = "expanded"
)

// Report is a delivery status notification before it is written: RFC 3464 in
// a multipart/report of RFC 6522, or its form of RFC 6533 for mail that needed
// SMTPUTF8. Whatever a peer or a sender put into its parts is made harmless
// when it is written.
type Report struct {
	Action     Action
	Hostname   string       // who reports
	To         mail.Address // the envelope sender of the mail reported on
	EnvID      string
	UTF8       bool // the mail needed SMTPUTF8
	Arrival    time.Time
	Until      time.Time // of ActionDelayed: when it is given up
	Now        time.Time
	Recipients []ReportedRecipient
	Original   *Original // what is returned of the mail; nil: nothing
}

// ReportedRecipient is one recipient in a report.
type ReportedRecipient struct {
	mail.Recipient
	Outcome queue.Outcome
}

// Original is the part of a mail that its report returns.
type Original struct {
	Header []byte    // the header section, bounded, without the empty line
	Body   io.Reader // the rest behind the empty line; nil returns the header only
}

// word tells the reader what happened, in the subject and in the text.
var words = map[Action]struct{ subject, text string }{
	ActionFailed: {"Your message was not delivered",
		"Your message could not be delivered to the recipients below. It will not\r\nbe tried again."},
	ActionDelayed: {"Your message is delayed",
		"Your message could not be delivered yet to the recipients below. You need\r\nnot send it again: it is tried further"},
	ActionDelivered: {"Your message was delivered",
		"Your message has been put into the mailboxes of the recipients below."},
	ActionRelayed: {"Your message was handed on",
		"Your message has been handed to the mail systems of the recipients below.\r\nThose systems send no notice of delivery, so this is the last one."},
	ActionExpanded: {"Your message went to a list",
		"Your message has been handed to the members of the lists below. The members\r\nsend no notice of delivery."},
}

// WriteTo writes the report as a whole message, header section included. All
// its lines end in CRLF and are at most 998 octets long, but for what the
// original's body brings.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	boundary := "report-" + rand.Text()
	r.header(&b, boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary)
	r.text(&b)
	kind := "message/delivery-status"
	if r.UTF8 {
		kind = "message/global-delivery-status"
	}
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, kind)
	if r.UTF8 {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n")
	r.status(&b)
	if r.Original == nil {
		fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
		return b.WriteTo(w)
	}
	r.returned(&b, boundary)
	n, err := b.WriteTo(w)
	if err != nil {
		return n, err
	}
	if r.Original.Body != nil {
		m, err := io.Copy(w, r.Original.Body)
		if n += m; err != nil {
			return n, err
		}
	}
	m, err := fmt.Fprintf(w, "\r\n--%s--\r\n", boundary)
	return n + int64(m), err
}

func (r *Report) header(b *bytes.Buffer, boundary string) {
	fmt.Fprintf(b, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", r.Hostname)
	r.field(b, "To", "<"+r.To.Wire+">")
	fmt.Fprintf(b, "Subject: %s\r\n", words[r.Action].subject)
	fmt.Fprintf(b, "Date: %s\r\n", r.Now.Format(time.RFC1123Z))
	fmt.Fprintf(b, "Message-ID: <%s@%s>\r\n", strings.ToLower(rand.Text()), r.Hostname)
	if id := r.messageID(); id != "" {
		fmt.Fprintf(b, "In-Reply-To: %s\r\nReferences: %s\r\n", id, id)
	}
	b.WriteString("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n")
	kind := "delivery-status"
	if r.UTF8 {
		kind = "global-delivery-status"
	}
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=%s;\r\n boundary=\"%s\"\r\n\r\n", kind, boundary)
	b.WriteString("This is a report of a mail system in several parts.\r\n\r\n")
}

// messageID gives the original's Message-ID when it is one that is safe to
// repeat.
func (r *Report) messageID() string {
	if r.Original == nil {
		return ""
	}
	id := headerValue(r.Original.Header, "Message-ID")
	if len(id) < 5 || len(id) > 250 || id[0] != '<' || strings.IndexByte(id, '>') != len(id)-1 {
		return ""
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return ""
		}
	}
	return id
}

// headerValue gives the one-line value of the first field of this name.
func headerValue(header []byte, name string) string {
	for line := range bytes.Lines(header) {
		if n, v, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(n), name) {
			return strings.TrimSpace(string(v))
		}
	}
	return ""
}

func (r *Report) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "This is the mail system of %s.\r\n\r\n%s", r.Hostname, words[r.Action].text)
	if r.Action == ActionDelayed {
		fmt.Fprintf(b, "\r\nuntil %s.", r.Until.Format(time.RFC1123Z))
	}
	fmt.Fprintf(b, "\r\n\r\nIt was accepted here on %s.\r\n", r.Arrival.Format(time.RFC1123Z))
	for i := range r.Recipients {
		p := &r.Recipients[i]
		b.WriteString("\r\n")
		wrap(b, "  ", "<"+oneLine(p.Wire, true)+">")
		if p.Outcome.Code == 0 {
			continue
		}
		if hint := plainWords(p.Outcome); hint != "" && r.Action == ActionFailed {
			wrap(b, "    ", hint)
		}
		who := "The reason: "
		if p.Outcome.Host != "" {
			who = "The server " + oneLine(p.Outcome.Host, true) + " said: "
		}
		wrap(b, "    ", who+reply(p.Outcome, true))
	}
}

// plainWords explains the commonest failures to people.
func plainWords(o queue.Outcome) string {
	switch _, rest, _ := strings.Cut(o.Enhanced, "."); rest {
	case "1.1", "1.6", "1.3":
		return "There is no such address. Please check how it is written."
	case "1.2", "1.10":
		return "The part behind the @ receives no mail. Please check how it is written."
	case "2.1":
		return "The recipient's mailbox is disabled."
	case "2.2":
		return "The recipient's mailbox is full."
	case "3.4", "2.3":
		return "The message is too large for the recipient's mail system."
	case "4.7":
		return "The recipient's mail system could not be reached, or did not take the message, for too long."
	case "6.7":
		return "The recipient's mail system does not take international addresses or headers."
	}
	if strings.HasPrefix(o.Enhanced, "5.7.") {
		return "The recipient's mail system refused the message by its rules."
	}
	return ""
}

// reply is an outcome in one line.
func reply(o queue.Outcome, utf8 bool) string {
	s := fmt.Sprintf("%d", o.Code)
	if o.Enhanced != "" {
		s += " " + o.Enhanced
	}
	return oneLine(s+" "+o.Text, utf8)
}

// wrap writes s in lines of about 76 columns.
func wrap(b *bytes.Buffer, indent, s string) {
	line := indent
	for word := range strings.FieldsSeq(s) {
		if len(line)+1+len(word) > 76 && line != indent {
			b.WriteString(line + "\r\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		if len(word) > 900 {
			word = strings.ToValidUTF8(word[:900], "")
		}
		line += word
	}
	b.WriteString(line + "\r\n")
}

// status writes the part for machines (RFC 3464 section 2).
func (r *Report) status(b *bytes.Buffer) {
	if r.EnvID != "" {
		r.field(b, "Original-Envelope-Id", mail.EncodeXtext(r.EnvID))
	}
	r.field(b, "Reporting-MTA", "dns; "+r.Hostname)
	r.field(b, "Arrival-Date", r.Arrival.Format(time.RFC1123Z))
	for i := range r.Recipients {
		p := &r.Recipients[i]
		b.WriteString("\r\n")
		if p.ORcpt != "" {
			r.field(b, "Original-Recipient", strings.Replace(p.ORcpt, ";", "; ", 1))
		}
		kind := "rfc822; "
		if p.UTF8() {
			kind = "utf-8; "
		}
		r.field(b, "Final-Recipient", kind+p.Wire)
		r.field(b, "Action", string(r.Action))
		r.field(b, "Status", r.statusOf(p))
		if p.Outcome.Host != "" {
			r.field(b, "Remote-MTA", "dns; "+remoteMTA(p.Outcome.Host))
			r.field(b, "Diagnostic-Code", "smtp; "+reply(p.Outcome, r.UTF8))
		} else if p.Outcome.Code != 0 {
			r.field(b, "Diagnostic-Code", "x-migiwa; "+reply(p.Outcome, r.UTF8))
		}
		if !p.Outcome.Time.IsZero() {
			r.field(b, "Last-Attempt-Date", p.Outcome.Time.Format(time.RFC1123Z))
		}
		if r.Action == ActionDelayed {
			r.field(b, "Will-Retry-Until", r.Until.Format(time.RFC1123Z))
		}
	}
}

func remoteMTA(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return "[" + ip.String() + "]"
	}
	return host
}

// statusOf is the enhanced code, in the class that the action needs.
func (r *Report) statusOf(p *ReportedRecipient) string {
	class := map[Action]string{ActionFailed: "5", ActionDelayed: "4"}[r.Action]
	if class == "" {
		return "2.0.0"
	}
	e := p.Outcome.Enhanced
	if !smtpc.ValidEnhanced(e) || e[0] == '2' {
		return class + ".0.0"
	}
	if r.Action == ActionFailed && e[0] == '4' {
		return e // given up on a temporary failure: it stays one (RFC 3463 section 2)
	}
	return class + e[1:]
}

func (r *Report) field(b *bytes.Buffer, name, value string) {
	b.WriteString(foldField(name, value, r.UTF8))
}

// foldField gives one header field, folded and harmless whatever is in value.
func foldField(name, value string, utf8 bool) string {
	var b strings.Builder
	line := name + ":"
	for word := range strings.FieldsSeq(oneLine(value, utf8)) {
		if len(line)+1+len(word) > 78 && line != "" && line != name+":" {
			b.WriteString(line + "\r\n")
			line = ""
		}
		if len(word) > 900 {
			word = strings.ToValidUTF8(word[:900], "")
		}
		line += " " + word
	}
	return b.String() + line + "\r\n"
}

// oneLine makes s printable, and ASCII unless utf8.
func oneLine(s string, utf8 bool) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\r' || c == '\n' || c == '\t':
			return ' '
		case c < ' ' || c >= 0x7f && c < 0xa0 || c == 0xfffd || c == 0x2028 || c == 0x2029:
			return '?'
		case c > 0x7f && !utf8:
			return '?'
		}
		return c
	}, s)
}

// returned writes the head of the last part and the original's header.
func (r *Report) returned(b *bytes.Buffer, boundary string) {
	kind := "text/rfc822-headers"
	switch {
	case r.UTF8 && r.Original.Body != nil:
		kind = "message/global"
	case r.UTF8:
		kind = "message/global-headers"
	case r.Original.Body != nil:
		kind = "message/rfc822"
	}
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary, kind)
	b.Write(r.Original.Header)
	if !bytes.HasSuffix(r.Original.Header, []byte("\n")) {
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
}
