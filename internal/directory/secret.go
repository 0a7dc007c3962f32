package directory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/store/db"
)

const (
	srsSecret   = "srs"
	scramSecret = "scram"
	secretSize  = 32 // octets, of our own secrets
)

// Secret gives the random secret of that name, made with size octets when it
// is asked for the first time and the same for ever after.
func (d *Directory) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	if v, ok := d.secrets.Load(name); ok {
		return v.([]byte), nil
	}
	var value []byte
	read := func(tx *db.Tx) error {
		return tx.Row(`SELECT value FROM secret WHERE name = ?`, name).Scan(&value)
	}
	err := d.DB.Read(ctx, read)
	if errors.Is(err, sql.ErrNoRows) {
		fresh := make([]byte, size)
		randomBytes(fresh)
		err = d.DB.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO secret (name, value, created) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`,
				name, fresh, now().UnixMilli())
			if err != nil {
				return err
			}
			return read(tx)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	d.secrets.Store(name, value)
	return value, nil
}

// randomBytes fills b; crypto/rand never fails.
func randomBytes(b []byte) { rand.Read(b) }
