// Package admin is everything an operator or user may do, each action once,
// checked and recorded. The command line and the web pages call it; they add
// only words and layout.
//
// Every method takes the actor: who does it, as the event log shall name him,
// such as "root" on the command line or an account's address on the web. An
// action is one transaction and, when it succeeded, one event of kind
// event.Admin, or event.Setting for each setting that changed. Passwords and
// keys are never part of an event. Errors are for people to read; those of
// directory (ErrNotFound, ErrExists, ErrInvalid, ErrInUse) can be told apart
// by errors.Is.
//
// The settings of accounts and domains are described once, in the tables
// AccountSettings and DomainSettings: name, type, meaning, how to read and how
// to write each. Setting, showing and help come from there.
package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Admin acts on the installation. Its fields are set before use.
type Admin struct {
	DB        *db.DB
	Reporter  string // the address that reads reports of other sites; "": none
	Directory *directory.Directory
	Queue     *queue.Queue
	Edge      *edge.Desk // where the serving process is asked
	Events    *event.Recorder
	Log       *archive.Archive // where events are read
	LogReason bool             // who reads events must say why

	// DeleteMail deletes all mailboxes of an account inside the transaction
	// that deletes the account. While it is nil an account with mailboxes
	// cannot be deleted.
	DeleteMail func(tx *db.Tx, account int64) error

	// Reindex makes the full-text indexes of an account anew and gives the
	// number of its messages.
	Reindex func(ctx context.Context, account int64) (messages int64, err error)
}

// ErrLastAdmin refuses to take away the last administrator, who is also the
// last reader of postmaster's mail.
var ErrLastAdmin = errors.New("the last active administrator must stay one")

// did records an action.
func (a *Admin) did(actor, verb, account, reason string) {
	a.Events.Record(event.Event{Kind: event.Admin, Actor: actor, Verb: verb, Account: account, Reason: reason})
}

// onAccount runs fn in a transaction with the account of an address.
func (a *Admin) onAccount(ctx context.Context, address string, fn func(tx *db.Tx, acct directory.Account) error) error {
	addr, err := ParseAddress(address)
	if err != nil {
		return err
	}
	return a.DB.Write(ctx, func(tx *db.Tx) error {
		acct, err := a.Directory.AccountTx(tx, addr)
		if err != nil {
			return err
		}
		return fn(tx, acct)
	})
}

// onDomain is onAccount for domains.
func (a *Admin) onDomain(ctx context.Context, name string, fn func(tx *db.Tx, dom directory.Domain) error) error {
	d, err := mail.ParseDomain(name)
	if err != nil {
		return err
	}
	return a.DB.Write(ctx, func(tx *db.Tx) error {
		dom, err := a.Directory.DomainTx(tx, d)
		if err != nil {
			return err
		}
		return fn(tx, dom)
	})
}

// ParseAddress parses an address that must have a domain.
func ParseAddress(s string) (mail.Address, error) {
	addr, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}, fmt.Errorf("%q: %w", s, err)
	}
	if addr.Domain == "" {
		return mail.Address{}, fmt.Errorf("%q: %w: no domain", s, mail.ErrAddress)
	}
	return addr, nil
}
