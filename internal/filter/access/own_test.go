package access

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// TestOwn: each account has its own list beside that of the site, and a change
// holds at once.
func TestOwn(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		dir := &directory.Directory{DB: d}
		defer dir.Close()
		var ann, bob directory.Account
		write := func(f func(tx *db.Tx) error) error { return d.Write(t.Context(), f) }
		err := write(func(tx *db.Tx) (err error) {
			if _, err = dir.CreateDomain(tx, "a.test", directory.DefaultDomainSettings()); err != nil {
				return err
			}
			if ann, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("ann", "a.test")}, directory.Credential{}); err != nil {
				return err
			}
			bob, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("bob", "a.test")}, directory.Credential{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		list := func(pattern string, action Action) error {
			return write(func(tx *db.Tx) error {
				return dir.ListSender(tx, ann.ID, directory.ListedSender{Pattern: pattern, Action: string(action), At: time.UnixMilli(1), By: "ann@a.test"})
			})
		}
		own := &Own{Directory: dir, Site: lists{0: parse(t, "From:far.test REJECT\n")}}
		if err := list("far.test", Allow); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(list("far.test", Block), list("192.0.2.0/24", Block), list("friend@far.test", Allow)); err != nil {
			t.Fatal(err)
		}
		for account, want := range map[int64]string{ann.ID: "block allow block", bob.ID: "  ", 0: "block block "} {
			l, err := own.Lookup(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			x, _ := l.Sender(address(t, "x@far.test"))
			friend, _ := l.Sender(address(t, "friend@far.test"))
			client, _ := l.Client("", netip.MustParseAddr("192.0.2.9"))
			if got := fmt.Sprintf("%s %s %s", x.Action, friend.Action, client.Action); got != want {
				t.Errorf("account %d: %q, want %q", account, got, want)
			}
		}
		if senders, err := dir.ListedSenders(t.Context(), ann.ID); err != nil || len(senders) != 3 || senders[1] != (directory.ListedSender{Pattern: "far.test", Action: "block", At: time.UnixMilli(1), By: "ann@a.test"}) {
			t.Errorf("%+v %v", senders, err)
		}
		forget := func() error {
			return write(func(tx *db.Tx) error { return dir.UnlistSender(tx, ann.ID, "far.test") })
		}
		if err := forget(); err != nil {
			t.Fatal(err)
		}
		if err := forget(); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("forgotten twice: %v", err)
		}
		if l, _ := own.Lookup(t.Context(), ann.ID); l.Len() != 2 {
			t.Errorf("%d entries after one of three was forgotten", l.Len())
		}
		for i := range directory.MaxListedSenders - 2 {
			if err := list(fmt.Sprintf("x%d.test", i), Block); err != nil {
				t.Fatal(err)
			}
		}
		if err := list("toomuch.test", Block); !errors.Is(err, directory.ErrInvalid) {
			t.Errorf("more than may be: %v", err)
		}
		if err := list("x1.test", Allow); err != nil {
			t.Errorf("changing a full list: %v", err)
		}
	})
}

func TestSenderEntry(t *testing.T) {
	for pattern, want := range map[string]Tag{"a@b.test": From, "b.test": From, "192.0.2.1": Connect, "2001:db8::/32": Connect} {
		if e, err := SenderEntry(pattern, Block); err != nil || e.Tag != want {
			t.Errorf("%s: %+v %v", pattern, e, err)
		}
	}
	for _, pattern := range []string{"", "a b", "@", "192.0.2.1/24", "a@@b"} {
		if e, err := SenderEntry(pattern, Block); err == nil {
			t.Errorf("%q is taken as %+v", pattern, e)
		}
	}
}
