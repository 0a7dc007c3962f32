package admin

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// AddAccount creates an account with the given settings, KEY=VALUE as in
// AccountSettings. An empty password lets nobody log in.
func (a *Admin) AddAccount(ctx context.Context, actor, address, password string, settings []string) (directory.Account, error) {
	addr, err := ParseAddress(address)
	if err != nil {
		return directory.Account{}, err
	}
	edit, err := a.accountEdit(ctx, settings)
	if err != nil {
		return directory.Account{}, err
	}
	if password != "" {
		if edit.credential, err = a.credential(ctx, password); err != nil {
			return directory.Account{}, err
		}
	}
	acct := directory.Account{Address: addr, State: directory.Active}
	edit.apply(&acct)
	var credential directory.Credential
	if edit.credential != nil {
		credential = *edit.credential
	}
	var made directory.Account
	err = a.DB.Write(ctx, func(tx *db.Tx) (err error) {
		made, err = a.Directory.CreateAccount(tx, acct, credential)
		return err
	})
	if err != nil {
		return directory.Account{}, err
	}
	a.did(actor, "account add", addr.String(), "")
	return made, nil
}

// credential takes a plain password or a hash from elsewhere.
func (a *Admin) credential(ctx context.Context, password string) (*directory.Credential, error) {
	c, is, err := directory.ImportHash(password)
	if !is && err == nil {
		c, err = a.Directory.Hash(ctx, password)
	}
	return &c, err
}

// Account gives the account of an address.
func (a *Admin) Account(ctx context.Context, address string) (directory.Account, error) {
	addr, err := ParseAddress(address)
	if err != nil {
		return directory.Account{}, err
	}
	return a.Directory.Account(ctx, addr)
}

// SetAccount changes settings of an account, KEY=VALUE as in AccountSettings.
// It is an event a setting with the old and the new value, and none for a
// setting that had the value already.
func (a *Admin) SetAccount(ctx context.Context, actor, address string, settings []string) error {
	edit, err := a.accountEdit(ctx, settings)
	if err != nil {
		return err
	}
	var before, after directory.Account
	err = a.onAccount(ctx, address, func(tx *db.Tx, acct directory.Account) error {
		before, after = acct, acct
		edit.apply(&after)
		if err := a.Directory.SetAccount(tx, after); err != nil {
			return err
		}
		if edit.credential != nil {
			if err := a.Directory.SetCredential(tx, after, *edit.credential); err != nil {
				return err
			}
		}
		return a.keepAdmin(tx, before)
	})
	if err != nil {
		return err
	}
	for _, s := range AccountSettings {
		if s.format == nil {
			continue
		}
		a.changed(actor, before.Address.String(), s.Name, s.format(before), s.format(after))
	}
	if edit.credential != nil {
		a.Events.Record(event.Event{Kind: event.Setting, Actor: actor, Account: before.Address.String(), Verb: "password", Reason: "changed"})
	}
	return nil
}

func (a *Admin) changed(actor, account, name, from, to string) {
	if from != to {
		a.Events.Record(event.Event{Kind: event.Setting, Actor: actor, Account: account, Verb: name,
			Reason: fmt.Sprintf("%q to %q", from, to)})
	}
}

// keepAdmin refuses a transaction after which nobody administers any more,
// when was is whom it changed.
func (a *Admin) keepAdmin(tx *db.Tx, was directory.Account) error {
	if !was.Admin || was.State != directory.Active {
		return nil
	}
	n, err := a.Directory.Admins(tx)
	if err == nil && n == 0 {
		err = fmt.Errorf("account %s: %w", was.Address, ErrLastAdmin)
	}
	return err
}

// DisableAccount lets an account neither log in nor take mail; what it has
// stays.
func (a *Admin) DisableAccount(ctx context.Context, actor, address string) error {
	return a.SetAccount(ctx, actor, address, []string{"state=" + string(directory.Blocked)})
}

