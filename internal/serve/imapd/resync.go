package imapd

import (
	"context"
	"fmt"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// resync is the parameter QRESYNC of SELECT (RFC 7162 section 3.2.5).
type resync struct {
	validity uint32
	modseq   int64
	known    []wire.Range // UIDs; nil: all
	// Pairs of numbers and UIDs that the client has, in order.
	numbers, uids []wire.Range
}

// parseResync reads " (UIDVALIDITY MODSEQ [UIDS] [(NUMBERS UIDS)])".
func parseResync(d *wire.Decoder) *resync {
	r := &resync{}
	d.SP()
	d.Expect('(')
	r.validity = d.Number()
	d.SP()
	r.modseq = d.Number64()
	if r.validity == 0 || r.modseq == 0 {
		d.Fail("0 is no value for QRESYNC")
	}
	more := d.AcceptSP()
	if more && d.Peek() != '(' {
		r.known = definite(d)
		more = d.AcceptSP()
	}
	if more {
		d.Expect('(')
		r.numbers = definite(d)
		d.SP()
		r.uids = definite(d)
		d.Expect(')')
	}
	d.Expect(')')
	return r
}

// definite reads a set without "*" and "$".
func definite(d *wire.Decoder) []wire.Range {
	s := d.Set()
	if s.Saved || s.Max() == wire.Star {
		d.Fail("Only numbers may stand in a set of QRESYNC")
		return nil
	}
	return s.Normal(0)
}

// unchanged gives the largest UID up to which the client's numbers are still
// right: nothing is gone up to there.
func (r *resync) unchanged(now []uint32) (uid uint32) {
	at, rest := 0, r.uids
	for _, n := range r.numbers {
		for number := n.First; len(rest) > 0; number++ {
			u := rest[0].First + uint32(at)
			if int64(number) > int64(len(now)) || now[number-1] != u {
				return uid
			}
			uid = u
			if at++; u == rest[0].Last {
				at, rest = 0, rest[1:]
			}
			if number == n.Last {
				break
			}
		}
	}
	return uid
}

// earlier is what happened in a folder since a client last had it.
type earlier struct {
	gone    []wire.Range
	changed []mailbox.Message
}

// maxCatchUp is how often earlier is read anew because the folder has changed
// meanwhile. After that a client may count a message of which it is told nothing
// but that it is gone, which comes with the next news.
const maxCatchUp = 10

// catchUp gives the newest edition of a folder, and what r's client is told of
// what came before, both as of one moment.
func (c *conn) catchUp(ctx context.Context, f *shelved, r *resync) (e edition, old earlier, err error) {
	for range maxCatchUp {
		if e, _, err = f.look(ctx, c.srv.Mailboxes, newest, newest); err != nil {
			return e, old, err
		}
		if r.validity != e.folder.UIDValidity {
			return e, earlier{}, nil // it knows nothing of this mailbox
		}
		if old, err = c.earlier(ctx, e, r); err != nil {
			return e, old, err
		}
		now, err := c.srv.Mailboxes.Status(ctx, f.id)
		if err != nil || now.ModSeq == e.folder.ModSeq {
			return e, old, err
		}
	}
	return e, old, nil
}

func (c *conn) earlier(ctx context.Context, e edition, r *resync) (old earlier, err error) {
	known := r.known
	if known == nil {
		known = []wire.Range{{First: 1, Last: wire.Star}}
	}
	if old.gone, err = c.goneOf(ctx, e.folder, e.uids, r.modseq, known, r.unchanged(e.uids)); err != nil {
		return old, err
	}
	boxes, set := c.srv.Mailboxes, make([]mailbox.Range, len(known))
	for i, k := range known {
		set[i] = mailbox.Range(k)
	}
	changed, err := boxes.ChangedIn(ctx, e.folder.ID, set, r.modseq)
	if err != nil {
		return old, err
	}
	for it, err := range boxes.Items(ctx, e.folder.ID, mailbox.Ranges(changed), 0) {
		if err != nil {
			return old, err
		}
		old.changed = append(old.changed, it.Message)
	}
	return old, nil
}

// tellEarlier tells a client what catchUp has found.
func (c *conn) tellEarlier(v *view, old earlier) error {
	err := c.tellVanishedEarlier(old.gone)
	for _, m := range old.changed {
		v.tellFlags(c, m)
	}
	return err
}

func (c *conn) tellVanishedEarlier(gone []wire.Range) error {
	if len(gone) == 0 {
		return nil
	}
	return c.respond(func(e *wire.Encoder) error { e.Raw("* VANISHED (EARLIER) "); e.Ranges(gone); return nil })
}

// vanished gives the UIDs of known, which is in order, that are gone: those of
// n, or, when that is not all, every one that is not among uids. What lies
// below or at unchanged is still there.
func vanished(n mailbox.News, uids []uint32, known []wire.Range, unchanged uint32) (out []wire.Range) {
	add := func(first, last uint32) {
		if k := len(out); k > 0 && out[k-1].Last+1 == first {
			out[k-1].Last = last
			return
		}
		out = append(out, wire.Range{First: first, Last: last})
	}
	if n.Complete {
		for _, u := range n.Expunged {
			_, in := slices.BinarySearchFunc(known, u, wire.Range.Compare)
			if in && seq(uids, u) == 0 {
				add(u, u)
			}
		}
		return out
	}
	for _, r := range known {
		next := int64(max(r.First, unchanged+1))
		last := min(int64(r.Last), int64(n.Folder.UIDNext)-1)
		for _, u := range within(uids, wire.Range{First: uint32(min(next, wire.Star)), Last: r.Last}) {
			if int64(u) > next {
				add(uint32(next), u-1)
			}
			next = int64(u) + 1
		}
		if next <= last {
			add(uint32(next), uint32(last))
		}
	}
	return out
}

// tellVanished tells which messages of a set are gone since a mod-sequence, for
// FETCH with VANISHED (RFC 7162 section 3.2.6). Those that the client still
// counts are told with the other news.
func (c *conn) tellVanished(ctx context.Context, since int64, set wire.Set) error {
	folder := c.sel.told()
	gone, err := c.goneOf(ctx, folder, c.sel.snapshot(), since, set.Normal(max(1, folder.UIDNext)-1), 0)
	if err != nil {
		return err
	}
	return c.tellVanishedEarlier(gone)
}

// goneOf gives which messages of known are gone since a mod-sequence, as
// vanished has it.
func (c *conn) goneOf(ctx context.Context, folder mailbox.Folder, uids []uint32, since int64, known []wire.Range, unchanged uint32) (_ []wire.Range, err error) {
	n := mailbox.News{Folder: folder}
	if n.Expunged, n.Complete, err = c.srv.Mailboxes.Expunged(ctx, folder.ID, since); err != nil {
		return nil, err
	}
	return vanished(n, uids, known, unchanged), nil
}

// highest is the response code that tells a mod-sequence, with a space behind.
func highest(modseq int64) string { return fmt.Sprintf("[HIGHESTMODSEQ %d] ", modseq) }
