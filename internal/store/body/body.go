// Package body ties the rows of table body to the blob store: a body lives as
// long as a message in a mailbox or in the queue refers to it.
//
// A body is written to the blob store first and gets its row in the transaction
// that puts the message into a mailbox or the queue. Just before that is
// committed the body is made durable, together with those of all transactions
// that share the commit. When the transaction does not come, nothing refers to
// the octets, and Collect takes them after Grace.
//
// # Collecting
//
// Collect takes the rows without references first, then the octets: what a
// crash leaves in between has no row and goes as above. A segment is removed
// when no row names it. One that is small or less than half in use is
// rewritten: its live bodies are stored again, each row is changed to the new
// place if it still says the old one, and the segment is removed when no row
// names it any more. A reader that has the old ref asks for it again.
//
// Whether a body is still needed is decided in a transaction, in which its file
// is removed, too. Add looks for the file after it has inserted the row. So
// either the row comes first and keeps the file, or Add finds the file gone and
// fails, and the sender hears that he must try again: no row ever names a file
// that was removed. Grace only makes that rare.
//
// # When room is short
//
// While less than twice the reserve of the blob store is left (Short), Collect
// does not wait for Grace but for a few seconds, and gives up the segment that
// is being written, too, when most of it is dead.
package body

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// ErrGone means that there is no body of this id.
var ErrGone = errors.New("no such body")

// Store keeps bodies with their reference counts.
type Store struct {
	DB    *db.DB
	Blobs *blob.Disk

	// Grace is how long after its last write a segment or file is left alone
	// for transactions that are still to come; 0: a minute.
	Grace time.Duration

	mu            sync.Mutex // one Collect at a time
	short         bool       // the room, in the Collect that runs
	segment, file string     // the last ones Collect looked at
}

// Create begins a new body. Commit it, then give what Commit gave to Add,
// within the time of Grace.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) { return s.Blobs.Create(ctx) }

// Add records a stored body with its first references and gives its id. The
// body is on disk when the transaction is. The error is one of blob.ErrNotFound
// when the body was collected meanwhile.
func (s *Store) Add(tx *db.Tx, b blob.Stored, refs int) (int64, error) {
	s.sync(tx, b.Ref)
	id, err := tx.Insert(`INSERT INTO body (ref, size, refs, created) VALUES (?, ?, ?, ?) RETURNING id`,
		string(b.Ref), b.Size, refs, time.Now().UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("add body: %w", err)
	}
	if err := s.Blobs.Has(b.Ref); err != nil { // only now: see the package comment
		return 0, fmt.Errorf("add body: %w", err)
	}
	return id, nil
}

// sync has the body of ref on disk before the transaction is.
func (s *Store) sync(tx *db.Tx, ref blob.Ref) {
	if segment, ok := blob.SegmentOf(ref); ok {
		tx.BeforeCommit(segment, func() error { return s.Blobs.Sync(segment) })
	}
}

// Retain adds n references to body id; a negative n takes them away. A body
// without references is deleted by the next Collect; one that is deleted
// cannot be retained: ErrGone.
func (s *Store) Retain(tx *db.Tx, id int64, n int) error {
	changed, err := tx.Exec(`UPDATE body SET refs = refs + ? WHERE id = ?`, n, id)
	if err == nil && changed == 0 {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("count references of body %d: %w", id, err)
	}
	return nil
}

// Open opens body id for reading. It gives ErrGone when there is no such body.
func (s *Store) Open(ctx context.Context, id int64) (blob.Reader, error) {
	r, err := s.open(ctx, id)
	if errors.Is(err, blob.ErrNotFound) { // moved after its ref was read
		r, err = s.open(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("open body %d: %w", id, err)
	}
	return r, nil
}

// OpenRef is Open for a caller that has read the row's ref. It asks the
// database only when the body is not there any more. near, unless nil, has what
// was opened before it.
func (s *Store) OpenRef(ctx context.Context, id int64, ref blob.Ref, near *blob.Near) (blob.Reader, error) {
	open := s.Blobs.Open
	if near != nil {
		open = near.Open
	}
	r, err := open(ctx, ref)
	if errors.Is(err, blob.ErrNotFound) { // moved
		return s.Open(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("open body %d: %w", id, err)
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, id int64) (blob.Reader, error) {
	var ref string
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT ref FROM body WHERE id = ?`, id).Scan(&ref)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	return s.Blobs.Open(ctx, blob.Ref(ref))
}
