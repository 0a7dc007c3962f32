package imapd

import (
	"context"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// parseReplace is REPLACE (RFC 8508): one message comes in the place of
// another, of the same mailbox or of another one.
func (c *conn) parseReplace(d *wire.Decoder, byUID bool) task {
	t := &taking{c: c, ctx: c.srv.door.Context()}
	from := parseTarget(d, byUID)
	d.SP()
	name := d.Mailbox()
	d.SP()
	t.open(d, name, selected)
	var uid uint32
	if d.Err() == nil && t.refusal == nil {
		uid, t.refusal = t.replaced(from)
	}
	t.message(d)
	if !t.end(d) {
		return task{}
	}
	return task{drop: t.drop, run: func(ctx context.Context) (string, error) { return t.replace(ctx, uid) }}
}

// replaced gives the one message that is to go. Its octets are room for the
// other.
func (t *taking) replaced(old target) (uint32, error) {
	v := t.c.sel
	uids, err := t.c.chosen(old)
	if err != nil {
		return 0, err
	}
	if len(uids) != 1 {
		return 0, no("NONEXISTENT", "No such message, or not one")
	}
	if err := v.writable(mailbox.DeleteMark); err != nil {
		return 0, err
	}
	if err := v.writable(mailbox.ExpungeRight); err != nil {
		return 0, err
	}
	m, err := t.c.srv.Mailboxes.Message(t.ctx, v.told().ID, uids[0])
	if err == nil && v.told().Account == t.to.Account {
		t.room += min(m.Size, 1<<63-1-t.room)
	}
	return uids[0], err
}

// replace puts the message in the place of the other one: both or neither.
func (t *taking) replace(ctx context.Context, uid uint32) (string, error) {
	messages, err := t.ready(ctx)
	if err != nil {
		return "", err
	}
	c := t.c
	done, modseq, err := c.srv.Mailboxes.Replace(ctx, c.sel.told().ID, uid, t.to.ID, messages[0])
	if err != nil {
		return "", targetGone(err)
	}
	c.made(t.to.ID, done.UIDs)
	c.sel.owed = true
	t.record("REPLACE")
	c.line("* OK " + t.appendUID(done) + "Replacement is there")
	if err := c.sel.tell(ctx, c, false, newest); err != nil { // EXISTS comes before EXPUNGE
		return "", err
	}
	c.sel.owed = true
	return c.highest(modseq) + "REPLACE completed", nil
}
