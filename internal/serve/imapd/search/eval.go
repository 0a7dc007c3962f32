package search

import (
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// truth is an answer, as far as it is known.
type truth int8

const (
	no      truth = -1
	unknown truth = 0
	yes     truth = 1
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// subject is a message that is looked at, with what is known at its level.
type subject struct {
	level   level
	number  uint32
	uid     uint32
	now     time.Time
	recent  bool
	emailID func(*mailbox.Message) string
	item    *mailbox.Item
	header  *mail.Header // the prefix included
	headers string       // text of header, normal
	bodies  []truth      // what is known of text keys, by their places: whether the body has the text
	heads   []truth      // whether the header has it, as the index knows
}

// ask answers k for s.
func (k *key) ask(s *subject) truth {
	switch k.op {
	case opAnd:
		return k.all(s)
	case opOr:
		return k.any(s)
	case opNot:
		return -k.kids[0].ask(s)
	case opBody:
		return s.body(k)
	case opText:
		return s.text(k)
	}
	if k.level > s.level {
		return unknown
	}
	return truthOf(k.holds(s))
}

func (k *key) all(s *subject) truth {
	t := yes
	for _, kid := range k.kids {
		if t = min(t, kid.ask(s)); t == no {
			break
		}
	}
	return t
}

func (k *key) any(s *subject) truth {
	t := no
	for _, kid := range k.kids {
		if t = max(t, kid.ask(s)); t == yes {
			break
		}
	}
	return t
}

// body is BODY: known when the text was read, or the index knows it.
func (s *subject) body(k *key) truth {
	if k.text == "" {
		return yes
	}
	if s.bodies == nil {
		return unknown
	}
	return s.bodies[k.place]
}

// text is TEXT: in the header or in the body.
func (s *subject) text(k *key) truth {
	body, head := s.body(k), unknown
	if s.heads != nil {
		head = s.heads[k.place]
	}
	if body != yes && head == unknown && s.level >= byHeader {
		head = truthOf(strings.Contains(s.headers, k.text))
	}
	return max(body, head)
}

// holds answers keys without kids, when their level is reached.
func (k *key) holds(s *subject) bool {
	switch k.op {
	case opNumbers, opUIDs:
		return k.names(s)
	case opRecent:
		return s.recent
	case opThreadID: // messages have none
		return false
	case opSent:
		return !s.item.Outline.Sent.IsZero() && k.days.has(s.item.Outline.Sent)
	case opSubject:
		return has(s.item.Outline.Envelope.Subject, k.text)
	case opAddress:
		return hasAddress(addressField(&s.item.Outline.Envelope, k.word), k.text)
	case opHeader:
		return k.inHeader(s)
	}
	return k.ofRow(s, &s.item.Message)
}

// names answers sets.
func (k *key) names(s *subject) bool {
	if k.set.Saved {
		_, found := slices.BinarySearch(k.uids, s.uid)
		return found
	}
	_, found := slices.BinarySearchFunc(k.numbers, s.uid, wire.Range.Compare)
	return found
}

// ofRow answers what is asked of the row of a message.
func (k *key) ofRow(s *subject, m *mailbox.Message) bool {
	switch k.op {
	case opFlags:
		return m.Flags&k.flags == k.flags
	case opKeyword:
		return slices.ContainsFunc(m.Keywords, func(w string) bool { return strings.EqualFold(w, k.word) })
	case opReceived:
		return k.days.has(m.Received)
	case opSaved:
		return k.days.has(m.Saved)
	case opOlder: // RFC 5032 section 3
		return !m.Received.After(s.now.Add(-time.Duration(k.n) * time.Second))
	case opYounger:
		return !m.Received.Before(s.now.Add(-time.Duration(k.n) * time.Second))
	case opLarger:
		return m.Size > k.n
	case opSmaller:
		return m.Size < k.n
	case opModSeq:
		return m.ModSeq >= k.n
	case opEmailID:
		return s.emailID(m) == k.word
	}
	return false
}

// has tells whether the value of a field has text.
func has(value, text string) bool {
	return strings.Contains(fulltext.Normal(mail.DecodeText(value)), text)
}

// hasAddress tells whether an address field has text, as it stands or in one of
// its addresses without comments and quotes.
func hasAddress(value, text string) bool {
	if value == "" {
		return text == ""
	}
	if has(value, text) {
		return true
	}
	for _, a := range outline.Addresses(value) {
		if a.Role == outline.Mailbox && has(a.Name+" <"+a.Mailbox+"@"+a.Host+">", text) {
			return true
		}
	}
	return false
}

// addressField gives the address field of that name, in small letters.
func addressField(e *outline.Envelope, name string) string {
	switch name {
	case "from":
		return e.From
	case "sender":
		return e.Sender
	case "reply-to":
		return e.ReplyTo
	case "to":
		return e.To
	case "cc":
		return e.Cc
	case "bcc":
		return e.Bcc
	}
	return ""
}

// headerLevel is from when on HEADER can be answered. An outline cannot tell an
// empty address field from none.
func headerLevel(name, text string) level {
	switch name {
	case "date", "subject", "message-id", "in-reply-to":
		return byOutline
	case "from", "sender", "reply-to", "to", "cc", "bcc":
		if text != "" {
			return byOutline
		}
	case "references":
		if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
			return byOutline
		}
	}
	return byHeader
}

// inHeader answers HEADER.
func (k *key) inHeader(s *subject) bool {
	if k.level == byHeader {
		return k.inFields(s.header)
	}
	e := &s.item.Outline.Envelope
	switch k.word {
	case "date":
		return e.HasDate && has(e.Date, k.text)
	case "subject":
		return e.HasSubject && has(e.Subject, k.text)
	case "message-id":
		return e.HasMessageID && has(e.MessageID, k.text)
	case "in-reply-to":
		return e.HasInReplyTo && has(e.InReplyTo, k.text)
	case "references":
		return has(strings.Join(s.item.Outline.References, " "), k.text)
	}
	return hasAddress(addressField(e, k.word), k.text)
}

// inFields looks through the fields of a header. Parameters are looked at
// decoded, too (RFC 2231).
func (k *key) inFields(h *mail.Header) bool {
	for f := range h.All() {
		if !f.Is(k.word) {
			continue
		}
		if k.text == "" || has(f.Value(), k.text) {
			return true
		}
		if !strings.HasPrefix(k.word, "content-") {
			continue
		}
		_, params, _ := mail.ParseParams(f.Value())
		for name, value := range params {
			if has(name+"="+value, k.text) {
				return true
			}
		}
	}
	return false
}
