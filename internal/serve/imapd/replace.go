package imapd

import (
	"context"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// parseReplace is REPLACE (RFC 8508): one message comes in the place of
// another, of the same mailbox or of another one.
func (c *conn) parseReplace(d *wire.Decoder, byUID bool) task {
	t := &taking{c: c, ctx: c.srv.ctx}
	from := parseTarget(d, byUID)
	d.SP()
	name := d.Mailbox()
	d.SP()
	t.open(d, name, selected)
	var uid uint32
	if d.Err() == nil && t.refusal == nil {
		uid, t.refusal = c.replaced(from)
	}
	t.message(d)
	if !t.end(d) {
		return task{}
	}
	return task{run: func(ctx context.Context) (string, error) { return t.replace(ctx, uid) }}
}

// replaced gives the one message that is to go.
func (c *conn) replaced(t target) (uint32, error) {
	uids, err := c.chosen(t)
	if err != nil {
		return 0, err
	}
	if len(uids) != 1 {
		return 0, no("NONEXISTENT", "No such message, or not one")
	}
	if err := c.sel.writable(mailbox.DeleteMark); err != nil {
		return 0, err
	}
	return uids[0], c.sel.writable(mailbox.ExpungeRight)
}

// replace adds the message, then removes the other one. That it was there is
// looked at first; the old one is never gone without the new one being there.
func (t *taking) replace(ctx context.Context, uid uint32) (string, error) {
	if t.refusal != nil {
		return "", t.refusal
	}
	c := t.c
	id := c.sel.folder.ID
	if _, err := c.srv.Mailboxes.Message(ctx, id, uid); err != nil {
		return "", err
	}
	uids, err := t.add(ctx, nil)
	if err != nil {
		return "", targetGone(err)
	}
	c.line("* OK " + t.appendUID(uids) + " Replacement is there")
	_, modseq, err := c.srv.Mailboxes.Expunge(ctx, id, []mailbox.Range{{First: uid, Last: uid}}, false)
	if err != nil {
		return "", err
	}
	return c.highest(modseq) + "REPLACE completed", nil
}
