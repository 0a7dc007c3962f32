package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestHoldAccount(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		first := add(t, q, "x", now, "r/old@a.test", "r/held@a.test")
		add(t, q, "x", now, "r/new@a.test")
		other := add(t, q, "x", now, "r/other@a.test")
		err := d.Write(ctx, func(tx *db.Tx) error {
			if _, err := tx.Exec(`UPDATE queue_message SET created = created - 7200000 WHERE id = ?`, first); err != nil {
				return err
			}
			_, err := tx.Exec(`UPDATE queue_message SET account = 3 WHERE id = ?`, other)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := q.Hold(ctx, Selection{Address: "held@a.test"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		state := func() string {
			items, err := q.List(ctx, Selection{}, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, it := range items {
				out = append(out, strings.TrimSpace(fmt.Sprint(it.Local, " ", it.State, " ", it.Holder)))
			}
			return strings.Join(out, ", ")
		}
		want := func(what, want string) {
			t.Helper()
			if got := state(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		write := func(fn func(tx *db.Tx) (int64, error)) (n int64) {
			t.Helper()
			if err := d.Write(ctx, func(tx *db.Tx) (err error) { n, err = fn(tx); return err }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := write(func(tx *db.Tx) (int64, error) { return q.HoldAccount(tx, 2, now.Add(-time.Hour)) }); n != 2 {
			t.Errorf("%d held", n)
		}
		want("held", "old held account, held held, new held suspect, other waiting")
		if ids, err := q.HeldAccounts(ctx); err != nil || len(ids) != 1 || ids[0] != 2 {
			t.Errorf("held accounts %v, %v", ids, err)
		}
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
		if n := write(func(tx *db.Tx) (int64, error) { return q.ReleaseAccount(tx, 2, ByAccount) }); n != 1 {
			t.Errorf("%d released", n)
		}
		want("released", "old waiting, held held, new held suspect, other waiting")
		if n, err := q.Release(ctx, Selection{Account: 2}); n != 2 || err != nil {
			t.Error(n, err)
		}
		want("released by an operator", "old waiting, held waiting, new waiting, other waiting")
	})
}
