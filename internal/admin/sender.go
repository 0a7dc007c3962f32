package admin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Senders gives an account's own list of senders.
func (a *Admin) Senders(ctx context.Context, address string) ([]directory.ListedSender, error) {
	acct, err := a.Account(ctx, address)
	if err != nil {
		return nil, err
	}
	return a.Directory.ListedSenders(ctx, acct.ID)
}

// ListSender allows or blocks a sender for an account: an address, a domain or
// a network. What that does is up to the mode of the filter "access".
func (a *Admin) ListSender(ctx context.Context, actor, address, pattern string, action access.Action) error {
	pattern = strings.ToLower(strings.TrimSpace(pattern))
	if _, err := access.SenderEntry(pattern, action); err != nil {
		return fmt.Errorf("%w: %w", directory.ErrInvalid, err)
	}
	return a.changeSender(ctx, actor, address, pattern, string(action), func(tx *db.Tx, account int64) error {
		return a.Directory.ListSender(tx, account, directory.ListedSender{Pattern: pattern, Action: string(action), At: time.Now(), By: actor})
	})
}

// ForgetSender takes a sender from an account's list.
func (a *Admin) ForgetSender(ctx context.Context, actor, address, pattern string) error {
	pattern = strings.ToLower(strings.TrimSpace(pattern))
	return a.changeSender(ctx, actor, address, pattern, "forget", func(tx *db.Tx, account int64) error {
		return a.Directory.UnlistSender(tx, account, pattern)
	})
}

func (a *Admin) changeSender(ctx context.Context, actor, address, pattern, verb string, change func(*db.Tx, int64) error) error {
	acct, err := a.Account(ctx, address)
	if err != nil {
		return err
	}
	if err := a.Directory.DB.Write(ctx, func(tx *db.Tx) error { return change(tx, acct.ID) }); err != nil {
		return err
	}
	a.Events.Record(event.Event{Kind: event.Setting, Actor: actor, Account: acct.Address.Key(), Verb: "sender " + verb, Reason: pattern})
	return nil
}
