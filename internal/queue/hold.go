package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Holder says why a recipient is held.
type Holder string

// The holders of recipients in the state Held.
const (
	ByOperator Holder = ""        // somebody said so, or it is stranded
	ByAccount  Holder = "account" // its account may not send for now; it goes when that is over
	Suspect    Holder = "suspect" // from the time for which its account is held; it stays until somebody decides
)

// HoldAccount holds what waits of an account's mail, inside the caller's
// transaction, and gives the number of recipients: what came in since the given
// time as Suspect, the rest ByAccount.
func (q *Queue) HoldAccount(tx *db.Tx, account int64, since time.Time) (n int64, err error) {
	for _, part := range []struct {
		holder   Holder
		from, to int64
	}{{ByAccount, 0, since.UnixMilli()}, {Suspect, since.UnixMilli(), 1 << 62}} {
		m, err := tx.Exec(`UPDATE queue_recipient SET state = 'held', holder = ? WHERE state = 'waiting' AND message IN
			(SELECT id FROM queue_message WHERE account = ? AND created >= ? AND created < ?)`,
			string(part.holder), account, part.from, part.to)
		if err != nil {
			return 0, fmt.Errorf("hold mail of account %d: %w", account, err)
		}
		n += m
	}
	tx.OnCommit(q.notify)
	return n, nil
}

// ReleaseAccount lets go what is held of an account's mail, ByAccount or as
// Suspect, inside the caller's transaction.
func (q *Queue) ReleaseAccount(tx *db.Tx, account int64, h Holder) (int64, error) {
	n, err := tx.Exec(`UPDATE queue_recipient SET state = 'waiting', holder = '', next = ? WHERE state = 'held' AND holder = ?
		AND message IN (SELECT id FROM queue_message WHERE account = ?)`, time.Now().UnixMilli(), string(h), account)
	if err != nil {
		return 0, fmt.Errorf("release mail of account %d: %w", account, err)
	}
	tx.OnCommit(q.notify)
	return n, nil
}

// HeldAccounts gives the accounts some of whose mail is held ByAccount.
func (q *Queue) HeldAccounts(ctx context.Context) ([]int64, error) {
	var out []int64
	err := q.DB.Read(ctx, func(tx *db.Tx) error {
		out = nil
		return tx.Each(`SELECT DISTINCT m.account FROM queue_recipient r JOIN queue_message m ON m.id = r.message
			WHERE r.holder = 'account' AND r.holder <> '' AND r.state = 'held'`, nil, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			out = append(out, id)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for held accounts: %w", err)
	}
	return out, nil
}

// Forsaken gives at most limit recipients that are Suspect, for whom nobody has
// decided in the lifetime of their messages.
func (q *Queue) Forsaken(ctx context.Context, now time.Time, limit int) ([]Item, error) {
	return q.items(ctx, itemColumns+`WHERE r.holder = 'suspect' AND r.holder <> '' AND r.state = 'held' AND m.expires <= ?
		ORDER BY m.id LIMIT ?`, "", now.UnixMilli(), limit)
}
