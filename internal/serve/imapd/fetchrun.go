package imapd

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// markEvery is how many messages are marked as \Seen at once, before their
// texts are told.
const markEvery = 50

// fetched is what has come of a FETCH so far.
type fetched struct {
	uids    []uint32 // the view, by sequence number
	found   int
	unread  error // why a message could not be read, the last
	unknown bool  // a transfer encoding that BINARY cannot undo
}

// fetch tells what was asked for, message by message.
func (c *conn) fetch(ctx context.Context, f *fetching) (string, error) {
	v := c.sel
	uids, err := c.chosen(f.target)
	if err != nil {
		return "", err
	}
	if f.modseq {
		c.useCondstore()
	}
	if f.vanished && !c.enabled.qresync {
		return "", bad("VANISHED needs ENABLE QRESYNC")
	}
	if f.since >= 0 {
		if uids, err = c.changedOf(ctx, f, uids); err != nil {
			return "", err
		}
	}
	marks := f.marks && v.writable(mailbox.KeepSeen) == nil
	done := &fetched{uids: v.snapshot()}
	size := max(len(uids), 1)
	if marks {
		size = markEvery
	}
	for piece := range slices.Chunk(uids, size) {
		var marked []uint32
		if marks {
			if marked, err = c.markSeen(ctx, piece); ctx.Err() != nil {
				return "", err
			} else if err != nil { // a store that takes no more can still be read
				marks = false
				c.srv.Logger.Warn("messages cannot be marked as read", "account", c.name, "trace", string(c.trace), "err", err)
			}
		}
		if err := c.fetchPiece(ctx, f, piece, marked, done); err != nil {
			return "", err
		}
	}
	switch {
	case done.unknown:
		return "", no("UNKNOWN-CTE", "A transfer encoding is unknown")
	case done.unread != nil:
		return "", done.unread
	case done.found < len(uids):
		return "[EXPUNGEISSUED] Some messages are gone", nil
	}
	return "", nil
}

// changedOf gives which of the UIDs have changed since f.since, and tells which
// messages are gone where that is asked for.
func (c *conn) changedOf(ctx context.Context, f *fetching, uids []uint32) ([]uint32, error) {
	if f.vanished {
		if err := c.tellVanished(ctx, f.since, f.set); err != nil {
			return nil, err
		}
	}
	return c.srv.Mailboxes.ChangedIn(ctx, c.sel.told().ID, mailbox.Ranges(uids), f.since)
}

// markSeen marks messages as read that are not, and gives them.
func (c *conn) markSeen(ctx context.Context, uids []uint32) (marked []uint32, err error) {
	id := c.sel.told().ID
	for it, err := range c.srv.Mailboxes.Items(ctx, id, mailbox.Ranges(uids), mailbox.SkipRest) {
		if err != nil {
			return nil, err
		}
		if it.Flags&mailbox.Seen == 0 {
			marked = append(marked, it.UID)
		}
	}
	if len(marked) == 0 {
		return nil, nil
	}
	res, err := c.srv.Mailboxes.StoreFlags(ctx, id, mailbox.Ranges(marked), mailbox.FlagChange{Op: mailbox.Add, Flags: mailbox.Seen, Unless: -1})
	if err != nil {
		return nil, err
	}
	c.sel.hush(res.Changed)
	return marked, nil
}

// fetchPiece tells messages of which those in marked have just become \Seen.
func (c *conn) fetchPiece(ctx context.Context, f *fetching, uids, marked []uint32, done *fetched) error {
	for it, err := range c.srv.Mailboxes.Items(ctx, c.sel.told().ID, mailbox.Ranges(uids), f.needs(len(marked) > 0)) {
		if err != nil && it.UID == 0 {
			return err
		}
		n := seq(done.uids, it.UID)
		if n == 0 {
			continue
		}
		if err != nil {
			done.found, done.unread = done.found+1, err
			continue
		}
		_, news := slices.BinarySearch(marked, it.UID)
		switch err := c.fetchOne(ctx, f, n, &it, news); {
		case errors.Is(err, mailbox.ErrNoMessage): // gone since
		case errors.Is(err, errUnknownCTE):
			done.found, done.unknown = done.found+1, true
		case errors.As(err, new(*broken)):
			return err
		case err != nil:
			done.found, done.unread = done.found+1, err
		default:
			done.found++
		}
	}
	return nil
}

// needs is what is asked of the store. With news, flags are told whether or not
// they were asked for.
func (f *fetching) needs(news bool) mailbox.Need {
	need := f.need
	if !news && !f.flags {
		need |= mailbox.SkipFlags
	}
	if !news && !f.read && !slices.ContainsFunc(f.items, func(it fetchItem) bool { return it.kind.rest() }) {
		need |= mailbox.SkipRest
	}
	return need
}

// rest tells whether an item comes from what mailbox.SkipRest leaves out.
func (k itemKind) rest() bool {
	switch k {
	case itemDate, itemSize, itemModSeq, itemEmailID, itemSaveDate:
		return true
	}
	return false
}

var errUnknownCTE = errors.New("unknown transfer encoding")

