package imapd

import (
	"context"
	"reflect"
	"slices"
)

// tellNew tells of new messages what NOTIFY asked for, and live searches that
// found them: in one FETCH each, between EXISTS and ESEARCH (RFC 5465 sections
// 5.2 and 7). What the session made itself it knows.
func (v *view) tellNew(ctx context.Context, c *conn, arrived []uint32) error {
	arrived = missing(arrived, v.made)
	v.made = nil
	asked := v.askedOfNew(c)
	if len(asked) == 0 {
		return nil
	}
	for len(arrived) > 0 {
		want := asked.of(arrived[0])
		n := 1
		for n < len(arrived) && slices.Equal(want, asked.of(arrived[n])) {
			n++
		}
		if err := v.tellItems(ctx, c, merged(want), arrived[:n]); err != nil {
			return err
		}
		arrived = arrived[n:]
	}
	return nil
}

// asking is who asks for something of new messages.
type asking []struct {
	items *fetching
	found []uint32 // those of which it is asked, in order
	all   bool     // or of all
}

func (v *view) askedOfNew(c *conn) (a asking) {
	if w := c.watching; w != nil && w.items != nil {
		a = append(a, asking{{items: w.items, all: true}}...)
	}
	for _, l := range v.live {
		if l.returns.items != nil && len(l.next) > 0 {
			a = append(a, asking{{items: l.returns.items, found: slices.Sorted(slices.Values(l.next))}}...)
		}
	}
	return a
}

// of gives what is asked of one message.
func (a asking) of(uid uint32) (want []*fetching) {
	for _, one := range a {
		if one.all || in(one.found, uid) {
			want = append(want, one.items)
		}
	}
	return want
}

// merged asks for what any of them asks for; nil: for nothing.
func merged(all []*fetching) *fetching {
	if len(all) < 2 {
		return append(all, nil)[0]
	}
	sum := &fetching{since: -1}
	for _, f := range all {
		sum.need |= f.need
		sum.read, sum.flags, sum.modseq = sum.read || f.read, sum.flags || f.flags, sum.modseq || f.modseq
		for _, it := range f.items {
			if !slices.ContainsFunc(sum.items, func(o fetchItem) bool { return reflect.DeepEqual(o, it) }) {
				sum.items = append(sum.items, it)
			}
		}
	}
	return sum
}

// tellItems tells items of messages of the view; those that have gone since are
// left out.
func (v *view) tellItems(ctx context.Context, c *conn, f *fetching, uids []uint32) error {
	if f == nil {
		return nil
	}
	done := &fetched{uids: v.snapshot()}
	err := c.fetchPiece(ctx, f, uids, nil, done)
	if done.unread != nil {
		c.srv.Logger.Error("fetch new messages", "account", c.name, "trace", string(c.trace), "err", done.unread)
	}
	return err
}
