package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// DoubleBounce is a failure that nobody can be told of by itself.
type DoubleBounce struct {
	ID      int64
	Created time.Time
	Sender  string // of the mail that failed, wire form; empty: null sender
	Address string // whom it did not reach
	Reason  string
	Trace   mail.TraceID
}

// AddDoubleBounce records a failure for the postmaster's digest.
func (q *Queue) AddDoubleBounce(tx *db.Tx, b DoubleBounce) error {
	_, err := tx.Exec(`INSERT INTO double_bounce (created, sender, address, reason, trace) VALUES (?, ?, ?, ?, ?)`,
		b.Created.UnixMilli(), b.Sender, b.Address, clean(b.Reason), string(b.Trace))
	if err != nil {
		return fmt.Errorf("record double bounce: %w", err)
	}
	return nil
}

// DoubleBounces gives the oldest recorded failures, at most limit.
func (q *Queue) DoubleBounces(ctx context.Context, limit int) ([]DoubleBounce, error) {
	var out []DoubleBounce
	err := q.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Each(`SELECT id, created, sender, address, reason, trace FROM double_bounce ORDER BY id LIMIT ?`,
			[]any{limit}, func(scan func(...any) error) error {
				var b DoubleBounce
				var created int64
				var trace string
				if err := scan(&b.ID, &created, &b.Sender, &b.Address, &b.Reason, &trace); err != nil {
					return err
				}
				b.Created, b.Trace = time.UnixMilli(created), mail.TraceID(trace)
				out = append(out, b)
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("read double bounces: %w", err)
	}
	return out, nil
}

// DropDoubleBounces forgets the failures up to number last.
func (q *Queue) DropDoubleBounces(tx *db.Tx, last int64) error {
	if _, err := tx.Exec(`DELETE FROM double_bounce WHERE id <= ?`, last); err != nil {
		return fmt.Errorf("drop double bounces: %w", err)
	}
	return nil
}
