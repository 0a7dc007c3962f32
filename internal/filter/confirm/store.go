package confirm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Limits of questions.
const (
	AskAgain   = 14 * 24 * time.Hour // to one sender
	MaxPerDay  = 20                  // for one account
	MaxToOne   = 3                   // a day to one sender, of all accounts
	maxForAll  = 500                 // an hour, for the installation
	forgetTime = 90 * 24 * time.Hour // of who was asked and never answered
)

// Store keeps whom accounts know.
type Store struct{ DB *db.DB }

// Known tells whether an account knows an address: it has written to it, allows
// it, or the address has confirmed.
func (s *Store) Known(ctx context.Context, account int64, address string) (known bool, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		var n int
		err := tx.Row(`SELECT (SELECT count(*) FROM correspondent WHERE account = ? AND address = ? AND state = 'known')
			+ (SELECT count(*) FROM listed_sender WHERE account = ? AND action = 'allow' AND pattern IN (?, ?))`,
			account, address, account, address, domainOf(address)).Scan(&n)
		known = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read correspondents: %w", err)
	}
	return known, nil
}

func domainOf(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == '@' {
			return address[i+1:]
		}
	}
	return address
}

// Know notes that an account knows an address, and tells whether that is news.
func (s *Store) Know(ctx context.Context, account int64, address string) (news bool, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`INSERT INTO correspondent (account, address, state, at) VALUES (?, ?, 'known', ?)
			ON CONFLICT (account, address) DO UPDATE SET state = 'known', at = excluded.at WHERE correspondent.state <> 'known'`,
			account, address, time.Now().UnixMilli())
		news = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note correspondent: %w", err)
	}
	return news, nil
}

// MayAsk tells whether an account may ask an address now, and notes that it does.
func (s *Store) MayAsk(ctx context.Context, account int64, address string) (may bool, err error) {
	now := time.Now()
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		may = false
		if _, err := tx.Exec(`DELETE FROM correspondent WHERE state = 'asked' AND at < ?`, now.Add(-forgetTime).UnixMilli()); err != nil {
			return err
		}
		var state string
		var at int64
		err := tx.Row(`SELECT state, at FROM correspondent WHERE account = ? AND address = ?`, account, address).Scan(&state, &at)
		if err != nil && !errors.Is(err, sql.ErrNoRows) || err == nil && (state == "known" || at > now.Add(-AskAgain).UnixMilli()) {
			return ignoreNone(err)
		}
		var mine, his, all int
		if err := tx.Row(`SELECT count(*) FROM correspondent WHERE account = ? AND state = 'asked' AND at > ?`, account, now.Add(-24*time.Hour).UnixMilli()).Scan(&mine); err != nil {
			return err
		}
		if err := tx.Row(`SELECT count(*) FROM correspondent WHERE address = ? AND state = 'asked' AND at > ?`, address, now.Add(-24*time.Hour).UnixMilli()).Scan(&his); err != nil {
			return err
		}
		if err := tx.Row(`SELECT count(*) FROM correspondent WHERE state = 'asked' AND at > ?`, now.Add(-time.Hour).UnixMilli()).Scan(&all); err != nil {
			return err
		}
		if mine >= MaxPerDay || his >= MaxToOne || all >= maxForAll {
			return nil
		}
		may = true
		_, err = tx.Exec(`INSERT INTO correspondent (account, address, state, at) VALUES (?, ?, 'asked', ?)
			ON CONFLICT (account, address) DO UPDATE SET at = excluded.at`, account, address, now.UnixMilli())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note a question: %w", err)
	}
	return may, nil
}

func ignoreNone(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
