package directory

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Consent is one change of how far a filter may go with somebody's mail. All
// changes are kept: together they are the evidence of what was agreed to, when,
// and by whom.
type Consent struct {
	At      time.Time
	Account int64  // 0: the default of a domain
	Subject string // the account's address, or the domain
	Filter  string
	Old     string // mode; "" is the default
	New     string
	By      string // who changed it: an account's address, or the operator
	Via     string // from where: command, web, and the client's address
}

// Consents gives what an account has agreed to, by filter, on top of what its
// domain sets. Account 0 gives the domain's defaults. What is not in it is the
// installation's default.
func (d *Directory) Consents(ctx context.Context, account int64, domain mail.Domain) (map[string]string, error) {
	d.open()
	key := consentKey{account, domain}
	generation := d.generation.Load()
	if modes, ok := d.consents.get(key, generation); ok {
		return modes, nil
	}
	var modes map[string]string
	err := d.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if modes, err = consents(tx, 0, string(domain)); err != nil || account == 0 {
			return err
		}
		own, err := consents(tx, account, "")
		maps.Copy(modes, own)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read consents of account %d: %w", account, err)
	}
	d.consents.put(key, generation, modes)
	return modes, nil
}

type consentKey struct {
	account int64
	domain  mail.Domain
}

// consents gives the modes that are not the default. The subject counts only
// for account 0, whose rows are those of all domains.
func consents(tx *db.Tx, account int64, subject string) (map[string]string, error) {
	modes := map[string]string{}
	err := tx.Each(`SELECT filter, new_mode FROM consent WHERE account = ? AND (account <> 0 OR subject = ?) ORDER BY id`,
		[]any{account, subject}, func(scan func(...any) error) error {
			var filter, mode string
			if err := scan(&filter, &mode); err != nil {
				return err
			}
			modes[filter] = mode
			if mode == "" {
				delete(modes, filter)
			}
			return nil
		})
	return modes, err
}

// SetConsent records a change, in c.Old what held before, and tells whether
// there was one.
func (d *Directory) SetConsent(tx *db.Tx, c Consent) (bool, error) {
	d.open()
	modes, err := consents(tx, c.Account, c.Subject)
	if err != nil || modes[c.Filter] == c.New {
		return false, err
	}
	_, err = tx.Exec(`INSERT INTO consent (at, account, subject, filter, old_mode, new_mode, by_whom, via) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.At.UnixMilli(), c.Account, c.Subject, c.Filter, modes[c.Filter], c.New, c.By, c.Via)
	if err != nil {
		return false, fmt.Errorf("record consent of %s: %w", c.Subject, err)
	}
	d.Changed(tx)
	return true, nil
}

// ConsentHistory gives all changes of a subject, an address or a domain, from
// the first; of all subjects when it is "". It outlives the account.
func (d *Directory) ConsentHistory(ctx context.Context, subject string) ([]Consent, error) {
	var out []Consent
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		out = out[:0]
		return tx.Each(`SELECT at, account, subject, filter, old_mode, new_mode, by_whom, via FROM consent
			WHERE ? = '' OR subject = ? ORDER BY id`, []any{subject, subject}, func(scan func(...any) error) error {
			var c Consent
			var at int64
			if err := scan(&at, &c.Account, &c.Subject, &c.Filter, &c.Old, &c.New, &c.By, &c.Via); err != nil {
				return err
			}
			c.At = time.UnixMilli(at)
			out = append(out, c)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read history of consents: %w", err)
	}
	return out, nil
}
