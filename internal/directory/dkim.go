package directory

import (
	"fmt"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// DKIMKey is a signing key of a domain. The directory keeps it and does not
// look into it.
type DKIMKey struct {
	Selector  string
	Algorithm string // rsa-sha256, ed25519-sha256
	Private   string // PEM, PKCS #8
	Active    bool   // signs
	Created   time.Time
}

// AddDKIMKey gives a domain another key.
func (d *Directory) AddDKIMKey(tx *db.Tx, domain int64, k DKIMKey) error {
	var n int64
	err := tx.Row(`SELECT count(*) FROM dkim_key WHERE domain = ? AND selector = ?`, domain, k.Selector).Scan(&n)
	if err == nil && n > 0 {
		err = ErrExists
	}
	if err == nil {
		_, err = tx.Exec(`INSERT INTO dkim_key (domain, selector, algorithm, private, active, created)
			VALUES (?, ?, ?, ?, ?, ?)`, domain, k.Selector, k.Algorithm, k.Private, truth(k.Active), now().UnixMilli())
	}
	return d.keyChanged(tx, k.Selector, 1, err)
}

// DKIMKeys gives all keys of a domain, oldest first.
func (d *Directory) DKIMKeys(tx *db.Tx, domain int64) ([]DKIMKey, error) {
	var keys []DKIMKey
	err := tx.Each(`SELECT selector, algorithm, private, active, created FROM dkim_key
		WHERE domain = ? ORDER BY created, selector`, []any{domain}, func(scan func(...any) error) error {
		var k DKIMKey
		var active, created int64
		if err := scan(&k.Selector, &k.Algorithm, &k.Private, &active, &created); err != nil {
			return err
		}
		k.Active, k.Created = active != 0, time.UnixMilli(created)
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("DKIM keys: %w", err)
	}
	return keys, nil
}

// ActivateDKIMKey lets a key sign, or stop signing.
func (d *Directory) ActivateDKIMKey(tx *db.Tx, domain int64, selector string, active bool) error {
	n, err := tx.Exec(`UPDATE dkim_key SET active = ? WHERE domain = ? AND selector = ?`, truth(active), domain, selector)
	return d.keyChanged(tx, selector, n, err)
}

// DeleteDKIMKey deletes a key.
func (d *Directory) DeleteDKIMKey(tx *db.Tx, domain int64, selector string) error {
	n, err := tx.Exec(`DELETE FROM dkim_key WHERE domain = ? AND selector = ?`, domain, selector)
	return d.keyChanged(tx, selector, n, err)
}

func (d *Directory) keyChanged(tx *db.Tx, selector string, n int64, err error) error {
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("DKIM key %s: %w", selector, err)
	}
	d.Changed(tx)
	return nil
}
