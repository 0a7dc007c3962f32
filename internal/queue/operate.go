package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Selection names recipients for an operator's action. The fields narrow it
// one by one; the zero Selection is everything.
type Selection struct {
	Message int64  // queue number
	Address string // a recipient, in wire form
	Domain  string // of recipients, in the form of their addresses
	Route   string // next hop
	Sender  string // wire form
	Account int64  // who submitted the message
	Holder  Holder // why it is held; ByOperator does not narrow
	State   State
	Open    bool // only what is not settled: waiting or held
}

const selected = `id IN (SELECT r.id FROM queue_recipient r JOIN queue_message m ON m.id = r.message
	WHERE (CAST(? AS BIGINT) = 0 OR m.id = ?) AND (? = '' OR r.address = ?) AND (? = '' OR lower(r.address) LIKE ? ESCAPE '!')
	AND (? = '' OR r.route = ?) AND (? = '' OR m.sender = ?) AND (? = '' OR r.state = ?)
	AND (CAST(? AS BIGINT) = 0 OR m.account = ?) AND (? = '' OR r.holder = ?)
	AND (CAST(? AS BIGINT) = 0 OR r.state IN ('waiting', 'held')))`

// args gives the arguments of the condition above. PostgreSQL takes the type of
// a parameter from what it is first compared with.
func (s Selection) args() []any {
	open := 0
	if s.Open {
		open = 1
	}
	return []any{s.Message, s.Message, s.Address, s.Address, s.Domain, "%@" + escapeLike(s.Domain), s.Route, s.Route,
		s.Sender, s.Sender, string(s.State), string(s.State),
		s.Account, s.Account, string(s.Holder), string(s.Holder), open}
}

func escapeLike(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '%' || c == '_' || c == '!' {
			out = append(out, '!')
		}
		out = append(out, c)
	}
	return string(out)
}

// List gives at most limit recipients of the selection, oldest message first,
// after message number after (0 for the beginning).
func (q *Queue) List(ctx context.Context, s Selection, after int64, limit int) ([]Item, error) {
	return q.items(ctx, itemColumns+`WHERE m.id > ? AND r.`+selected+` ORDER BY m.id, r.id LIMIT ?`, "",
		append(append([]any{after}, s.args()...), limit)...)
}

// Retry makes the waiting recipients of the selection due now.
func (q *Queue) Retry(ctx context.Context, s Selection) (int64, error) {
	return q.change(ctx, `UPDATE queue_recipient SET next = ? WHERE state = 'waiting' AND `+selected,
		append([]any{time.Now().UnixMilli()}, s.args()...)...)
}

// Hold stops the waiting recipients of the selection until Release. One that
// is being delivered at this moment may still leave.
func (q *Queue) Hold(ctx context.Context, s Selection) (int64, error) {
	return q.change(ctx, `UPDATE queue_recipient SET state = 'held' WHERE state = 'waiting' AND `+selected, s.args()...)
}

// Release lets the held recipients of the selection go, now.
func (q *Queue) Release(ctx context.Context, s Selection) (int64, error) {
	return q.change(ctx, `UPDATE queue_recipient SET state = 'waiting', holder = '', next = ? WHERE state = 'held' AND `+selected,
		append([]any{time.Now().UnixMilli()}, s.args()...)...)
}

// Delete removes the open recipients of the selection without any report and
// gives what was removed.
func (q *Queue) Delete(ctx context.Context, s Selection) ([]Item, error) {
	items, err := q.List(ctx, s, 0, 1<<31-1)
	if err != nil {
		return nil, err
	}
	var gone []Item
	err = q.DB.Write(ctx, func(tx *db.Tx) error {
		gone = gone[:0:0]
		for _, it := range items {
			n, err := tx.Exec(`UPDATE queue_recipient SET state = 'failed' WHERE id = ? AND state IN ('waiting', 'held')`, it.ID)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			gone = append(gone, it)
			if err := q.finish(tx, it.Message.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("delete from queue: %w", err)
	}
	q.notify()
	return gone, nil
}

func (q *Queue) change(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = q.DB.Write(ctx, func(tx *db.Tx) error {
		n, err = tx.Exec(query, args...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("change queue: %w", err)
	}
	q.notify()
	return n, nil
}

func (q *Queue) notify() {
	if q.Bus != nil {
		q.Bus.Publish(Topic, nil)
	}
}
