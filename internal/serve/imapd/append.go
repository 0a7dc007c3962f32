package imapd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/store/blob"
)

// taking is an APPEND or REPLACE whose messages come in. They are streamed to
// the body store while the command is read: all that it may be refused for is
// asked before. What changes a session runs alone and has ended before the next
// command is read, so the session may be looked at here.
//
// Once it is refused, what the client sends unasked is read over, and a literal
// that it must ask for ends the command.
type taking struct {
	c        *conn
	ctx      context.Context
	to       mailbox.Folder
	rights   mailbox.Rights
	room     int64 // octets that the quota leaves
	copied   int64 // octets that came from URLs: at most as many as one message may have
	refusal  error
	cut      bool // the client will not send the rest of the command
	messages []*incoming
}

// maxOpen is how many bodies of one command may be unfinished. A finished body
// waits for its transaction no longer than body.Store.Grace.
const maxOpen = 8

// maxAppended is how many messages one APPEND brings: they are one transaction,
// for which all others wait.
const maxAppended = 1000

// incoming is one message that comes in.
type incoming struct {
	flags    flagSet
	received time.Time // zero: now
	text     *intake
	stored   blob.Stored
}

// parseAppend is APPEND (RFC 9051 section 6.3.12) with MULTIAPPEND (RFC 3502),
// CATENATE (RFC 4469), BINARY (RFC 3516) and UTF8 (RFC 6855).
func (c *conn) parseAppend(d *wire.Decoder) task {
	t := &taking{c: c, ctx: c.srv.door.Context()}
	d.SP()
	name := d.Mailbox()
	d.SP()
	t.open(d, name, after)
	for t.message(d) && d.AcceptSP() {
	}
	if !t.end(d) {
		return task{}
	}
	return task{drop: t.drop, run: func(ctx context.Context) (string, error) { return t.append(ctx) }}
}

// open finds the mailbox and what of its quota is left.
func (t *taking) open(d *wire.Decoder, name string, at place) {
	if d.Err() != nil {
		return
	}
	if t.refusal = t.c.fits(at); t.refusal != nil {
		return
	}
	if t.to, t.rights, t.refusal = t.c.openTarget(t.ctx, name); t.refusal != nil {
		return
	}
	use, err := t.c.srv.Mailboxes.Usage(t.ctx, t.to.Account)
	if t.room = use.Limit - use.Used; use.Limit == 0 {
		t.room = 1<<63 - 1
	}
	t.refusal = err
}

func (t *taking) refuse(err error) {
	if t.refusal == nil {
		t.refusal = err
	}
}

// end reads the end of the command. It gives false when the command is wrong,
// and then nothing is left of it.
func (t *taking) end(d *wire.Decoder) bool {
	if !t.cut && d.Err() == nil {
		d.End()
	}
	if d.Err() == nil && t.refusal == nil {
		return true
	}
	t.drop()
	return d.Err() == nil
}

// message reads one message with what stands before it. It gives false when
// there is no more to read.
func (t *taking) message(d *wire.Decoder) bool {
	m := &incoming{}
	if d.Peek() == '(' {
		m.flags = parseFlags(d, d.Flags())
		d.SP()
	}
	if d.Peek() == '"' {
		m.received = d.DateTime()
		d.SP()
	}
	if d.Err() != nil {
		return false
	}
	t.begin(m)
	switch d.Peek() {
	case '{', '~':
		return t.literal(d, m) && t.finish(m)
	}
	switch d.Word() {
	case "CATENATE":
		d.SP()
		return t.catenate(d, m) && t.finish(m)
	case "UTF8":
		if !t.c.enabled.utf8 && !t.c.enabled.rev2 {
			t.refuse(bad("UTF8 is not enabled"))
		}
		d.SP()
		d.Expect('(')
		ok := t.literal(d, m)
		if ok {
			d.Expect(')')
		}
		return ok && t.finish(m)
	}
	d.Fail("Expected a message")
	return false
}

// begin opens a body for a message.
func (t *taking) begin(m *incoming) {
	if len(t.messages) >= maxAppended {
		t.refuse(no("LIMIT", fmt.Sprintf("At most %d messages at a time", maxAppended)))
	}
	if t.refusal != nil {
		return
	}
	w, err := t.c.srv.Mailboxes.Bodies.Create(t.ctx)
	if err != nil {
		t.refuse(err)
		return
	}
	m.text = &intake{w: w}
	t.messages = append(t.messages, m)
}

