package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Roles are the local parts of RFC 2142 that every domain gets as aliases of
// its postmaster. Postmaster itself needs no alias.
var Roles = []string{"abuse", "hostmaster", "noc", "security", "webmaster"}

// isRole tells whether a local part is that of a role or postmaster: mail to it
// must get through.
func isRole(local string) bool {
	return isPostmaster(local) || slices.Contains(Roles, strings.ToLower(local))
}

// Alias is an address that stands for others.
type Alias struct {
	Address mail.Address
	Targets []mail.Address
	Created time.Time
}

// CreateAlias adds an alias. It is refused when mail to it would go nowhere: a
// target of our own domains that nobody has, or a circle.
func (d *Directory) CreateAlias(tx *db.Tx, a Alias) error {
	if a.Address.Domain == "" || len(a.Targets) == 0 {
		return fmt.Errorf("alias %s: %w: needs a domain and at least one target", a.Address, ErrInvalid)
	}
	if isSRS(a.Address.Local) {
		return fmt.Errorf("alias %s: %w: local parts that begin with SRS0 or SRS1 are taken for forwarding", a.Address, ErrInvalid)
	}
	if len(a.Targets) >= maxVisits {
		return fmt.Errorf("alias %s: %w: more than %d targets", a.Address, ErrInvalid, maxVisits-1)
	}
	dom, err := d.DomainTx(tx, a.Address.Domain)
	if err != nil {
		return fmt.Errorf("alias %s: %w", a.Address, err)
	}
	if err := d.free(tx, a.Address); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO alias (addresskey, domain, address, targets, created) VALUES (?, ?, ?, ?, ?)`,
		a.Address.Key(), dom.ID, a.Address.Wire, FormatList(a.Targets), now().UnixMilli())
	if err != nil {
		return fmt.Errorf("create alias %s: %w", a.Address, err)
	}
	d.Changed(tx)
	return nil
}

// CheckAlias tells which target of an alias takes no mail.
func (d *Directory) CheckAlias(tx *db.Tx, a Alias) error {
	for _, to := range a.Targets {
		r, err := d.ResolveTx(tx, to)
		if err != nil {
			return fmt.Errorf("alias %s: target %s: %w", a.Address, to, err)
		}
		if r.Status == Unknown || r.Status == looping {
			return fmt.Errorf("alias %s: target %s: nobody has this address: %w", a.Address, to, ErrInvalid)
		}
	}
	return nil
}

// DeleteAlias deletes the alias of an address.
func (d *Directory) DeleteAlias(tx *db.Tx, a mail.Address) error {
	n, err := tx.Exec(`DELETE FROM alias WHERE addresskey = ?`, a.Key())
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = d.bury(tx, a)
	}
	if err != nil {
		return fmt.Errorf("alias %s: %w", a, err)
	}
	d.Changed(tx)
	return nil
}

const aliasColumns = `address, targets, created`

func scanAlias(scan func(...any) error) (Alias, error) {
	var a Alias
	var address, targets string
	var created int64
	err := scan(&address, &targets, &created)
	if err != nil {
		return Alias{}, err
	}
	if a.Address, err = mail.ParseAddress(address); err != nil {
		return Alias{}, fmt.Errorf("alias %s: %w", address, err)
	}
	if a.Targets, err = ParseList(targets); err != nil {
		return Alias{}, fmt.Errorf("targets of alias %s: %w", address, err)
	}
	a.Created = time.UnixMilli(created)
	return a, nil
}

// AliasTx gives the alias of an address.
func (d *Directory) AliasTx(tx *db.Tx, a mail.Address) (Alias, error) {
	al, err := scanAlias(tx.Row(`SELECT `+aliasColumns+` FROM alias WHERE addresskey = ?`, a.Key()).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Alias{}, fmt.Errorf("alias %s: %w", a, ErrNotFound)
	}
	return al, err
}

// EachAlias calls fn for every alias of the domain (empty: of all) in the
// order of their keys, all as of one moment.
func (d *Directory) EachAlias(ctx context.Context, domain mail.Domain, fn func(Alias) error) error {
	return d.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Each(`SELECT `+aliasColumns+` FROM alias
			WHERE ? = '' OR domain = (SELECT id FROM domain WHERE name = ?) ORDER BY addresskey`,
			[]any{string(domain), string(domain)}, func(scan func(...any) error) error {
				a, err := scanAlias(scan)
				if err != nil {
					return err
				}
				return fn(a)
			})
	})
}
