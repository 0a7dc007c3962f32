package imapd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/order"
	"github.com/migiwa/migiwa/internal/serve/imapd/search"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// searchCommands are SEARCH, SORT, THREAD.
var searchCommands = map[string]command{
	"SEARCH":     {selected, func(c *conn, d *wire.Decoder) task { return c.parseSearch(d, false) }},
	"UID SEARCH": {selected, func(c *conn, d *wire.Decoder) task { return c.parseSearch(d, true) }},
	"SORT":       {selected, func(c *conn, d *wire.Decoder) task { return c.parseSort(d, false) }},
	"UID SORT":   {selected, func(c *conn, d *wire.Decoder) task { return c.parseSort(d, true) }},
	"THREAD":     {selected, func(c *conn, d *wire.Decoder) task { return c.parseThread(d, false) }},
	"UID THREAD": {selected, func(c *conn, d *wire.Decoder) task { return c.parseThread(d, true) }},

	"CANCELUPDATE": {selected, (*conn).parseCancelUpdate},
}

// maxSearch is how long a search may take.
const maxSearch = 10 * time.Minute

// seeking is a SEARCH, SORT or THREAD as it was read.
type seeking struct {
	tag     string
	byUID   bool
	returns returns
	program *search.Program
	sort    []order.Criterion // nil: SEARCH
}

// task makes a task of a seeking. What keeps its result for "$", or turns
// CONDSTORE on, changes the session.
func (q *seeking) task(run func(context.Context) error) task {
	t := task{shared: !q.returns.save && !q.returns.update && !q.program.ModSeq, sync: syncNoExpunge}
	if q.byUID {
		t.sync = syncAll
	}
	t.run = func(ctx context.Context) (string, error) { return "", run(ctx) }
	return t
}

func (c *conn) parseSearch(d *wire.Decoder, byUID bool) task {
	q := &seeking{tag: c.tag, byUID: byUID}
	d.SP()
	first := search.First(d)
	if first == "RETURN" {
		d.SP()
		q.returns = parseReturns(d)
		d.SP()
		first = search.First(d)
	}
	q.program = search.Parse(d, first)
	d.End()
	return q.task(func(ctx context.Context) error { return c.answerSearch(ctx, q) })
}

// parseSort reads SORT (RFC 5256) with the result options of ESORT (RFC 5267).
func (c *conn) parseSort(d *wire.Decoder, byUID bool) task {
	q := &seeking{tag: c.tag, byUID: byUID}
	d.SP()
	if d.Peek() != '(' {
		if d.Word() != "RETURN" {
			d.Fail("Expected RETURN or sort criteria")
		}
		d.SP()
		q.returns = parseReturns(d)
		d.SP()
	}
	d.List(func() {
		name, reverse := d.Word(), false
		if name == "REVERSE" {
			d.SP()
			name, reverse = d.Word(), true
		}
		k, ok := order.KeyNamed(name)
		if !ok || len(q.sort) >= maxCriteria {
			d.Fail("Unknown sort criterion, or too many")
		}
		q.sort = append(q.sort, order.Criterion{Key: k, Reverse: reverse})
	})
	if len(q.sort) == 0 {
		d.Fail("Expected a sort criterion")
	}
	d.SP()
	q.program = search.ParseIn(d)
	d.End()
	return q.task(func(ctx context.Context) error { return c.answerSearch(ctx, q) })
}

// maxCriteria is twice what there are.
const maxCriteria = 18

func (c *conn) parseThread(d *wire.Decoder, byUID bool) task {
	q := &seeking{tag: c.tag, byUID: byUID}
	d.SP()
	algorithm := d.Word()
	if algorithm != "REFERENCES" && algorithm != "ORDEREDSUBJECT" {
		d.Fail("Unknown thread algorithm")
	}
	d.SP()
	q.program = search.ParseIn(d)
	d.End()
	return q.task(func(ctx context.Context) error { return c.answerThread(ctx, q, algorithm == "REFERENCES") })
}

// hit is a message that was found.
type hit struct {
	number, uid uint32
	modseq      int64
}

// name gives the number by which the client knows a message.
func (q *seeking) name(h hit) uint32 {
	if q.byUID {
		return h.uid
	}
	return h.number
}

