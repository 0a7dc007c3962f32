package directory

import (
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// bury remembers that an address was somebody's. Lists go on writing to it for
// years, and that is no guessing.
func (d *Directory) bury(tx *db.Tx, a mail.Address) error {
	_, err := tx.Exec(`INSERT INTO former (addresskey, ended) VALUES (?, ?)
		ON CONFLICT (addresskey) DO UPDATE SET ended = excluded.ended`, a.Key(), now().UnixMilli())
	if err != nil {
		return fmt.Errorf("remember %s: %w", a, err)
	}
	return nil
}

// former tells whether an address that is nobody's now once was somebody's,
// with or without its detail and the tag of a signed sender.
func (d *Directory) former(tx *db.Tx, a mail.Address, separator string) (bool, error) {
	if t, tagged := parsePRVS(a.Local); tagged {
		a = mail.MakeAddress(t.local, a.Domain)
	}
	plain := a
	if base, _, cut := strings.Cut(a.Local, separator); separator != "" && cut && base != "" {
		plain = mail.MakeAddress(base, a.Domain)
	}
	var n int64
	err := tx.Row(`SELECT count(*) FROM former WHERE addresskey = ? OR addresskey = ?`, a.Key(), plain.Key()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look up former %s: %w", a, err)
	}
	return n > 0, nil
}
