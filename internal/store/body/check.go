package body

import (
	"context"
	"fmt"
	"io"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Problem is something that Check found wrong.
type Problem struct {
	Body int64
	Ref  blob.Ref
	What string
}

func (p Problem) String() string { return fmt.Sprintf("body %d (%s): %s", p.Body, p.Ref, p.What) }

// checked is a row with what the other tables say of it.
type checked struct {
	id, size, refs, found int64
	ref                   string
}

// Check reads every body and calls fn for each that cannot be read as it was
// stored, has another size than its row says, or another number of references
// than there are messages and queue entries. It may run beside everything
// else: what looks wrong is looked at twice. It ends at fn's first error.
func (s *Store) Check(ctx context.Context, fn func(Problem) error) error {
	for last := int64(0); ; {
		rows, err := s.checkRows(ctx, `body.id > ?`, last)
		if err != nil {
			return fmt.Errorf("check bodies: %w", err)
		}
		for _, c := range rows {
			last = c.id
			if _, wrong := s.check(ctx, c); !wrong {
				continue
			}
			again, err := s.checkRows(ctx, `body.id = ?`, c.id)
			if err != nil {
				return fmt.Errorf("check bodies: %w", err)
			}
			if len(again) == 0 {
				continue // deleted meanwhile
			}
			p, wrong := s.check(ctx, again[0])
			if !wrong {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(p); err != nil {
				return err
			}
		}
		if len(rows) < piece {
			return ctx.Err()
		}
	}
}

func (s *Store) checkRows(ctx context.Context, where string, id int64) (rows []checked, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		rows = nil
		return tx.Each(`SELECT id, ref, size, refs,
				(SELECT count(*) FROM message WHERE message.body = body.id) +
				(SELECT count(*) FROM queue_message WHERE queue_message.body = body.id)
			FROM body WHERE `+where+` ORDER BY id LIMIT ?`, []any{id, piece}, func(scan func(...any) error) error {
			var c checked
			err := scan(&c.id, &c.ref, &c.size, &c.refs, &c.found)
			rows = append(rows, c)
			return err
		})
	})
	return rows, err
}

func (s *Store) check(ctx context.Context, c checked) (p Problem, wrong bool) {
	p = Problem{Body: c.id, Ref: blob.Ref(c.ref)}
	if c.refs != c.found {
		p.What = fmt.Sprintf("says %d references, has %d", c.refs, c.found)
		return p, true
	}
	r, err := s.Blobs.Open(ctx, p.Ref)
	if err != nil {
		p.What = err.Error()
		return p, true
	}
	defer r.Close()
	if r.Size() != c.size {
		p.What = fmt.Sprintf("says %d octets, has %d", c.size, r.Size())
		return p, true
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{r}); err != nil {
		p.What = err.Error()
		return p, true
	}
	return p, false
}

// Repair sets the reference count of body id to the number of its messages and
// queue entries.
func (s *Store) Repair(ctx context.Context, id int64) error {
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE body SET refs =
			(SELECT count(*) FROM message WHERE message.body = body.id) +
			(SELECT count(*) FROM queue_message WHERE queue_message.body = body.id)
			WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("repair body %d: %w", id, err)
	}
	return nil
}
