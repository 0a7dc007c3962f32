// Package body ties the rows of table body to the blob store: a body lives as
// long as a message in a mailbox or in the queue refers to it.
package body

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Store keeps bodies with their reference counts.
type Store struct {
	DB    *db.DB
	Blobs *blob.Disk
}

// Create begins a new body. Commit it, then give what Commit gave to Add.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) { return s.Blobs.Create(ctx) }

// Add records a stored body with its first references and gives its id.
func (s *Store) Add(tx *db.Tx, b blob.Stored, refs int) (int64, error) {
	id, err := tx.Insert(`INSERT INTO body (ref, size, refs, created) VALUES (?, ?, ?, ?) RETURNING id`,
		string(b.Ref), b.Size, refs, time.Now().UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("add body: %w", err)
	}
	return id, nil
}

// Retain adds n references to body id; a negative n takes them away. A body
// without references is deleted by the next Collect.
func (s *Store) Retain(tx *db.Tx, id int64, n int) error {
	if _, err := tx.Exec(`UPDATE body SET refs = refs + ? WHERE id = ?`, n, id); err != nil {
		return fmt.Errorf("count references of body %d: %w", id, err)
	}
	return nil
}

// Open opens body id for reading.
func (s *Store) Open(ctx context.Context, id int64) (blob.Reader, error) {
	var ref string
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT ref FROM body WHERE id = ?`, id).Scan(&ref)
	})
	if err != nil {
		return nil, fmt.Errorf("open body %d: %w", id, err)
	}
	return s.Blobs.Open(ctx, blob.Ref(ref))
}
