package directory

import (
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestFormerAddressesAreRemembered(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.domain("here.test", nil)
		acct := s.account("left@here.test", nil)
		s.account("stays@here.test", nil)
		s.alias("old@here.test", "stays@here.test")
		former := func(a string, want bool) {
			t.Helper()
			r, err := s.Resolve(t.Context(), addr(t, a))
			if err != nil || r.Former != want {
				t.Errorf("%s: former %v, %v; want %v", a, r.Former, err, want)
			}
		}
		former("left@here.test", false)
		s.do(func(tx *db.Tx) error { return s.DeleteAccount(tx, acct) })
		s.do(func(tx *db.Tx) error { return s.DeleteAlias(tx, addr(t, "old@here.test")) })
		former("left@here.test", true)
		former("LEFT+list@here.test", true)
		former("prvs=0123abcdef=left+list@here.test", true)
		former("old@here.test", true)
		former("never@here.test", false)
		former("stays@here.test", false)
		s.account("left@here.test", nil)
		former("left@here.test", false)
	})
}
