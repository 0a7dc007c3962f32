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

// opening is the arguments of SELECT and EXAMINE.
type opening struct {
	name      string
	readOnly  bool
	condstore bool    // (CONDSTORE)
	resync    *resync // (QRESYNC (...)); nil without it
}

func (c *conn) parseSelect(d *wire.Decoder, readOnly bool) task {
	o := opening{readOnly: readOnly}
	d.SP()
	o.name = d.Mailbox()
	if d.AcceptSP() {
		d.List(func() {
			switch word := d.Word(); word {
			case "CONDSTORE":
				o.condstore = true
			case "QRESYNC":
				o.resync = parseResync(d)
			default:
				d.Fail("Unknown parameter of SELECT")
			}
		})
	}
	d.End()
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) { return c.selectBox(ctx, o) }}
}

// writing are the rights of whom a mailbox is not read-only for (RFC 4314
// section 5.2).
const writing = mailbox.KeepSeen | mailbox.WriteFlags | mailbox.Insert | mailbox.DeleteMark | mailbox.ExpungeRight

func (c *conn) selectBox(ctx context.Context, o opening) (string, error) {
	if o.resync != nil && !c.enabled.qresync {
		return "", bad("QRESYNC is not enabled")
	}
	c.enabled.condstore = c.enabled.condstore || o.condstore
	if c.sel != nil {
		c.unselect()
		c.line("* OK [CLOSED] Previous mailbox closed")
	}
	at, err := c.locate(ctx, o.name)
	if err != nil {
		return "", err
	}
	f, rights, err := c.findAt(ctx, at, mailbox.ReadRight)
	if err != nil {
		return "", err
	}
	v := &view{rights: rights, readOnly: o.readOnly || rights&writing == 0, uidOnly: c.enabled.uidOnly}
	v.cancel = c.srv.Mailboxes.Watch(f.ID, c.wake)
	v.place = c.srv.Shelf.take(f.ID)
	e, old, err := c.openFolder(ctx, v.place, o.resync)
	if err == nil {
		v.folder, v.whole, v.uids, v.now, v.keywords = e.folder, e.folder.ModSeq, e.uids, e.uids, len(e.keywords)
		c.sel = v
		err = c.describe(ctx, v, e)
		c.tellName(o.name, at.shown())
	}
	if err == nil {
		err = c.tellEarlier(v, old)
	}
	if err != nil {
		c.sel = v
		c.unselect()
		return "", err
	}
	if v.readOnly {
		return "[READ-ONLY] Mailbox opened", nil
	}
	return "[READ-WRITE] Mailbox opened", nil
}

// openFolder reads a folder, and what a client hears that has had it before.
func (c *conn) openFolder(ctx context.Context, f *shelved, r *resync) (e edition, old earlier, err error) {
	if r != nil {
		return c.catchUp(ctx, f, r)
	}
	e, _, err = f.look(ctx, c.srv.Mailboxes, newest, newest)
	return e, old, err
}

// describe writes the untagged responses of SELECT (RFC 9051 section 6.3.2, and
// RFC 3501 for who has not enabled that).
func (c *conn) describe(ctx context.Context, v *view, e edition) error {
	var unseen uint32
	if !c.enabled.rev2 {
		first, err := c.srv.Shelf.firstRecent(ctx, c.srv.Mailboxes, e.folder, !v.readOnly)
		if err != nil {
			return err
		}
		v.addRecent(mailbox.Range{First: first, Last: e.folder.UIDNext - 1})
		uid, err := v.place.firstUnseen(ctx, c.srv.Mailboxes, e)
		if err != nil {
			return err
		}
		unseen = seq(v.uids, uid)
	}
	c.tellKeywords(v, e)
	return c.respond(func(w *wire.Encoder) error {
		w.Rawf("* %d EXISTS\r\n", len(v.uids))
		if !c.enabled.rev2 {
			w.Rawf("* %d RECENT\r\n", v.countRecent())
		}
		if unseen > 0 && !v.uidOnly {
			w.Rawf("* OK [UNSEEN %d] First unseen message\r\n", unseen)
		}
		w.Rawf("* OK [UIDVALIDITY %d] UIDs are valid\r\n", e.folder.UIDValidity)
		w.Rawf("* OK [UIDNEXT %d] Next UID\r\n", e.folder.UIDNext)
		w.Rawf("* OK [HIGHESTMODSEQ %d] Highest mod-sequence\r\n", e.folder.ModSeq)
		w.Raw("* OK [MAILBOXID (" + mailboxID(e.folder) + ")] Mailbox id")
		return nil
	})
}

// tellName tells a client of IMAP4rev2 what the mailbox is called that it
// selected (RFC 9051 section 6.3.2).
func (c *conn) tellName(given, name string) {
	if !c.enabled.rev2 {
		return
	}
	c.respond(func(w *wire.Encoder) error {
		w.Raw(`* LIST () "/" `)
		w.Mailbox(name)
		if given != name {
			w.Raw(` ("OLDNAME" (`)
			w.Mailbox(given)
			w.Raw("))")
		}
		return nil
	})
}

// dropped ends the selection of a mailbox that the client itself has deleted.
func (c *conn) dropped(f mailbox.Folder) {
	if c.sel != nil && c.sel.folder.ID == f.ID {
		c.unselect()
	}
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
		tell := c.leaving(ctx, v.folder, mailbox.All, true)
		gone, modseq, err := c.srv.Mailboxes.Expunge(ctx, v.folder.ID, mailbox.All, true)
		tell("CLOSE", "", len(gone))
		if err == nil && c.enabled.qresync && v.knows(modseq, len(gone)) {
			return highest(modseq) + "CLOSE completed", nil // RFC 7162 section 3.2.8
		}
		return "", err
	}}
}

// knows tells whether nothing has happened up to a mod-sequence, which came by
// expunging so many messages, of which the client was not told. Otherwise it
// must not take the mod-sequence for what it knows: nothing is told any more.
func (v *view) knows(modseq int64, gone int) bool {
	steps := int64(gone+mailbox.ExpungeChunk-1) / mailbox.ExpungeChunk
	return steps > 0 && modseq == v.folder.ModSeq+steps && len(v.now) == len(v.uids)
}

// unselect forgets the selected mailbox.
func (c *conn) unselect() {
	if c.sel != nil {
		c.sel.cancel()
		c.sel.place.leave()
		c.watching.leave(c.sel)
		c.sel = nil
		c.stir()
	}
}