// response is one FETCH response.
type response struct {
	*fetching
	it       *mailbox.Item
	sections []*io.SectionReader // by item
	binaries []decoded           // by item
}

// fetchOne tells one message. Whatever can fail is done before the first octet
// is written; an error of reading behind that is one of the connection.
func (c *conn) fetchOne(ctx context.Context, f *fetching, n uint32, it *mailbox.Item, news bool) error {
	r := &response{fetching: f, it: it}
	if f.need&mailbox.NeedText != 0 {
		text, err := c.srv.Mailboxes.OpenItem(ctx, it)
		if err != nil {
			return err
		}
		m := &opened{it: it, text: text}
		defer m.close()
		if err := r.open(ctx, m); err != nil {
			return err
		}
		if f.read {
			c.handedOut(it)
		}
	}
	err := c.respond(func(e *wire.Encoder) error { return r.write(c, e, n, news) })
	if err != nil {
		return &broken{err}
	}
	return nil
}

// open finds the sections.
func (r *response) open(ctx context.Context, m *opened) error {
	r.sections, r.binaries = make([]*io.SectionReader, len(r.items)), make([]decoded, len(r.items))
	for i := range r.items {
		item := &r.items[i]
		switch item.kind {
		case itemSection:
			s, err := item.section.open(m)
			if err != nil {
				return err
			}
			r.sections[i] = s
		case itemBinary, itemBinarySize:
			b, known, err := item.section.decode(ctx, m)
			if err != nil {
				return err
			}
			if !known {
				return errUnknownCTE
			}
			r.binaries[i] = b
		}
	}
	return nil
}

// fetchHead begins a FETCH response, or UIDFETCH (RFC 9586 section 3.2).
func (c *conn) fetchHead(e *wire.Encoder, n, uid uint32) {
	if c.enabled.uidOnly {
		e.Raw("* ")
		e.Number(int64(uid))
		e.Raw(" UIDFETCH (")
		return
	}
	e.Raw("* ")
	e.Number(int64(n))
	e.Raw(" FETCH (")
}

// write writes the response. UID comes first and flags that have just changed
// behind it.
func (r *response) write(c *conn, e *wire.Encoder, n uint32, news bool) error {
	c.fetchHead(e, n, r.it.UID)
	first := true
	next := func() {
		if !first {
			e.Raw(" ")
		}
		first = false
	}
	pending := news
	tellNews := func() {
		if pending = false; !r.flags {
			next()
			e.Raw("FLAGS ")
			e.List(c.flagWords(r.it.Message))
		}
		if c.enabled.condstore && !r.modseq {
			next()
			e.Rawf("MODSEQ (%d)", r.it.ModSeq)
		}
	}
	for i := range r.items {
		kind := r.items[i].kind
		if kind == itemUID && c.enabled.uidOnly {
			continue
		}
		if pending && kind != itemUID {
			tellNews()
		}
		next()
		if err := r.item(c, e, i); err != nil {
			return err
		}
	}
	if pending {
		tellNews()
	}
	e.Raw(")")
	return nil
}

// item writes one item with its name.
func (r *response) item(c *conn, e *wire.Encoder, i int) error {
	it, item := r.it, &r.items[i]
	if item.kind >= itemSection {
		return r.section(e, i)
	}
	e.Raw(item.name)
	e.Raw(" ")
	switch item.kind {
	case itemFlags:
		e.List(c.flagWords(it.Message))
	case itemUID:
		e.Number(int64(it.UID))
	case itemDate:
		e.Raw(`"` + wire.FormatDateTime(it.Received) + `"`)
	case itemSize:
		e.Number(it.Size)
	case itemEnvelope:
		writeEnvelope(e, &it.Outline.Envelope)
	case itemBody, itemStructure:
		writeStructure(e, it.Outline.Root(), item.kind == itemStructure)
	case itemModSeq:
		e.Rawf("(%d)", it.ModSeq)
	case itemEmailID:
		e.Rawf("(M%d)", it.EmailID)
	case itemThreadID:
		e.Raw("NIL")
	case itemSaveDate:
		e.Raw(`"` + wire.FormatDateTime(it.Saved) + `"`)
	case itemPreview:
		e.String(it.Outline.Preview)
	}
	return nil
}

// section writes a section or what BINARY makes of it.
func (r *response) section(e *wire.Encoder, i int) error {
	item := &r.items[i]
	e.Raw(item.name)
	if item.name[0] == 'B' { // the names from RFC822 have none
		e.Raw("[")
		item.section.write(e)
		e.Raw("]")
	}
	if item.partial.given {
		e.Rawf("<%d>", item.partial.offset)
	}
	e.Raw(" ")
	switch item.kind {
	case itemSection:
		offset, size := item.partial.of(r.sections[i].Size())
		return e.Literal(size, noNUL{io.NewSectionReader(r.sections[i], offset, size)})
	case itemBinarySize:
		e.Number(r.binaries[i].size)
		return nil
	}
	b := &r.binaries[i]
	offset, size := item.partial.of(b.size)
	from := b.from()
	if _, err := io.CopyN(io.Discard, from, offset); err != nil {
		return err
	}
	if b.nul {
		return e.Literal8(size, from)
	}
	return e.Literal(size, from)
}