// EnableAccount undoes DisableAccount.
func (a *Admin) EnableAccount(ctx context.Context, actor, address string) error {
	return a.SetAccount(ctx, actor, address, []string{"state=" + string(directory.Active)})
}

// ReleaseAccount ends the hold of an account's sending, lets all mail go that
// waits for that, suspect mail too, and vouches for what it sends for
// directory.VouchTime.
func (a *Admin) ReleaseAccount(ctx context.Context, actor, address string) error {
	var was directory.Account
	var n int64
	err := a.onAccount(ctx, address, func(tx *db.Tx, acct directory.Account) error {
		was, n = acct, 0
		if err := a.Directory.ReleaseSending(tx, acct, time.Now().Add(directory.VouchTime)); err != nil {
			return err
		}
		for _, holder := range []queue.Holder{queue.ByAccount, queue.Suspect} {
			m, err := a.Queue.ReleaseAccount(tx, acct.ID, holder)
			if err != nil {
				return err
			}
			n += m
		}
		return nil
	})
	if err == nil {
		a.did(actor, "account release", was.Address.String(), fmt.Sprintf("vouched for; %d recipients released; held because of: %s", n, was.Hold.Reason))
	}
	return err
}

// DeleteAccount deletes an account and its mail.
func (a *Admin) DeleteAccount(ctx context.Context, actor, address string) error {
	var gone directory.Account
	err := a.onAccount(ctx, address, func(tx *db.Tx, acct directory.Account) error {
		gone = acct
		if a.DeleteMail != nil {
			if err := a.DeleteMail(tx, acct.ID); err != nil {
				return fmt.Errorf("account %s: delete mail: %w", acct.Address, err)
			}
		}
		if err := a.Directory.DeleteAccount(tx, acct); err != nil {
			return err
		}
		return a.keepAdmin(tx, acct)
	})
	if err == nil {
		a.did(actor, "account delete", gone.Address.String(), fmt.Sprintf("%d messages, %d octets", gone.Messages, gone.Used))
	}
	return err
}

// ReindexMail makes the full-text indexes of an account anew and gives the
// number of messages in them.
func (a *Admin) ReindexMail(ctx context.Context, actor, address string) (messages int64, err error) {
	acct, err := a.Account(ctx, address)
	if err != nil {
		return 0, err
	}
	if messages, err = a.Reindex(ctx, acct.ID); err != nil {
		return 0, fmt.Errorf("account %s: %w", acct.Address, err)
	}
	a.did(actor, "mailbox reindex", acct.Address.String(), fmt.Sprintf("%d messages", messages))
	return messages, nil
}

// ImportAccounts applies a file of accounts, see directory.Columns, all of it
// or nothing.
func (a *Admin) ImportAccounts(ctx context.Context, actor string, r io.Reader, im directory.Import) (directory.Imported, error) {
	var before int64
	err := a.DB.Read(ctx, func(tx *db.Tx) (err error) {
		before, err = a.Directory.Admins(tx)
		return err
	})
	if err != nil {
		return directory.Imported{}, err
	}
	im.InTx = func(tx *db.Tx) error {
		n, err := a.Directory.Admins(tx)
		if err == nil && n == 0 && before > 0 {
			err = ErrLastAdmin
		}
		return err
	}
	out, err := a.Directory.Import(ctx, r, im)
	if err == nil && !im.DryRun {
		a.did(actor, "account import", "", fmt.Sprintf("%d added, %d changed, %d as they were", out.Added, out.Changed, out.Same))
	}
	return out, err
}

// ExportAccounts writes the accounts of a domain, or of all when it is empty,
// as ImportAccounts reads them. They hold password hashes: it is an event.
func (a *Admin) ExportAccounts(ctx context.Context, actor string, w io.Writer, domain string) error {
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
	a.did(actor, "account export", "", domain)
	return a.Directory.Export(ctx, w, d)
}