// answerSearch carries out SEARCH and SORT.
func (c *conn) answerSearch(ctx context.Context, q *seeking) error {
	hits, err := c.seek(ctx, q, nil)
	if q.returns.save {
		if err != nil {
			hits = nil
		}
		c.sel.save(q.returns.kept(hits)) // empty when it fails (RFC 5182 section 2.1)
	}
	if err != nil {
		return err
	}
	if q.returns.update {
		defer c.keepLive(q, hits)
	}
	if q.returns.silent() {
		return nil
	}
	extended := q.returns.given || c.enabled.rev2 && q.sort == nil
	return c.respond(func(e *wire.Encoder) error {
		switch {
		case extended:
			q.writeExtended(e, hits)
		case q.sort != nil:
			q.writeList(e, "* SORT", hits)
		default:
			q.writeList(e, "* SEARCH", hits)
		}
		return nil
	})
}

// seek gives the messages that fit, in the order that was asked for. Where only
// is not nil a search, not a sort, looks at no others.
func (c *conn) seek(ctx context.Context, q *seeking, only []uint32) ([]hit, error) {
	want := search.WantNumber
	switch {
	case order.NeedsOutline(q.sort):
		want = search.WantOutline
	case q.sort != nil || q.program.ModSeq:
		want = search.WantMessage
	}
	var hits []hit
	sorter := order.NewSorter(q.sort)
	err := c.each(ctx, q, only, want, func(f search.Found) error {
		if q.sort != nil {
			sorter.Add(order.Message{Number: f.Number, Arrival: f.Received, Size: f.Size, Outline: f.Outline})
		}
		hits = append(hits, hit{f.Number, f.UID, f.ModSeq})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.number, b.number) })
	if q.sort == nil {
		return hits, nil
	}
	sorted := make([]hit, 0, len(hits))
	for _, n := range sorter.Numbers() {
		i, _ := slices.BinarySearchFunc(hits, n, func(h hit, n uint32) int { return cmp.Compare(h.number, n) })
		sorted = append(sorted, hits[i])
	}
	return sorted, nil
}

// each runs a program over the selected mailbox.
func (c *conn) each(ctx context.Context, q *seeking, only []uint32, want search.Want, found func(search.Found) error) error {
	p, v := q.program, c.sel
	switch {
	case p.BadCharset:
		return no("BADCHARSET ("+search.Charsets+")", "Charset is not known")
	case p.CharsetGiven && c.enabled.utf8:
		return bad("No CHARSET after ENABLE UTF8=ACCEPT") // RFC 6855 section 3
	case p.Numbers && c.enabled.uidOnly:
		return errUIDRequired
	}
	box := search.Mailbox{Store: c.srv.Mailboxes, Folder: v.folder.ID, UIDs: v.snapshot(), Index: c.srv.Fulltext, EmailID: emailID}
	if !c.enabled.rev2 {
		box.Recent = v.isRecent
	}
	if q.sort == nil {
		box.Only = only
	}
	if p.Saved {
		box.Saved, _ = v.resolve(wire.Set{Saved: true}, true)
	}
	if p.ModSeq {
		c.useCondstore()
	}
	limited, cancel := context.WithTimeout(ctx, maxSearch)
	defer cancel()
	err := p.Run(limited, box, want, found)
	switch {
	case errors.Is(err, search.ErrUnreadable):
		c.srv.Logger.Error("search", "account", c.name, "trace", string(c.trace), "err", err)
		return nil
	case err != nil && limited.Err() != nil && ctx.Err() == nil:
		return no("LIMIT", "Search takes too long")
	}
	return err
}

// emailID writes the object identifier of a message (RFC 8474 section 5.1).
func emailID(m *mailbox.Message) string { return "M" + strconv.FormatInt(m.EmailID, 10) }

// save keeps the result of a search for "$".
func (v *view) save(uids []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.saved = uids
}

// answerThread carries out THREAD.
func (c *conn) answerThread(ctx context.Context, q *seeking, byReference bool) error {
	t := order.NewThreader(byReference)
	err := c.each(ctx, q, nil, search.WantOutline, func(f search.Found) error {
		t.Add(order.Message{Number: q.name(hit{number: f.Number, uid: f.UID}), Arrival: f.Received, Size: f.Size, Outline: f.Outline})
		return nil
	})
	if err != nil {
		return err
	}
	threads := t.Threads().Append(nil)
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* THREAD")
		if len(threads) > 0 {
			e.Raw(" " + string(threads))
		}
		return nil
	})
}
