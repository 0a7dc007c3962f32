package fulltext

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
)

// version is that of the format and of Normal. An index of another version is
// built anew.
const version = 1

// Index finds texts in folders. Its exported fields are set before its first
// use; its methods may be called from many goroutines.
type Index struct {
	DB        *db.DB
	Mailboxes *mailbox.Store
	Logger    *slog.Logger // nil: nothing is logged

	mu      sync.Mutex
	busy    map[source]chan struct{} // what is being taken in; closed at the end
	slots   chan struct{}            // for taking in; nil before the first
	tending sync.Mutex

	tokens int // of a segment when it is made; 0: maxTokens
}

// field of messages.
type field int

const (
	inBody field = iota
	inHeader
)

// source is what is searched: a field of the messages of a folder. Each has an
// index of its own, made when it is first searched.
type source struct {
	folder int64
	field  field
}

func (s source) String() string {
	return fmt.Sprintf("%s of folder %d", [...]string{inBody: "bodies", inHeader: "headers"}[s.field], s.folder)
}

// state of a segment.
type state int

const (
	building state = iota
	live
	dead
)

// segment is what is known of a segment without reading it.
type segment struct {
	id          int64
	first, last uint32 // UIDs of its messages
	docs        int64
	blocks      int64
	size        int64 // octets
}

// errConflict means that somebody else did the same, or dropped the index,
// meanwhile.
var errConflict = errors.New("full-text index was changed by somebody else")

func (x *Index) log() *slog.Logger {
	if x.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return x.Logger
}

// mark gives the UID up to which the messages are in the index.
func (x *Index) mark(ctx context.Context, src source) (uid uint32, err error) {
	var v int64
	err = x.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT uid, version FROM fulltext_folder WHERE mailbox = ? AND field = ?`, src.folder, int64(src.field)).Scan(&uid, &v)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && v != version {
		err = x.drop(ctx, src)
		uid = 0
	}
	return uid, err
}

// drop makes the index an empty one of this version.
func (x *Index) drop(ctx context.Context, src source) error {
	return x.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO fulltext_folder (mailbox, field, version, uid) VALUES (?, ?, ?, 0)
			ON CONFLICT (mailbox, field) DO UPDATE SET version = excluded.version, uid = 0`, src.folder, int64(src.field), version)
		if err == nil {
			_, err = tx.Exec(`UPDATE fulltext_segment SET state = ? WHERE mailbox = ? AND field = ?`, int64(dead), src.folder, int64(src.field))
		}
		return err
	})
}

// segments gives the segments that are in use, in the order of their UIDs, and
// the UID up to which they know all messages.
func segments(tx *db.Tx, src source) (list []segment, upto uint32, err error) {
	var v int64
	err = tx.Row(`SELECT uid, version FROM fulltext_folder WHERE mailbox = ? AND field = ?`, src.folder, int64(src.field)).Scan(&upto, &v)
	if errors.Is(err, sql.ErrNoRows) || err == nil && v != version {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	err = tx.Each(`SELECT id, first, last, docs, blocks, size FROM fulltext_segment WHERE mailbox = ? AND field = ? AND state = ? ORDER BY first`,
		[]any{src.folder, int64(src.field), int64(live)}, func(scan func(...any) error) error {
			var s segment
			err := scan(&s.id, &s.first, &s.last, &s.docs, &s.blocks, &s.size)
			list = append(list, s)
			return err
		})
	return list, upto, err
}

// pieceSize is how many octets are written in one transaction: deliveries
// share the writer and wait behind it.
const pieceSize = 256 << 10

// output writes a segment.
type output struct {
	index *Index
	source
	seg   segment
	begun bool // there is a row of it
	block block
	rows  []row
	size  int // of rows, octets
}

type row struct {
	kind  kind
	block int64
	data  []byte
}

// add adds the next word.
func (o *output) add(ctx context.Context, word string, list *postings) error {
	if !o.block.add(word, list) {
		return nil
	}
	o.close()
	if o.size < pieceSize {
		return nil
	}
	err := o.index.DB.Write(ctx, o.write)
	o.rows, o.size, o.begun = nil, 0, true
	return err
}

// close ends the block that is being filled.
func (o *output) close() {
	if len(o.block[words]) == 0 {
		return
	}
	for k, data := range o.block {
		data = seal(data)
		o.rows = append(o.rows, row{kind(k), o.seg.blocks, data})
		o.size += len(data)
		o.seg.size += int64(len(data))
	}
	o.seg.blocks++
	o.block = block{}
}

// write writes what is in memory, and first the row of the segment.
func (o *output) write(tx *db.Tx) (err error) {
	if !o.begun {
		o.seg.id, err = tx.Insert(`INSERT INTO fulltext_segment (mailbox, field, state, first, last, docs, blocks, size, created)
			VALUES (?, ?, ?, 0, 0, 0, 0, 0, ?) RETURNING id`, o.folder, int64(o.field), int64(building), time.Now().UnixMilli())
	}
	for _, r := range o.rows {
		if err == nil {
			_, err = tx.Exec(`INSERT INTO fulltext_block (segment, kind, block, data) VALUES (?, ?, ?, ?)`,
				o.seg.id, int64(r.kind), r.block, r.data)
		}
	}
	return err
}

// finish writes the rest and puts the segment into use in the transaction in
// which also does its part. On failure the segment is given up: Tend deletes
// what there is of it.
func (o *output) finish(ctx context.Context, also func(*db.Tx) error) error {
	o.close()
	err := o.index.DB.Write(ctx, func(tx *db.Tx) error {
		if err := o.write(tx); err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE fulltext_segment SET state = ?, first = ?, last = ?, docs = ?, blocks = ?, size = ?
			WHERE id = ? AND state = ?`, int64(live), int64(o.seg.first), int64(o.seg.last), o.seg.docs,
			o.seg.blocks, o.seg.size, o.seg.id, int64(building))
		if err == nil && n == 0 {
			err = errConflict
		}
		if err != nil {
			return err
		}
		return also(tx)
	})
	if err != nil && o.begun {
		o.abandon()
	}
	return err
}

// abandon has what was written of the segment deleted soon. Where that cannot
// be said, Tend finds it by its age.
func (o *output) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := o.index.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE fulltext_segment SET state = ? WHERE id = ? AND state = ?`, int64(dead), o.seg.id, int64(building))
		return err
	})
	if err != nil {
		o.index.log().Warn("giving up a piece of a full-text index", "of", o.source.String(), "err", err)
	}
}
