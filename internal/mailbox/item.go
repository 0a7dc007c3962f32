package mailbox

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Need is what Items gives beside the Message, and what of that it leaves out:
// each column has its price where there are many messages.
type Need uint8

// Members of Need.
const (
	NeedOutline Need = 1 << iota // Outline
	NeedText                     // Prefix, and what OpenItem needs
	SkipFlags                    // not Flags and Keywords of the Message
	SkipRest                     // not Received, Saved, ModSeq, EmailID and Trace, nor Size and Body unless they are needed for the above
)

// Item is a message with what was asked for.
type Item struct {
	Message
	Outline *outline.Outline // of the body, without Prefix
	Prefix  []byte           // header fields in front of the body
	folder  int64
	ref     blob.Ref // of the body
	data    []byte   // the outline as it is kept
	near    *blob.Near
}

// itemOctets is how many octets of outlines and prefixes Items reads at once,
// and one more.
const itemOctets = 1 << 20

// errEnough ends the reading of a piece.
var errEnough = errors.New("enough")

// Items gives the messages of folder id with UIDs in set, in their order, as
// List does. Outlines that are not known yet are made and kept; one that cannot
// be kept is made again the next time. While the caller works with some
// messages, the next ones are read; at most some 500 are. An error that comes with a UID is of
// this message alone, whose body cannot be read: the caller may go on.
func (s *Store) Items(ctx context.Context, id int64, set []Range, need Need) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		pieces, stop, near := make(chan piece), make(chan struct{}), s.Bodies.Blobs.Near()
		go func() {
			defer close(pieces)
			s.readPieces(ctx, id, set, need, func(c piece) bool {
				select {
				case pieces <- c:
					return true
				case <-stop:
					return false
				}
			})
		}()
		defer func() {
			close(stop)
			for range pieces { // nothing is read any more when the caller goes on
			}
			near.Close()
		}()
		for c := range pieces {
			if c.err != nil {
				yield(Item{}, fmt.Errorf("list folder %d: %w", id, c.err))
				return
			}
			if !s.complete(ctx, c.items, need, near, yield) {
				return
			}
		}
	}
}

// piece is some messages of a span. more tells that there may be others.
type piece struct {
	items []Item
	more  bool
	err   error
}

// readPieces reads the messages of a set, or up to the first error.
func (s *Store) readPieces(ctx context.Context, id int64, set []Range, need Need, give func(piece) bool) {
	for p := range spans(set) {
		for more := true; more; {
			c := s.readPiece(ctx, id, p, need)
			if !give(c) || c.err != nil {
				return
			}
			if more = c.more; more {
				p, more = p.after(c.items[len(c.items)-1].UID)
			}
		}
	}
}

func (s *Store) readPiece(ctx context.Context, id int64, p span, need Need) (c piece) {
	c.err = s.DB.Read(ctx, func(tx *db.Tx) (err error) {
		c.items, c.more, err = readItems(tx, id, p, need)
		return err
	})
	return c
}

// readItems reads the first messages of a span. more tells that there may be
// others.
func readItems(tx *db.Tx, id int64, p span, need Need) (items []Item, more bool, err error) {
	row, from, octets := newItemColumns(need), ` FROM message`, 0
	if need&NeedText != 0 {
		from += ` JOIN body ON body.id = message.body`
	}
	if need&NeedOutline != 0 {
		from += ` LEFT JOIN outline ON outline.body = message.body`
	}
	where, args := p.where(tx)
	err = tx.Each(`SELECT `+row.names+from+` WHERE mailbox = ? AND `+where+` ORDER BY uid LIMIT ?`,
		append(append([]any{id}, args...), listChunk), func(scan func(...any) error) error {
			it, err := row.item(scan)
			it.folder = id
			items = append(items, it)
			if octets += len(row.prefix) + len(row.data); err == nil && octets > itemOctets {
				return errEnough
			}
			return err
		})
	if errors.Is(err, errEnough) {
		return items, true, nil
	}
	return items, len(items) == listChunk, err
}

// itemColumns takes the columns of readItems row by row.
type itemColumns struct {
	*columns
	prefix, ref, data sql.RawBytes
}

func newItemColumns(need Need) *itemColumns {
	c := &itemColumns{columns: newColumns(need)}
	switch {
	case need&NeedText != 0:
		c.add(`, prefix, ref`, &c.prefix, &c.ref)
	case need&NeedOutline != 0: // the place of a body whose outline is to be made
		c.add(`, CASE WHEN data IS NULL THEN (SELECT ref FROM body WHERE body.id = message.body) END`, &c.ref)
	}
	if need&NeedOutline != 0 {
		c.add(`, data`, &c.data)
	}
	return c
}

