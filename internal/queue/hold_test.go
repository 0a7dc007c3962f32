package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// heldQueue gives a queue with mail of account 2, some old, some of it held by
// an operator, some new, and of account 3; then account 2 is held.
func heldQueue(t *testing.T, d *db.DB) *Queue {
	t.Helper()
	q := newQueue(t, d)
	first := add(t, q, "x", now, "r/old@a.test", "r/held@a.test")
	add(t, q, "x", now, "r/new@a.test")
	other := add(t, q, "x", now, "r/other@a.test")
	write(t, d, func(tx *db.Tx) (int64, error) {
		return tx.Exec(`UPDATE queue_message SET created = created - 7200000 WHERE id = ?`, first)
	})
	write(t, d, func(tx *db.Tx) (int64, error) {
		return tx.Exec(`UPDATE queue_message SET account = 3 WHERE id = ?`, other)
	})
	if n, err := q.Hold(ctx, Selection{Address: "held@a.test"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n := write(t, d, func(tx *db.Tx) (int64, error) { return q.HoldAccount(tx, 2, now.Add(-time.Hour)) }); n != 2 {
		t.Errorf("%d held", n)
	}
	return q
}

func write(t *testing.T, d *db.DB, fn func(tx *db.Tx) (int64, error)) (n int64) {
	t.Helper()
	if err := d.Write(ctx, func(tx *db.Tx) (err error) { n, err = fn(tx); return err }); err != nil {
		t.Fatal(err)
	}
	return n
}

// wantHolders compares "name state holder" of all recipients.
func wantHolders(t *testing.T, q *Queue, want string) {
	t.Helper()
	items, err := q.List(ctx, Selection{}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		out = append(out, strings.TrimSpace(fmt.Sprint(it.Local, " ", it.State, " ", it.Holder)))
	}
	if got := strings.Join(out, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHoldAccount(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := heldQueue(t, d)
		wantHolders(t, q, "old held account, held held, new held suspect, other waiting")
		if ids, err := q.HeldAccounts(ctx); err != nil || len(ids) != 1 || ids[0] != 2 {
			t.Errorf("held accounts %v, %v", ids, err)
		}
		if n := write(t, d, func(tx *db.Tx) (int64, error) { return q.ReleaseAccount(tx, 2, ByAccount) }); n != 1 {
			t.Errorf("%d released", n)
		}
		wantHolders(t, q, "old waiting, held held, new held suspect, other waiting")
		if n, err := q.Release(ctx, Selection{Account: 2}); n != 2 || err != nil {
			t.Error(n, err)
		}
		wantHolders(t, q, "old waiting, held waiting, new waiting, other waiting")
	})
}

func TestSelectHeld(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := heldQueue(t, d)
		for s, n := range map[Selection]int{{Account: 2}: 3, {Account: 3}: 1, {Holder: Suspect}: 1, {Account: 3, Holder: Suspect}: 0, {Holder: ByAccount}: 1} {
			if l, err := q.List(ctx, s, 0, 10); len(l) != n || err != nil {
				t.Errorf("%+v: %d, %v", s, len(l), err)
			}
		}
		if f, err := q.Forsaken(ctx, now, 10); len(f) != 0 || err != nil {
			t.Errorf("forsaken too early: %v, %v", f, err)
		}
		if f, err := q.Forsaken(ctx, now.Add(time.Hour), 10); len(f) != 1 || err != nil {
			t.Errorf("forsaken: %v, %v", f, err)
		}
	})
}