// finish ends the body of a message.
func (t *taking) finish(m *incoming) bool {
	if t.refusal != nil {
		return true
	}
	if err := m.text.end(t.ctx, t.c.srv.Mailboxes.Bodies); err != nil {
		t.refuse(err)
		return true
	}
	t.room -= m.text.size()
	if n := len(t.messages) - maxOpen; n >= 0 {
		t.refuse(t.messages[n].commit(t.ctx))
	}
	return true
}

// commit has the body complete.
func (m *incoming) commit(ctx context.Context) (err error) {
	if m.text != nil {
		m.stored, err = m.text.w.Commit(ctx)
		m.text = nil
	}
	return err
}

// literal reads a literal into a message, or over it. It gives false when that
// does not come any more.
func (t *taking) literal(d *wire.Decoder, m *incoming) bool {
	a := d.Announcement()
	if d.Err() != nil {
		return false
	}
	t.admit(a.Size, m)
	limit := t.c.srv.limits.Append
	switch {
	case t.refusal != nil && a.Sync:
		t.cut = true
		return false
	case t.refusal != nil && a.Size > 2*limit:
		d.Refuse(a, limit)
		return false
	}
	if m.text != nil {
		m.text.binary = m.text.binary || a.Binary
	}
	return t.copy(d, d.Literal(a), m)
}

// admit refuses octets that are too many before they come (RFC 7889 section
// 4, RFC 9208 section 5.1).
func (t *taking) admit(size int64, m *incoming) {
	if t.refusal != nil {
		return
	}
	switch all := m.text.size() + size; {
	case all > t.c.srv.limits.Append || all < 0:
		t.refuse(no("TOOBIG", fmt.Sprintf("At most %d octets are taken", t.c.srv.limits.Append)))
	case all > t.room:
		t.refuse(no("OVERQUOTA", "Mailbox is full"))
	}
}

// aliveEvery is after how many octets a client has shown that it still sends.
const aliveEvery = 1 << 20

// copy reads a literal to its end, whatever becomes of it.
func (t *taking) copy(d *wire.Decoder, from io.Reader, m *incoming) bool {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for since := 0; ; {
		n, err := from.Read(*buf)
		if t.refusal == nil {
			if _, err := m.text.Write((*buf)[:n]); err != nil {
				t.refuse(err)
			}
		}
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		if since += n; since >= aliveEvery {
			since = 0
			if err := t.c.expect(); err != nil {
				d.Fail("Shutting down")
				return false
			}
		}
	}
}

// append puts the messages into the mailbox, all or none.
func (t *taking) append(ctx context.Context) (string, error) {
	messages, err := t.ready(ctx)
	if err != nil {
		return "", err
	}
	done, err := t.c.srv.Mailboxes.AppendAll(ctx, t.to.ID, messages)
	if err != nil {
		return "", targetGone(err)
	}
	t.c.made(t.to.ID, done.UIDs)
	t.record("APPEND")
	return t.appendUID(done) + "APPEND completed", nil
}

// appendUID is the response code of RFC 9051 section 7.1 and a space, "" when
// the client may not read where the messages went (RFC 4315 section 3).
func (t *taking) appendUID(a mailbox.Appended) string {
	if t.rights&mailbox.ReadRight == 0 {
		return ""
	}
	return fmt.Sprintf("[APPENDUID %d %s] ", a.UIDValidity, wire.AppendSet(nil, a.UIDs))
}

// ready ends the bodies and gives the messages as the store takes them.
func (t *taking) ready(ctx context.Context) (messages []mailbox.NewMessage, err error) {
	if err = t.refusal; err == nil {
		err = t.mayStill(ctx)
	}
	for _, m := range t.messages {
		if err == nil {
			err = m.commit(ctx)
		}
		flags := m.flags.within(t.rights)
		messages = append(messages, mailbox.NewMessage{Stored: m.stored, Received: m.received, Trace: t.c.trace,
			Flags: flags.flags, Keywords: flags.keywords})
	}
	if err != nil {
		t.drop()
	}
	return messages, err
}

// mayStill looks again at the rights to the mailbox: the messages may have taken
// long to come.
func (t *taking) mayStill(ctx context.Context) (err error) {
	if t.rights, err = t.c.srv.Mailboxes.RightsOf(ctx, t.to, t.c.account); err == nil {
		err = targetGone(suffice(t.rights, mailbox.Insert))
	}
	return err
}

// drop gives up the bodies that are not finished.
func (t *taking) drop() {
	for _, m := range t.messages {
		if m.text != nil {
			m.text.abort()
		}
	}
}

// record tells the journal.
func (t *taking) record(verb string) {
	for _, m := range t.messages {
		e := t.c.event(event.Stored)
		e.Size, e.Verb, e.Mailbox = m.stored.Size, verb, t.to.Name
		t.c.srv.Events.Record(e)
	}
}
