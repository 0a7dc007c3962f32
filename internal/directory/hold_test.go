package directory

import (
	"context"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestHoldSending(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		dir, ctx := &Directory{DB: d}, context.Background()
		t.Cleanup(dir.Close)
		var acct Account
		write := func(fn func(tx *db.Tx) error) {
			t.Helper()
			if err := d.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		write(func(tx *db.Tx) (err error) {
			if _, err = dir.CreateDomain(tx, "a.test", DefaultDomainSettings()); err != nil {
				return err
			}
			acct, err = dir.CreateAccount(tx, Account{Address: mail.MakeAddress("x", "a.test")}, Credential{Hash: "one"})
			return err
		})
		at := time.UnixMilli(1_800_000_000_000)
		h := Hold{Since: at, Until: at.Add(time.Hour), Reason: "412 recipients"}
		hold := func(h Hold) (held bool) {
			t.Helper()
			write(func(tx *db.Tx) (err error) { held, err = dir.HoldSending(tx, acct.ID, h); return err })
			return held
		}
		look := func() Account {
			t.Helper()
			a, err := dir.AccountByID(ctx, acct.ID)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if !hold(h) || hold(h) {
			t.Error("not held, or held twice")
		}
		a := look()
		if a.Hold != h || !a.Hold.Active(at) || a.Hold.Active(h.Until) {
			t.Errorf("%+v", a.Hold)
		}
		if over, err := dir.HoldsOver(ctx, at); len(over) != 0 || err != nil {
			t.Errorf("over: %v, %v", over, err)
		}
		if over, err := dir.HoldsOver(ctx, h.Until); len(over) != 1 || err != nil {
			t.Errorf("over: %v, %v", over, err)
		}
		write(func(tx *db.Tx) error { return dir.SetCredential(tx, a, Credential{Hash: "two"}) })
		if b := look(); b.Hold != (Hold{}) || b.SameCredential(a) {
			t.Errorf("after a new password: %+v", b.Hold)
		}
		if !hold(h) {
			t.Error("not held again")
		}
		write(func(tx *db.Tx) error { return dir.ReleaseSending(tx, a, at.Add(time.Hour)) })
		if b := look(); !b.Hold.Until.IsZero() || !b.Hold.Vouched.Equal(at.Add(time.Hour)) || hold(h) {
			t.Errorf("vouched for: %+v", look().Hold)
		}
		h.Since, h.Until = at.Add(2*time.Hour), at.Add(3*time.Hour)
		if !hold(h) {
			t.Error("vouched for too long")
		}
	})
}
