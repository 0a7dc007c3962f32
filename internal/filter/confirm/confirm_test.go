package confirm

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// An address to confirm at is good for one account and one sender only.
func TestDetail(t *testing.T) {
	f := &Filter{Secret: []byte("secret")}
	x, y := mail.MakeAddress("x", "far.test"), mail.MakeAddress("y", "far.test")
	to := filter.Recipient{Account: "ann@a.test", Detail: strings.ToUpper(f.Detail("ann@a.test", x.Key()))}
	if !f.Answers(to, x) {
		t.Error("the answer is not known")
	}
	other := to
	other.Account = "bob@a.test"
	if f.Answers(to, y) || f.Answers(other, x) || (&Filter{Secret: []byte("another")}).Answers(to, x) || f.Answers(filter.Recipient{Account: "ann@a.test"}, x) {
		t.Error("an answer is taken from or for another")
	}
}

// Whoever has confirmed, was written to or is allowed is known; others are told,
// to those alone who do not know them.
func TestCheck(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		dir := &directory.Directory{DB: d}
		defer dir.Close()
		var ann, bob directory.Account
		err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			if _, err = dir.CreateDomain(tx, "a.test", directory.DefaultDomainSettings()); err != nil {
				return err
			}
			if ann, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("ann", "a.test")}, directory.Credential{}); err != nil {
				return err
			}
			if bob, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("bob", "a.test")}, directory.Credential{}); err != nil {
				return err
			}
			return dir.ListSender(tx, bob.ID, directory.ListedSender{Pattern: "far.test", Action: "allow"})
		})
		if err != nil {
			t.Fatal(err)
		}
		f := &Filter{Store: &Store{DB: d}, Secret: []byte("secret"), Proven: func(context.Context, *filter.Message) []string { return []string{"far.test"} }}
		told := func() (out string) {
			t.Helper()
			m, err := filter.FromBytes(filter.Envelope{From: mail.MakeAddress("x", "far.test")}, []byte("From: X@far.test\r\n\r\nHello\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			to := []filter.Recipient{{ID: ann.ID, Account: "ann@a.test"}, {ID: bob.ID, Account: "bob@a.test"}, {}}
			r := (&filter.Pipeline{Filters: []filter.Filter{f}}).Run(t.Context(), m, to, func(int, string) bool { return true })
			for _, findings := range r.Findings {
				for _, found := range findings {
					out += found.Symbol
				}
				out += "/"
			}
			return out
		}
		if got := told(); got != "CONFIRM_UNKNOWN///" {
			t.Errorf("at first: %s", got)
		}
		key := mail.MakeAddress("X", "far.test").Key()
		for _, want := range []bool{true, false} {
			if news, err := f.Store.Know(t.Context(), ann.ID, key); news != want || err != nil {
				t.Errorf("known: news is %v, %v", news, err)
			}
		}
		if got := told(); got != "///" {
			t.Errorf("once known: %s", got)
		}
		for i := range 2 * MaxToOne {
			var a directory.Account
			err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
				a, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress(fmt.Sprintf("u%d", i), "a.test")}, directory.Credential{})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if may, err := f.Store.MayAsk(t.Context(), a.ID, "one@far.test"); may != (i < MaxToOne) || err != nil {
				t.Errorf("question %d to one sender: %v %v", i+1, may, err)
			}
		}
		if may, err := f.Store.MayAsk(t.Context(), ann.ID, key); may || err != nil {
			t.Errorf("one who is known may be asked: %v %v", may, err)
		}
	})
}
