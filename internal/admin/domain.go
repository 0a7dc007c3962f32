package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/store/db"
)

// dkimNames are the algorithms as the directory keeps them.
var dkimNames = map[senderauth.Algorithm]string{senderauth.RSA: "rsa-sha256", senderauth.Ed25519: "ed25519-sha256"}

// CreateDomain makes a domain ours: its role addresses (RFC 2142) go to its
// postmaster, and it gets one DKIM key of each algorithm.
func (a *Admin) CreateDomain(ctx context.Context, actor, name string) (directory.Domain, error) {
	d, err := mail.ParseDomain(name)
	if err != nil {
		return directory.Domain{}, err
	}
	rsa, err := newDKIMKey(senderauth.RSA)
	if err != nil {
		return directory.Domain{}, err
	}
	ed, err := newDKIMKey(senderauth.Ed25519)
	if err != nil {
		return directory.Domain{}, err
	}
	var dom directory.Domain
	err = a.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if dom, err = a.Directory.CreateDomain(tx, d, directory.DefaultDomainSettings()); err != nil {
			return err
		}
		postmaster := []mail.Address{mail.MakeAddress("postmaster", d)}
		for _, role := range directory.Roles {
			al := directory.Alias{Address: mail.MakeAddress(role, d), Targets: postmaster}
			if err := a.Directory.CreateAlias(tx, al); err != nil {
				return err
			}
		}
		for _, k := range []directory.DKIMKey{rsa, ed} {
			if err := a.Directory.AddDKIMKey(tx, dom.ID, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return directory.Domain{}, err
	}
	a.did(actor, "domain add", "", string(d))
	return dom, nil
}

// newDKIMKey makes a key whose selector tells algorithm and month: r202611.
func newDKIMKey(alg senderauth.Algorithm) (directory.DKIMKey, error) {
	k, err := senderauth.GenerateKey(alg)
	if err != nil {
		return directory.DKIMKey{}, err
	}
	text, err := k.PEM()
	if err != nil {
		return directory.DKIMKey{}, err
	}
	return directory.DKIMKey{
		Selector:  string(alg[0]) + time.Now().UTC().Format("200601"),
		Algorithm: dkimNames[alg], Private: string(text), Active: true,
	}, nil
}

// Domains gives all domains by name.
func (a *Admin) Domains(ctx context.Context) ([]directory.Domain, error) {
	return a.Directory.Domains(ctx)
}

// Domain gives a domain.
func (a *Admin) Domain(ctx context.Context, name string) (directory.Domain, error) {
	d, err := mail.ParseDomain(name)
	if err != nil {
		return directory.Domain{}, err
	}
	return a.Directory.Domain(ctx, d)
}

// SetDomain changes settings of a domain, KEY=VALUE as in DomainSettings.
func (a *Admin) SetDomain(ctx context.Context, actor, name string, settings []string) error {
	edit, err := changes(DomainSettings, settings)
	if err != nil {
		return err
	}
	var before, after directory.Domain
	err = a.onDomain(ctx, name, func(tx *db.Tx, dom directory.Domain) error {
		before, after = dom, dom
		for _, change := range edit {
			if err := change(&after.Settings); err != nil {
				return err
			}
		}
		if err := a.Directory.SetDomain(tx, after); err != nil {
			return err
		}
		return a.checkTargets(tx, before, after)
	})
	if err != nil {
		return err
	}
	for _, s := range DomainSettings {
		a.changed(actor, string(before.Name), s.Name, s.format(before.Settings), s.format(after.Settings))
	}
	return nil
}

// checkTargets refuses an address that was newly set and takes no mail.
func (a *Admin) checkTargets(tx *db.Tx, before, after directory.Domain) error {
	for _, s := range []struct{ name, was, is string }{
		{"catch_all", before.Settings.CatchAll, after.Settings.CatchAll},
		{"postmaster", before.Settings.Postmaster, after.Settings.Postmaster},
	} {
		if s.is == s.was || s.is == "" {
			continue
		}
		addr, err := ParseAddress(s.is)
		if err != nil {
			return err
		}
		r, err := a.Directory.ResolveTx(tx, addr)
		if err != nil {
			return err
		}
		if r.Status != directory.Known && r.Status != directory.NotOurs || len(r.Targets) == 0 && r.Status == directory.Known {
			return fmt.Errorf("setting %s=%s: nobody has this address: %w", s.name, s.is, directory.ErrInvalid)
		}
	}
	return nil
}

// RotateBounceKey makes the next key of signed envelope senders, for all
// domains, and gives its digit.
func (a *Admin) RotateBounceKey(ctx context.Context, actor string) (digit int, err error) {
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		digit, err = a.Directory.RotateBounceKey(tx)
		return err
	})
	if err == nil {
		a.did(actor, "bounce-key rotate", "", strconv.Itoa(digit))
	}
	return digit, err
}

