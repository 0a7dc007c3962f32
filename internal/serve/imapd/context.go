package imapd

import (
	"context"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Bounds of live searches: of a session, and of the result of a SORT, which is
// sorted anew at each change.
const (
	maxLive   = 8
	maxSorted = 10_000
)

// live is a search or sort whose result the client is kept informed of (UPDATE,
// RFC 5267 section 4.3). view.telling guards it.
type live struct {
	*seeking
	uids []uint32 // the result in its order
	next []uint32 // what it becomes, while that is being told
}

// keepLive begins to tell changes of a result, or says that it will not.
func (c *conn) keepLive(q *seeking, hits []hit) {
	v := c.sel
	v.telling.Lock()
	defer v.telling.Unlock()
	same := func(l *live) bool { return l.tag == q.tag }
	if len(v.live) >= maxLive || q.program.Timed || q.sort != nil && len(hits) > maxSorted || slices.ContainsFunc(v.live, same) {
		c.noUpdate(q.tag)
		return
	}
	if q.returns.items != nil && q.returns.items.modseq {
		c.useCondstore()
	}
	l := &live{seeking: q}
	for _, h := range hits {
		l.uids = append(l.uids, h.uid)
	}
	v.live = append(v.live, l)
}

func (c *conn) noUpdate(tag string) {
	c.respond(func(e *wire.Encoder) error {
		e.Raw("* NO [NOUPDATE ")
		e.String(tag)
		e.Raw("] Changes of this search are not told")
		return nil
	})
}

func (c *conn) parseCancelUpdate(d *wire.Decoder) task {
	var tags []string
	for d.SP(); d.Err() == nil; {
		tags = append(tags, d.Astring())
		if !d.AcceptSP() {
			break
		}
	}
	d.End()
	return task{run: func(context.Context) (string, error) {
		v := c.sel
		v.telling.Lock()
		defer v.telling.Unlock()
		v.live = slices.DeleteFunc(v.live, func(l *live) bool { return slices.Contains(tags, l.tag) })
		return "", nil
	}}
}

// seekLive finds out what the change of messages made of the live searches. It
// needs v.telling.
func (v *view) seekLive(ctx context.Context, c *conn, changed []mailbox.Message) {
	if len(v.live) == 0 || len(changed) == 0 {
		return
	}
	var looked []uint32
	for _, m := range changed {
		if in(v.uids, m.UID) {
			looked = append(looked, m.UID)
		}
	}
	slices.Sort(looked)
	v.live = slices.DeleteFunc(v.live, func(l *live) bool {
		now, err := l.again(ctx, c, looked)
		if l.next = now; err != nil {
			c.noUpdate(l.tag)
		}
		return err != nil
	})
}

// tellLive tells what seekLive found. It needs v.telling.
func (v *view) tellLive(c *conn, changed []mailbox.Message) {
	if len(changed) == 0 {
		return
	}
	for _, l := range v.live {
		l.tellRemoved(c, v.uids, l.next)
		l.tellAdded(c, v.uids, l.next)
		l.next = nil
	}
}

// again gives the result after some messages changed.
func (l *live) again(ctx context.Context, c *conn, changed []uint32) ([]uint32, error) {
	hits, err := c.seek(ctx, l.seeking, changed)
	if err != nil {
		return nil, err
	}
	var found []uint32
	for _, h := range hits {
		found = append(found, h.uid)
	}
	if l.sort != nil {
		return found, nil
	}
	rest := slices.DeleteFunc(slices.Clone(l.uids), func(u uint32) bool { return in(changed, u) })
	now := append(rest, found...)
	slices.Sort(now)
	return now, nil
}

// in tells whether u is in uids, which ascend.
func in(uids []uint32, u uint32) bool { return seq(uids, u) != 0 }

// tellRemoved tells which messages are not in the result now, the last ones
// first, so that the places of those before stay.
func (l *live) tellRemoved(c *conn, numbers, now []uint32) {
	there := slices.Sorted(slices.Values(now))
	var places, removed []uint32
	left := make([]uint32, 0, len(l.uids))
	for i, u := range l.uids {
		if in(there, u) {
			left = append(left, u)
			continue
		}
		places, removed = append(places, uint32(i+1)), append(removed, u)
	}
	slices.Reverse(places)
	if l.sort != nil {
		slices.Reverse(removed)
	}
	l.uids = left
	l.tellPlaces(c, "REMOVEFROM", numbers, places, removed)
}

// tellAdded tells which messages are new in the result, the first ones first.
func (l *live) tellAdded(c *conn, numbers, now []uint32) {
	there := slices.Sorted(slices.Values(l.uids))
	var places, added []uint32
	for i, u := range now {
		if !in(there, u) {
			places, added = append(places, uint32(i+1)), append(added, u)
		}
	}
	l.uids = now
	l.tellPlaces(c, "ADDTO", numbers, places, added)
}

// tellPlaces writes a change of the result. Places are told of sorts only: the
// order of a search is that of the numbers (RFC 5267 section 4.3.4).
func (l *live) tellPlaces(c *conn, what string, numbers, places, uids []uint32) {
	if len(uids) == 0 {
		return
	}
	names := make([]uint32, len(uids))
	for i, u := range uids {
		names[i] = l.name(hit{number: seq(numbers, u), uid: u})
	}
	c.respond(func(e *wire.Encoder) error {
		e.Raw("* ESEARCH (TAG ")
		e.String(l.tag)
		e.Raw(")")
		if l.byUID {
			e.Raw(" UID")
		}
		e.Raw(" " + what + " (")
		if l.sort == nil {
			e.Raw("0 ")
			e.Set(names)
		} else {
			e.Rawf("%d %d", places[0], names[0])
			for i := 1; i < len(names); i++ {
				e.Rawf(" %d %d", places[i], names[i])
			}
		}
		e.Raw(")")
		return nil
	})
}

// tellLeft tells which messages leave the results because they are gone. The
// client still has their numbers.
func (v *view) tellLeft(c *conn, gone []uint32) {
	for _, l := range v.live {
		now := slices.DeleteFunc(slices.Clone(l.uids), func(u uint32) bool { return in(gone, u) })
		l.tellRemoved(c, v.uids, now)
	}
}
