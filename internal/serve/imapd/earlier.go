package imapd

import (
	"context"
	"slices"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// tellEarlier tells which UIDs of f's set are gone since f.since (RFC 7162
// section 3.2.6). Those that the client still counts are told with the other
// news.
func (c *conn) tellEarlier(ctx context.Context, f *fetching) error {
	id := c.sel.folder.ID
	gone, complete, err := c.srv.Mailboxes.Expunged(ctx, id, f.since)
	if err != nil {
		return err
	}
	now, err := c.srv.Mailboxes.Status(ctx, id)
	if err != nil {
		return err
	}
	view := c.sel.snapshot()
	var told []wire.Range
	for _, r := range f.set.Normal(max(now.UIDNext, 2) - 1) {
		r.Last = min(r.Last, max(now.UIDNext, 1)-1)
		if complete {
			told = appendGone(told, r, gone, view)
		} else {
			told = appendGaps(told, r, view)
		}
	}
	if len(told) == 0 {
		return nil
	}
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* VANISHED (EARLIER) ")
		for i, r := range told {
			if i > 0 {
				e.Raw(",")
			}
			e.Number(int64(r.First))
			if r.Last > r.First {
				e.Rawf(":%d", r.Last)
			}
		}
		return nil
	})
}

// appendGone adds the UIDs of gone that lie in r and not in view.
func appendGone(to []wire.Range, r wire.Range, gone, view []uint32) []wire.Range {
	from, _ := slices.BinarySearch(gone, r.First)
	for _, u := range gone[from:] {
		if u > r.Last {
			break
		}
		if seq(view, u) != 0 {
			continue
		}
		if n := len(to); n > 0 && to[n-1].Last+1 == u {
			to[n-1].Last = u
			continue
		}
		to = append(to, wire.Range{First: u, Last: u})
	}
	return to
}

// appendGaps adds all of r that is not in view.
func appendGaps(to []wire.Range, r wire.Range, view []uint32) []wire.Range {
	from, _ := slices.BinarySearch(view, r.First)
	for _, u := range view[from:] {
		if u > r.Last {
			break
		}
		if u > r.First {
			to = append(to, wire.Range{First: r.First, Last: u - 1})
		}
		r.First = u + 1
	}
	if r.First <= r.Last {
		to = append(to, r)
	}
	return to
}
