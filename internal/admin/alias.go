package admin

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// AddAlias makes an address stand for others. A target in a domain of ours
// must exist.
func (a *Admin) AddAlias(ctx context.Context, actor, address string, targets []string) error {
	addr, err := ParseAddress(address)
	if err != nil {
		return err
	}
	to, err := directory.ParseList(strings.Join(targets, " "))
	if err != nil {
		return err
	}
	al := directory.Alias{Address: addr, Targets: to}
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		if err := a.Directory.CreateAlias(tx, al); err != nil {
			return err
		}
		return a.Directory.CheckAlias(tx, al)
	})
	if err == nil {
		a.did(actor, "alias add", addr.String(), directory.FormatList(to))
	}
	return err
}

// Aliases calls fn for every alias of a domain, or of all when it is empty.
func (a *Admin) Aliases(ctx context.Context, domain string, fn func(directory.Alias) error) error {
	var d mail.Domain
	if domain != "" {
		var err error
		if d, err = mail.ParseDomain(domain); err != nil {
			return err
		}
		if _, err := a.Directory.Domain(ctx, d); err != nil {
			return err
		}
	}
	return a.Directory.EachAlias(ctx, d, fn)
}

// DeleteAlias deletes an alias. Mail to postmaster is still read, see
// directory.
func (a *Admin) DeleteAlias(ctx context.Context, actor, address string) error {
	addr, err := ParseAddress(address)
	if err != nil {
		return err
	}
	var gone directory.Alias
	err = a.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if gone, err = a.Directory.AliasTx(tx, addr); err != nil {
			return err
		}
		return a.Directory.DeleteAlias(tx, addr)
	})
	if err == nil {
		a.did(actor, "alias delete", addr.String(), directory.FormatList(gone.Targets))
	}
	return err
}
