package imapd

import (
	"context"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

var selectCommands = map[string]command{
	"SELECT":   {after, func(c *conn, d *wire.Decoder) task { return c.parseSelect(d, false) }},
	"EXAMINE":  {after, func(c *conn, d *wire.Decoder) task { return c.parseSelect(d, true) }},
	"UNSELECT": {selected, (*conn).parseUnselect},
	"CLOSE":    {selected, (*conn).parseClose},
}

func (c *conn) parseSelect(d *wire.Decoder, readOnly bool) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) { return c.selectBox(ctx, name, readOnly) }}
}

func (c *conn) selectBox(ctx context.Context, name string, readOnly bool) (string, error) {
	if c.sel != nil {
		c.unselect()
		c.line("* OK [CLOSED] Previous mailbox closed")
	}
	f, rights, err := c.find(ctx, name, mailbox.ReadRight)
	if err != nil {
		return "", err
	}
	v := &view{rights: rights, readOnly: readOnly}
	v.cancel = c.srv.Mailboxes.Watch(f.ID, c.wake)
	if v.folder, err = c.srv.Mailboxes.Status(ctx, f.ID); err == nil {
		v.uids, err = c.srv.Mailboxes.UIDs(ctx, f.ID)
	}
	if err != nil {
		v.cancel()
		return "", err
	}
	c.sel = v
	c.describe(v)
	if readOnly {
		return "[READ-ONLY] Mailbox opened", nil
	}
	return "[READ-WRITE] Mailbox opened", nil
}

// describe writes the untagged responses of SELECT (RFC 9051 section 6.3.2).
func (c *conn) describe(v *view) {
	c.respond(func(e *wire.Encoder) error {
		e.Raw(`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)` + "\r\n")
		e.Raw(`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags that stay` + "\r\n")
		e.Rawf("* %d EXISTS\r\n* 0 RECENT\r\n", len(v.uids))
		e.Rawf("* OK [UIDVALIDITY %d] UIDs are valid\r\n", v.folder.UIDValidity)
		e.Rawf("* OK [UIDNEXT %d] Next UID\r\n", v.folder.UIDNext)
		e.Rawf("* OK [HIGHESTMODSEQ %d] Highest mod-sequence", v.folder.ModSeq)
		return nil
	})
}

func (c *conn) parseUnselect(d *wire.Decoder) task {
	d.End()
	return task{sync: syncNone, run: func(context.Context) (string, error) { c.unselect(); return "", nil }}
}

func (c *conn) parseClose(d *wire.Decoder) task {
	d.End()
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) {
		v := c.sel
		c.unselect()
		if v.readOnly || v.rights&mailbox.ExpungeRight == 0 {
			return "", nil
		}
		_, _, err := c.srv.Mailboxes.Expunge(ctx, v.folder.ID, mailbox.All, true)
		return "", err
	}}
}

// unselect forgets the selected mailbox.
func (c *conn) unselect() {
	if c.sel != nil {
		c.sel.cancel()
		c.sel = nil
	}
}
