package body

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// What one Collect does at most.
const (
	maxRows     = 2000 // rows deleted
	maxFiles    = 1000 // files looked at
	maxSegments = 8    // segments looked at
	piece       = 200  // rows in one transaction
)

const defaultGrace = time.Hour

// Collected tells what a Collect did.
type Collected struct {
	Bodies   int   // rows deleted
	Files    int   // file bodies removed
	Segments int   // segments removed
	Moved    int   // bodies moved to another segment
	Octets   int64 // of the files removed, less those moved
	More     bool  // rows are waiting: call again soon
}

// Collect deletes bodies without references and gives their room back. What it
// does in one call is bounded; call it every minute or so. It may run beside
// everything else, in several processes, too. What cannot be collected for an
// error does not hinder the rest; all such errors are in the one returned.
func (s *Store) Collect(ctx context.Context) (Collected, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c Collected
	err := s.deleteRows(ctx, &c)
	return c, errors.Join(err, s.collectFiles(ctx, &c), s.collectSegments(ctx, &c))
}

func (s *Store) grace() time.Duration {
	if s.Grace == 0 {
		return defaultGrace
	}
	return s.Grace
}

// unused selects rows nothing refers to. The count alone is not trusted: a body
// that a message still names is left to Check.
const unused = `SELECT id, ref FROM body WHERE refs = 0
	AND NOT EXISTS (SELECT 1 FROM message WHERE message.body = body.id)
	AND NOT EXISTS (SELECT 1 FROM queue_message WHERE queue_message.body = body.id)
	ORDER BY id LIMIT ?`

// deleteRows deletes the rows without references and the files they named.
func (s *Store) deleteRows(ctx context.Context, c *Collected) error {
	for n := 0; n < maxRows; n += piece {
		var refs []blob.Ref
		var deleted int64
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			refs, deleted = nil, 0
			var ids []int64
			err := tx.Each(unused, []any{piece}, func(scan func(...any) error) error {
				var id int64
				var ref string
				err := scan(&id, &ref)
				ids, refs = append(ids, id), append(refs, blob.Ref(ref))
				return err
			})
			for _, id := range ids {
				if err != nil {
					return err
				}
				var n int64
				n, err = tx.Exec(`DELETE FROM body WHERE id = ? AND refs = 0`, id)
				deleted += n
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("delete unused bodies: %w", err)
		}
		c.Bodies += int(deleted)
		for _, ref := range refs {
			if _, ok := blob.SegmentOf(ref); ok {
				continue
			}
			used, err := s.named(ctx, ref)
			if err == nil && !used {
				err = s.Blobs.Remove(ref)
				c.Files++
			}
			if err != nil {
				return err
			}
		}
		if len(refs) < piece {
			return nil
		}
	}
	c.More = true
	return nil
}

// named tells whether a row names ref.
func (s *Store) named(ctx context.Context, ref blob.Ref) (bool, error) {
	var n int64
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*) FROM body WHERE ref = ?`, string(ref)).Scan(&n)
	})
	return n > 0, err
}

// collectFiles removes the file bodies that never got a row. It goes on with
// those after the ones of the last call.
func (s *Store) collectFiles(ctx context.Context, c *Collected) error {
	list, err := s.Blobs.Files(s.grace(), s.file, maxFiles)
	if err != nil {
		return err
	}
	s.file = ""
	for i, f := range list {
		if i == maxFiles-1 {
			s.file = f.Name
		}
		used, err := s.named(ctx, f.Ref)
		if err != nil {
			return fmt.Errorf("collect files: %w", err)
		}
		if used {
			continue
		}
		if err := s.Blobs.Remove(f.Ref); err != nil {
			return err
		}
		c.Files++
	}
	return nil
}

// collectSegments goes on with the segments after those of the last call.
func (s *Store) collectSegments(ctx context.Context, c *Collected) error {
	list, err := s.Blobs.Segments(s.grace(), s.segment, maxSegments)
	if err != nil {
		return err
	}
	s.segment = ""
	var errs []error
	for i, seg := range list {
		if i == maxSegments-1 {
			s.segment = seg.Name
		}
		if err := s.collectSegment(ctx, seg, c); err != nil {
			errs = append(errs, fmt.Errorf("collect segment %s: %w", seg.Name, err))
		}
	}
	return errors.Join(errs...)
}

// span gives the bounds of the refs of a segment: they begin with a prefix that
// ends in a full stop, and the next character is a slash.
func span(segment string) (from, to string) {
	from = blob.SegmentPrefix(segment)
	return from, from[:len(from)-1] + "/"
}

func (s *Store) collectSegment(ctx context.Context, seg blob.Segment, c *Collected) error {
	from, to := span(seg.Name)
	live := func() (rows, octets int64, err error) {
		err = s.DB.Read(ctx, func(tx *db.Tx) error {
			return tx.Row(`SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT) FROM body WHERE ref >= ? AND ref < ?`,
				from, to).Scan(&rows, &octets)
		})
		return rows, octets, err
	}
	rows, octets, err := live()
	if err != nil {
		return err
	}
	small := s.Blobs.SegmentSize / 16
	if rows > 0 && octets >= seg.Size/2 && seg.Size >= small {
		return nil
	}
	if rows > 0 {
		if err := s.rewrite(ctx, from, to, c); err != nil {
			return err
		}
		if rows, _, err = live(); err != nil || rows > 0 {
			return err
		}
		c.Octets -= octets
	}
	if err := s.Blobs.RemoveSegment(seg.Name); err != nil {
		return err
	}
	c.Segments++
	c.Octets += seg.Size
	return nil
}

type located struct {
	id  int64
	ref string
}

// rewrite moves all bodies whose refs lie in [from, to). A damaged body stays
// where it is and stops it.
func (s *Store) rewrite(ctx context.Context, from, to string, c *Collected) error {
	for {
		var list []located
		err := s.DB.Read(ctx, func(tx *db.Tx) error {
			list = nil
			return tx.Each(`SELECT id, ref FROM body WHERE ref >= ? AND ref < ? ORDER BY ref LIMIT ?`,
				[]any{from, to, piece}, func(scan func(...any) error) error {
					var l located
					err := scan(&l.id, &l.ref)
					list = append(list, l)
					return err
				})
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if err := s.move(ctx, list, c); err != nil {
			return err
		}
	}
}

// move stores bodies again and tells their rows.
func (s *Store) move(ctx context.Context, list []located, c *Collected) error {
	moved := make([]blob.Stored, len(list))
	for i, l := range list {
		var err error
		if moved[i], err = s.copy(ctx, blob.Ref(l.ref)); err != nil {
			return err
		}
	}
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		for i, l := range list {
			s.sync(tx, moved[i].Ref)
			_, err := tx.Exec(`UPDATE body SET ref = ? WHERE id = ? AND ref = ?`, string(moved[i].Ref), l.id, l.ref)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("move bodies: %w", err)
	}
	c.Moved += len(list)
	return nil
}

// copy stores a body once more. Reading verifies it.
func (s *Store) copy(ctx context.Context, ref blob.Ref) (blob.Stored, error) {
	r, err := s.Blobs.Open(ctx, ref)
	if err != nil {
		return blob.Stored{}, err
	}
	defer r.Close()
	w, err := s.Blobs.CreateReserved(ctx)
	if err != nil {
		return blob.Stored{}, err
	}
	defer w.Abort()
	if _, err := io.Copy(w, struct{ io.Reader }{r}); err != nil {
		return blob.Stored{}, err
	}
	return w.Commit(ctx)
}