// DeleteDomain deletes a domain that has no accounts any more, with its aliases
// and keys.
func (a *Admin) DeleteDomain(ctx context.Context, actor, name string) error {
	err := a.onDomain(ctx, name, a.Directory.DeleteDomain)
	if err == nil {
		a.did(actor, "domain delete", "", name)
	}
	return err
}

// AddDKIMKey gives a domain a new key that does not sign yet: publish its
// record first, then activate it. It gives the selector.
func (a *Admin) AddDKIMKey(ctx context.Context, actor, name string, alg senderauth.Algorithm) (selector string, err error) {
	fresh, err := newDKIMKey(alg)
	if err != nil {
		return "", err
	}
	fresh.Active = false
	err = a.onDomain(ctx, name, func(tx *db.Tx, dom directory.Domain) error {
		k := fresh
		for n := 2; n < 100; n++ {
			keys, err := a.Directory.DKIMKeys(tx, dom.ID)
			if err != nil {
				return err
			}
			if !hasSelector(keys, k.Selector) {
				selector = k.Selector
				return a.Directory.AddDKIMKey(tx, dom.ID, k)
			}
			k.Selector = fmt.Sprintf("%s-%d", fresh.Selector, n)
		}
		return errors.New("too many DKIM keys this month")
	})
	if err != nil {
		return "", err
	}
	a.did(actor, "dkim add", "", name+" "+selector)
	return selector, nil
}

func hasSelector(keys []directory.DKIMKey, selector string) bool {
	for _, k := range keys {
		if k.Selector == selector {
			return true
		}
	}
	return false
}

// DKIMKeys gives all keys of a domain.
func (a *Admin) DKIMKeys(ctx context.Context, name string) (keys []directory.DKIMKey, err error) {
	dom, err := a.Domain(ctx, name)
	if err != nil {
		return nil, err
	}
	err = a.DB.Read(ctx, func(tx *db.Tx) (err error) {
		keys, err = a.Directory.DKIMKeys(tx, dom.ID)
		return err
	})
	return keys, err
}

// ActivateDKIMKey lets a key sign, or stop signing. Leave the record of a key
// that stopped published for a week: mail signed with it is still under way.
func (a *Admin) ActivateDKIMKey(ctx context.Context, actor, name, selector string, active bool) error {
	err := a.onDomain(ctx, name, func(tx *db.Tx, dom directory.Domain) error {
		return a.Directory.ActivateDKIMKey(tx, dom.ID, selector, active)
	})
	if err == nil {
		verb := "dkim activate"
		if !active {
			verb = "dkim deactivate"
		}
		a.did(actor, verb, "", name+" "+selector)
	}
	return err
}

// DeleteDKIMKey deletes a key.
func (a *Admin) DeleteDKIMKey(ctx context.Context, actor, name, selector string) error {
	err := a.onDomain(ctx, name, func(tx *db.Tx, dom directory.Domain) error {
		return a.Directory.DeleteDKIMKey(tx, dom.ID, selector)
	})
	if err == nil {
		a.did(actor, "dkim delete", "", name+" "+selector)
	}
	return err
}
