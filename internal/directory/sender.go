package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// ListedSender is an entry of an account's own list of senders.
type ListedSender struct {
	Pattern string // an address, a domain or a network
	Action  string // allow or block
	At      time.Time
	By      string // who wrote it: an account's address, or the operator
}

// MaxListedSenders bounds the list of one account.
const MaxListedSenders = 1000

// ListedSenders gives the list of an account, by pattern.
func (d *Directory) ListedSenders(ctx context.Context, account int64) ([]ListedSender, error) {
	d.open()
	generation := d.generation.Load()
	if list, ok := d.senders.get(account, generation); ok {
		return list, nil
	}
	var list []ListedSender
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		list = nil
		return tx.Each(`SELECT pattern, action, at, by_whom FROM listed_sender WHERE account = ? ORDER BY pattern`, []any{account}, func(scan func(...any) error) error {
			var s ListedSender
			var at int64
			err := scan(&s.Pattern, &s.Action, &at, &s.By)
			s.At = time.UnixMilli(at)
			list = append(list, s)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read senders listed by account %d: %w", account, err)
	}
	d.senders.put(account, generation, list)
	return list, nil
}

// ListSender writes an entry, in place of one of the same pattern. A list that
// is full is ErrInvalid.
func (d *Directory) ListSender(tx *db.Tx, account int64, s ListedSender) error {
	d.open()
	var others int
	if err := tx.Row(`SELECT count(*) FROM listed_sender WHERE account = ? AND pattern <> ?`, account, s.Pattern).Scan(&others); err != nil {
		return fmt.Errorf("count listed senders: %w", err)
	}
	if others >= MaxListedSenders {
		return fmt.Errorf("%w: the list has %d senders, as many as it may", ErrInvalid, others)
	}
	_, err := tx.Exec(`INSERT INTO listed_sender (account, pattern, action, at, by_whom) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (account, pattern) DO UPDATE SET action = excluded.action, at = excluded.at, by_whom = excluded.by_whom`,
		account, s.Pattern, s.Action, s.At.UnixMilli(), s.By)
	if err != nil {
		return fmt.Errorf("list sender: %w", err)
	}
	d.Changed(tx)
	return nil
}

// UnlistSender takes an entry away. One that is not there is ErrNotFound.
func (d *Directory) UnlistSender(tx *db.Tx, account int64, pattern string) error {
	d.open()
	n, err := tx.Exec(`DELETE FROM listed_sender WHERE account = ? AND pattern = ?`, account, pattern)
	if err != nil {
		return fmt.Errorf("unlist sender: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: sender %s is not listed", ErrNotFound, pattern)
	}
	d.Changed(tx)
	return nil
}
