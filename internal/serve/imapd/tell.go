package imapd

import (
	"context"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// tell tells the client what is new: keywords, new messages, flags and, where
// expunge is true, which messages are gone. It looks no further than what has
// the mod-sequence atLeast (or newest). When the mailbox is no more, or not for
// this user, it gives mailbox.ErrNoFolder. Who wants to hear nothing of the
// mailbox (NOTIFY) keeps it as it is.
func (v *view) tell(ctx context.Context, c *conn, expunge bool, atLeast int64) error {
	v.telling.Lock()
	defer v.telling.Unlock()
	if err := c.mayStill(ctx, false); err != nil {
		return err
	}
	if c.heard() == 0 && !v.owed {
		return nil
	}
	e, changed, err := v.place.look(ctx, c.srv.Mailboxes, v.folder.ModSeq, atLeast)
	if err != nil {
		return err
	}
	news := e.folder.ModSeq > v.folder.ModSeq
	if expunge {
		if news {
			known, _ := slices.BinarySearch(e.uids, v.folder.UIDNext)
			v.now = e.uids[:known:known]
		}
		// Before EXISTS: what MOVE puts in the place of what it takes shows as new.
		if len(v.now) != len(v.uids) {
			v.tellGone(c)
		}
	}
	if news {
		known := v.folder.UIDNext
		if err := v.tellChanges(ctx, c, e, changed); err != nil {
			return err
		}
		v.seekLive(ctx, c, changed)
		if err := v.tellNew(ctx, c, within(v.uids, wire.Range{First: known, Last: wire.Star})); err != nil {
			return err
		}
		v.tellLive(c, changed)
	}
	if len(v.now) == len(v.uids) {
		v.whole = v.folder.ModSeq
	}
	v.owed = false
	return nil
}

// tellBehind tells how far a client of QRESYNC is while it does not know which
// messages are gone: the mod-sequences that it has seen are larger, and if it
// came back with the largest, it would never hear of them.
func (v *view) tellBehind(c *conn) {
	v.telling.Lock()
	defer v.telling.Unlock()
	if c.enabled.qresync && v.whole < v.folder.ModSeq {
		c.line("* OK " + highest(v.whole) + "More is to be told")
	}
}

// tellNewKeywords tells of keywords that the client does not know, and of
// nothing else: what others changed meanwhile comes behind the command's own
// responses, or mod-sequences would go back.
func (v *view) tellNewKeywords(ctx context.Context, c *conn) error {
	v.telling.Lock()
	defer v.telling.Unlock()
	e, _, err := v.place.look(ctx, c.srv.Mailboxes, v.folder.ModSeq, newest)
	if err == nil && len(e.keywords) > v.keywords {
		v.keywords = len(e.keywords)
		c.tellKeywords(v, e)
	}
	return err
}

// tellChanges moves the view on to an edition and tells all but what is gone.
// It needs v.telling, which lets it read what others may only read with v.mu.
func (v *view) tellChanges(ctx context.Context, c *conn, e edition, changed []mailbox.Message) error {
	if len(e.keywords) > v.keywords {
		v.keywords = len(e.keywords)
		c.tellKeywords(v, e)
	}
	first, _ := slices.BinarySearch(e.uids, v.folder.UIDNext)
	arrived := e.uids[first:]
	uids := e.uids
	if len(v.uids)+len(arrived) != len(e.uids) { // some of ours are gone
		uids = slices.Concat(v.uids, arrived)
	}
	if len(arrived) > 0 {
		if err := v.tellArrival(ctx, c, e, len(uids)); err != nil {
			return err
		}
	}
	for _, m := range changed {
		if m.UID < v.folder.UIDNext && !v.hushed(m) && (c.heard()&flagChange != 0 || v.owed) {
			v.tellFlags(c, m)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.folder, v.now, v.uids = e.folder, e.uids, uids
	for u, modseq := range v.silent {
		if modseq <= e.folder.ModSeq {
			delete(v.silent, u)
		}
	}
	return nil
}

// tellArrival tells how many messages there are.
func (v *view) tellArrival(ctx context.Context, c *conn, e edition, messages int) error {
	recent := -1
	if !c.enabled.rev2 {
		first, err := c.srv.Shelf.firstRecent(ctx, c.srv.Mailboxes, e.folder, !v.readOnly)
		if err != nil {
			return err
		}
		first = max(first, v.folder.UIDNext)
		if ours := within(e.uids, wire.Range{First: first, Last: wire.Star}); len(ours) > 0 {
			recent = v.countRecent() + len(ours)
			v.addRecent(mailbox.Range{First: first, Last: e.folder.UIDNext - 1})
		}
	}
	return c.respond(func(e *wire.Encoder) error {
		e.Rawf("* %d EXISTS", messages)
		if recent >= 0 {
			e.Rawf("\r\n* %d RECENT", recent)
		}
		return nil
	})
}

// tellFlags tells the flags of a message that another session changed.
func (v *view) tellFlags(c *conn, m mailbox.Message) {
	n := seq(v.uids, m.UID)
	if n == 0 {
		return
	}
	c.respond(func(e *wire.Encoder) error {
		if v.uidOnly {
			e.Rawf("* %d UIDFETCH (FLAGS ", m.UID)
		} else {
			e.Rawf("* %d FETCH (UID %d FLAGS ", n, m.UID)
		}
		e.List(c.flagWords(m))
		if c.enabled.condstore {
			e.Rawf(" MODSEQ (%d)", m.ModSeq)
		}
		e.Raw(")")
		return nil
	})
}

// tellGone tells which messages are gone: their numbers, the last first, so
// that those of others stay, or their UIDs (VANISHED, RFC 7162 section 3.2.10).
func (v *view) tellGone(c *conn) {
	gone := missing(v.uids, v.now)
	v.tellLeft(c, gone)
	if c.enabled.qresync || v.uidOnly {
		c.respond(func(e *wire.Encoder) error { e.Raw("* VANISHED "); e.Set(gone); return nil })
	} else {
		for _, u := range slices.Backward(gone) {
			n := seq(v.uids, u)
			c.respond(func(e *wire.Encoder) error { e.Rawf("* %d EXPUNGE", n); return nil })
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.uids = v.now
	if len(v.saved) > 0 {
		v.saved = missing(v.saved, gone) // RFC 5182 section 2.1
	}
}

// tellKeywords tells which flags there are (RFC 9051 section 7.3.5) and which of
// them the client may change for good.
func (c *conn) tellKeywords(v *view, e edition) {
	var all, own []string
	for _, f := range systemFlags {
		all = append(all, f.name)
		if v.rights&f.right != 0 {
			own = append(own, f.name)
		}
	}
	all = append(all, e.keywords...)
	if v.rights&mailbox.WriteFlags != 0 {
		own = append(append(own, e.keywords...), `\*`)
	}
	if v.readOnly {
		own = nil
	}
	c.line("* FLAGS (" + strings.Join(all, " ") + ")")
	c.line("* OK [PERMANENTFLAGS (" + strings.Join(own, " ") + ")] Flags that stay")
}
