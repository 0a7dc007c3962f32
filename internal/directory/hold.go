package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Hold says that an account may send nothing for now, because somebody else
// seems to have its password; it goes on receiving. It is part of the account,
// so that every node knows it.
type Hold struct {
	Since  time.Time // zero: there is none
	Until  time.Time // when it ends by itself
	Reason string    // in words
	// Vouched is the time until which an administrator answers for what the
	// account sends: it is not held before.
	Vouched time.Time
}

// VouchTime is how long an administrator's word for an account holds: long
// enough for what it does to become usual.
const VouchTime = 24 * time.Hour

// Active tells whether the account is held at a time.
func (h Hold) Active(at time.Time) bool { return h.Until.After(at) }

// moment gives a time of the database, whose 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// SameCredential tells whether a and b, two looks at one account, have the same
// password.
func (a Account) SameCredential(b Account) bool { return a.credential.Hash == b.credential.Hash }

// HoldSending holds the sending of an account, and tells whether it was this
// call that did: an account that is held already, or that somebody vouches for,
// is left as it is.
func (d *Directory) HoldSending(tx *db.Tx, account int64, h Hold) (bool, error) {
	since := h.Since.UnixMilli()
	n, err := tx.Exec(`UPDATE account SET held_since = ?, held_until = ?, held_reason = ?
		WHERE id = ? AND held_until <= ? AND vouched <= ?`, since, h.Until.UnixMilli(), h.Reason, account, since, since)
	if err != nil {
		return false, fmt.Errorf("hold account %d: %w", account, err)
	}
	if n > 0 {
		d.Changed(tx)
	}
	return n > 0, nil
}

// ReleaseSending ends a hold and vouches for the account until a time; a zero
// time vouches for nothing.
func (d *Directory) ReleaseSending(tx *db.Tx, a Account, vouched time.Time) error {
	until := int64(0)
	if !vouched.IsZero() {
		until = vouched.UnixMilli()
	}
	n, err := tx.Exec(`UPDATE account SET held_since = 0, held_until = 0, held_reason = '', vouched = ? WHERE id = ?`, until, a.ID)
	return d.written(tx, a, n, err)
}

// SendingHeld tells whether the account is held at a time.
func (d *Directory) SendingHeld(tx *db.Tx, account int64, at time.Time) (bool, error) {
	var n int64
	err := tx.Row(`SELECT count(*) FROM account WHERE id = ? AND held_until > ?`, account, at.UnixMilli()).Scan(&n)
	return n > 0, err
}

// HoldsOver gives the accounts whose hold has ended by itself and is still
// written in them.
func (d *Directory) HoldsOver(ctx context.Context, at time.Time) ([]Account, error) {
	var out []Account
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		out = nil
		return tx.Each(`SELECT `+accountColumns+` FROM account WHERE held_until <> 0 AND held_until <= ?`, []any{at.UnixMilli()},
			func(scan func(...any) error) error {
				a, err := scanAccount(scan)
				out = append(out, a)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("look for holds that are over: %w", err)
	}
	return out, nil
}