func (c *itemColumns) item(scan func(...any) error) (it Item, err error) {
	it.Message, err = c.message(scan)
	it.Prefix, it.ref, it.data = bytes.Clone(c.prefix), blob.Ref(c.ref), bytes.Clone(c.data)
	return it, err
}

// complete gives items to yield, with the outlines that are missing, and keeps
// those. It tells whether yield wants more.
func (s *Store) complete(ctx context.Context, items []Item, need Need, near *blob.Near, yield func(Item, error) bool) bool {
	var made []Item
	defer func() { s.keepOutlines(ctx, made) }()
	for _, it := range items {
		var err error
		if it.near = near; len(it.data) > 0 {
			// One that is damaged or of another version is as good as none.
			if o, err := outline.Decode(it.data); err == nil {
				it.Outline = o
			}
		}
		if need&NeedOutline != 0 && it.Outline == nil {
			it.Outline, err = s.makeOutline(ctx, &it)
			if errors.Is(err, ErrNoMessage) {
				continue
			}
			if err == nil {
				made = append(made, it)
			}
		}
		if !yield(it, err) {
			return false
		}
	}
	return true
}

func (s *Store) makeOutline(ctx context.Context, it *Item) (*outline.Outline, error) {
	b, err := s.openBody(ctx, it)
	if err != nil {
		return nil, fmt.Errorf("outline of message %d in folder %d: %w", it.UID, it.folder, err)
	}
	defer b.Close()
	o, err := outline.Read(b)
	if err != nil {
		return nil, fmt.Errorf("outline of message %d in folder %d: %w", it.UID, it.folder, err)
	}
	return o, nil
}

// What adds an outline to a body that is still there: on SQLite one, on
// PostgreSQL, where each statement is a round trip, many. Whoever is later,
// with the same outline or one of another version, wins.
const (
	addOutline  = `INSERT INTO outline (body, data) SELECT id, ? FROM body WHERE id = ?` + replaceOutline
	addOutlines = `INSERT INTO outline (body, data) SELECT id, new.data FROM body
		JOIN unnest(CAST(? AS BIGINT[]), CAST(? AS BYTEA[])) new (body, data) ON new.body = id ORDER BY id FOR KEY SHARE OF body` + replaceOutline
	replaceOutline = ` ON CONFLICT (body) DO UPDATE SET data = excluded.data`
)

// keepOutlines writes the outlines of items. That it fails does no harm: a
// store that takes no more can still be read.
func (s *Store) keepOutlines(ctx context.Context, items []Item) {
	if len(items) == 0 {
		return
	}
	// Copies of a message share a body.
	slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.Body, b.Body) })
	items = slices.CompactFunc(items, func(a, b Item) bool { return a.Body == b.Body })
	ids, data := make([]int64, len(items)), make([][]byte, len(items))
	for i, it := range items {
		ids[i], data[i] = it.Body, it.Outline.Append(nil)
	}
	s.DB.Write(ctx, func(tx *db.Tx) error { return writeOutlines(tx, ids, data) })
}

// writeOutlines takes ids in ascending order: on PostgreSQL others may be
// writing the same ones.
func writeOutlines(tx *db.Tx, ids []int64, data [][]byte) error {
	if tx.Pick("", addOutlines) != "" {
		_, err := tx.Exec(addOutlines, ids, data)
		return err
	}
	for i, id := range ids {
		if _, err := tx.Exec(addOutline, data[i], id); err != nil {
			return err
		}
	}
	return nil
}

// OpenItem opens the text of an item that was asked for with NeedText, or gives
// ErrNoMessage when it is gone. It asks the database only when the body was
// moved meanwhile.
func (s *Store) OpenItem(ctx context.Context, it *Item) (*Content, error) {
	if err := s.vet(ctx, it.folder, it.UID); err != nil {
		return nil, err
	}
	b, err := s.openBody(ctx, it)
	if err != nil {
		return nil, fmt.Errorf("open message %d of folder %d: %w", it.UID, it.folder, err)
	}
	return newContent(it.Prefix, b), nil
}

// openBody opens the body of an item.
func (s *Store) openBody(ctx context.Context, it *Item) (blob.Reader, error) {
	b, err := s.Bodies.OpenRef(ctx, it.Body, it.ref, it.near)
	if err == nil {
		return b, nil
	}
	if _, gone := s.Message(ctx, it.folder, it.UID); errors.Is(gone, ErrNoMessage) {
		return nil, ErrNoMessage // expunged since, and its body collected
	}
	return nil, err
}
