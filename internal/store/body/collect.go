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

	moveMargin = 32 << 10 // octets to be free beyond what is moved: headers, the file system
)

const (
	defaultGrace = time.Minute
	shortGrace   = 10 * time.Second // while room is short
)

// Collected tells what a Collect did.
type Collected struct {
	Bodies   int   // rows deleted
	Files    int   // file bodies removed
	Segments int   // segments removed
	Moved    int   // bodies moved to another segment
	Octets   int64 // of the files removed, less those moved
	More     bool  // there is more to do: call again soon
}

// Collect deletes bodies without references and gives their room back. What it
// does in one call is bounded; call it every minute or so. It may run beside
// everything else, in several processes, too. What cannot be collected for an
// error does not hinder the rest; all such errors are in the one returned.
func (s *Store) Collect(ctx context.Context) (Collected, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c Collected
	s.short = s.Short()
	err := s.deleteRows(ctx, &c)
	if c.More {
		return c, err // what is moved now might be dead a moment later
	}
	err = errors.Join(err, s.collectFiles(ctx, &c))
	if s.short {
		err = errors.Join(err, s.sealDead(ctx))
	}
	return c, errors.Join(err, s.collectSegments(ctx, &c))
}

// Short tells that new mail is refused for want of room, or soon will be.
func (s *Store) Short() bool { return s.Blobs.Room()/2 < s.Blobs.Reserve }

func (s *Store) grace() time.Duration {
	grace := s.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	if s.short {
		grace = min(grace, shortGrace)
	}
	return grace
}

// sealDead seals the segment that is being written when it has more dead
// octets than live ones.
func (s *Store) sealDead(ctx context.Context) error {
	seg, ok := s.Blobs.Active()
	if !ok {
		return nil
	}
	from, to := span(blob.SegmentPrefix(seg.Name))
	_, octets, err := s.live(ctx, from, to)
	if err != nil || octets >= seg.Size/2 {
		return err
	}
	return s.Blobs.Seal(ctx)
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
			s.file = f
		}
		from, to := span(blob.FilePrefix(f)) // its size, and so its ref, may not be final yet
		rows, _, err := s.live(ctx, from, to)
		if err != nil {
			return fmt.Errorf("collect files: %w", err)
		}
		if rows > 0 || s.Blobs.BeingWritten(f) {
			continue
		}
		gone, err := s.drop(ctx, from, to, func() error { return s.Blobs.RemoveFile(f) })
		if err != nil {
			return fmt.Errorf("collect files: %w", err)
		}
		if gone {
			c.Files++
		}
	}
	return nil
}

// drop calls remove in a transaction in which no row names a ref in
// [from, to), and tells whether it did.
func (s *Store) drop(ctx context.Context, from, to string, remove func() error) (done bool, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		done = false
		// PostgreSQL lets others insert meanwhile unless it is told not to;
		// on SQLite there is one writer anyway.
		if lock := tx.Pick("", `LOCK TABLE body IN SHARE ROW EXCLUSIVE MODE`); lock != "" {
			if _, err := tx.Exec(lock); err != nil {
				return err
			}
		}
		var n int64
		if err := tx.Row(`SELECT count(*) FROM body WHERE ref >= ? AND ref < ?`, from, to).Scan(&n); err != nil || n > 0 {
			return err
		}
		done = true
		return remove()
	})
	return done && err == nil, err
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
			c.More = s.short
		}
		if err := s.collectSegment(ctx, seg, c); err != nil {
			errs = append(errs, fmt.Errorf("collect segment %s: %w", seg.Name, err))
		}
	}
	return errors.Join(errs...)
}

// span gives the bounds of the refs with a prefix that ends in a full stop: the
// next character is a slash.
func span(prefix string) (from, to string) { return prefix, prefix[:len(prefix)-1] + "/" }

// live counts the bodies whose refs lie in [from, to).
func (s *Store) live(ctx context.Context, from, to string) (rows, octets int64, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT) FROM body WHERE ref >= ? AND ref < ?`,
			from, to).Scan(&rows, &octets)
	})
	return rows, octets, err
}

func (s *Store) collectSegment(ctx context.Context, seg blob.Segment, c *Collected) error {
	if active, ok := s.Blobs.Active(); ok && active.Name == seg.Name {
		return nil // its bodies would be moved to where they are
	}
	from, to := span(blob.SegmentPrefix(seg.Name))
	rows, octets, err := s.live(ctx, from, to)
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
		c.Octets -= octets
	}
	gone, err := s.drop(ctx, from, to, func() error { return s.Blobs.RemoveSegment(seg.Name) })
	if err != nil || !gone {
		return err
	}
	c.Segments++
	c.Octets += seg.Size
	return nil
}

type located struct {
	id   int64
	ref  string
	size int64
}

// rewrite moves all bodies whose refs lie in [from, to). A damaged body stays
// where it is and stops it.
func (s *Store) rewrite(ctx context.Context, from, to string, c *Collected) error {
	for {
		var list []located
		err := s.DB.Read(ctx, func(tx *db.Tx) error {
			list = nil
			return tx.Each(`SELECT id, ref, size FROM body WHERE ref >= ? AND ref < ? ORDER BY ref LIMIT ?`,
				[]any{from, to, piece}, func(scan func(...any) error) error {
					var l located
					err := scan(&l.id, &l.ref, &l.size)
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

// move stores bodies again and tells their rows. It does not begin what will
// not fit: copies that no row names would fill what is left of the disk.
func (s *Store) move(ctx context.Context, list []located, c *Collected) error {
	var need int64
	for _, l := range list {
		need += l.size
	}
	if s.Blobs.RoomNow() < need+moveMargin {
		return fmt.Errorf("move bodies: %w", blob.ErrFull)
	}
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
			if err == nil {
				err = s.Blobs.Has(moved[i].Ref) // as in Add
			}
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
