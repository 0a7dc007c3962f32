package directory

import (
	"context"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// holder is one account to hold.
type holder struct {
	t   *testing.T
	dir *Directory
	id  int64
}

func newHolder(t *testing.T, d *db.DB) *holder {
	h := &holder{t: t, dir: &Directory{DB: d}}
	t.Cleanup(h.dir.Close)
	h.write(func(tx *db.Tx) error {
		if _, err := h.dir.CreateDomain(tx, "a.test", DefaultDomainSettings()); err != nil {
			return err
		}
		acct, err := h.dir.CreateAccount(tx, Account{Address: mail.MakeAddress("x", "a.test")}, Credential{Hash: "one"})
		h.id = acct.ID
		return err
	})
	return h
}

func (h *holder) write(fn func(tx *db.Tx) error) {
	h.t.Helper()
	if err := h.dir.DB.Write(context.Background(), fn); err != nil {
		h.t.Fatal(err)
	}
}

func (h *holder) hold(what Hold) (held bool) {
	h.t.Helper()
	h.write(func(tx *db.Tx) (err error) { held, err = h.dir.HoldSending(tx, h.id, what); return err })
	return held
}

func (h *holder) look() Account {
	h.t.Helper()
	a, err := h.dir.AccountByID(context.Background(), h.id)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// over counts the holds that are over at a time.
func (h *holder) over(at time.Time) int {
	h.t.Helper()
	over, err := h.dir.HoldsOver(context.Background(), at)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(over)
}

func TestHoldSending(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHolder(t, d)
		at := time.UnixMilli(1_800_000_000_000)
		hold := Hold{Since: at, Until: at.Add(time.Hour), Reason: "412 recipients"}
		if !h.hold(hold) || h.hold(hold) {
			t.Error("not held, or held twice")
		}
		a := h.look()
		if a.Hold != hold || !a.Hold.Active(at) || a.Hold.Active(hold.Until) {
			t.Errorf("%+v", a.Hold)
		}
		if h.over(at) != 0 || h.over(hold.Until) != 1 {
			t.Errorf("%d over at once, %d at the end", h.over(at), h.over(hold.Until))
		}
		h.write(func(tx *db.Tx) error { return h.dir.SetCredential(tx, a, Credential{Hash: "two"}) })
		if b := h.look(); b.Hold != (Hold{}) || b.SameCredential(a) {
			t.Errorf("after a new password: %+v", b.Hold)
		}
		if !h.hold(hold) {
			t.Error("not held again")
		}
		h.write(func(tx *db.Tx) error { return h.dir.ReleaseSending(tx, a, at.Add(time.Hour)) })
		if b := h.look(); !b.Hold.Until.IsZero() || !b.Hold.Vouched.Equal(at.Add(time.Hour)) || h.hold(hold) {
			t.Errorf("vouched for: %+v", h.look().Hold)
		}
		hold.Since, hold.Until = at.Add(2*time.Hour), at.Add(3*time.Hour)
		if !h.hold(hold) {
			t.Error("vouched for too long")
		}
	})
}
