package mailbox

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

func TestRights(t *testing.T) {
	for _, c := range []struct{ in, out, obsolete string }{
		{"", "", ""}, {"lrswipkxtea", "lrswipkxtea", "lrswipkxteacd"}, {"aetxkpiwsrl", "lrswipkxtea", "lrswipkxteacd"},
		{"lr", "lr", "lr"}, {"c", "kx", "kxc"}, {"d", "te", "ted"}, {"k", "k", "kc"}, {"t", "t", "td"}, {"lrswipcda", "lrswipkxtea", "lrswipkxteacd"}, {"rrr", "r", "r"},
	} {
		r, err := ParseRights(c.in)
		if err != nil || r.String() != c.out || r.Obsolete() != c.obsolete {
			t.Errorf("%q: %s, %s, %v", c.in, r, r.Obsolete(), err)
		}
	}
	for _, in := range []string{"0", "l r", "L", "z", "é"} {
		if _, err := ParseRights(in); !errors.Is(err, ErrRights) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// neighbour makes an account in the domain of another.
func neighbour(t testing.TB, s *Store, account int64) (id int64) {
	t.Helper()
	err := s.DB.Write(t.Context(), func(tx *db.Tx) (err error) {
		id, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed)
			SELECT domain, 'n' || addresskey, address, 1, 1 FROM account WHERE id = ? RETURNING id`, account)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func rights(t testing.TB, s *Store, f Folder, account int64) string {
	t.Helper()
	r, err := s.RightsOf(t.Context(), f, account)
	if err != nil {
		t.Fatal(err)
	}
	return r.String()
}

func shared(t testing.TB, s *Store, account int64) string {
	t.Helper()
	all, err := s.SharedWith(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, f := range all {
		out += fmt.Sprintf("%s=%s ", f.Name, f.Rights)
	}
	return out
}

// exactly gives rights whatever there were before.
func exactly(r Rights) func(Rights) Rights { return func(Rights) Rights { return r } }

func grant(t testing.TB, s *Store, f Folder, account int64, letters string) {
	t.Helper()
	r, err := ParseRights(letters)
	if err == nil {
		err = s.SetGrant(t.Context(), f.ID, account, exactly(r))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func testGrants(t *testing.T, s *Store) {
	owner := addAccount(t, s, "a", 0)
	near, far := neighbour(t, s, owner), addAccount(t, s, "far", 0)
	team, err := s.Create(t.Context(), owner, "team", "")
	if err != nil {
		t.Fatal(err)
	}
	grant(t, s, team, near, "w")
	grant(t, s, team, Anyone, "lr")
	grant(t, s, team, far, "p")
	for _, c := range []struct {
		account int64
		want    string
	}{{owner, "lrswipkxtea"}, {near, "lrw"}, {far, "p"}, {1 << 40, ""}} {
		if got := rights(t, s, team, c.account); got != c.want {
			t.Errorf("account %d has %q, want %q", c.account, got, c.want)
		}
	}
	if got := shared(t, s, near) + "|" + shared(t, s, far) + "|" + shared(t, s, owner); got != "team=lrw ||" {
		t.Errorf("shared: %q", got)
	}
	grants, err := s.Grants(t.Context(), team.ID)
	if err != nil || len(grants) != 3 || grants[0] != (Grant{Anyone, Lookup | ReadRight}) || grants[1] != (Grant{near, WriteFlags}) {
		t.Errorf("grants %+v, %v", grants, err)
	}
	for _, c := range []struct {
		account int64
		want    error
	}{{owner, ErrOwner}, {1 << 40, ErrNoAccount}} {
		if err := s.SetGrant(t.Context(), team.ID, c.account, exactly(AllRights)); !errors.Is(err, c.want) {
			t.Errorf("grant to %d: %v", c.account, err)
		}
	}
	if err := s.SetGrant(t.Context(), 1<<40, near, exactly(AllRights)); !errors.Is(err, ErrNoFolder) {
		t.Errorf("grant in no folder: %v", err)
	}
	if err := s.SetGrant(t.Context(), team.ID, Anyone, exactly(0)); err != nil || rights(t, s, team, near) != "w" {
		t.Errorf("after removal: %q, %v", rights(t, s, team, near), err)
	}
}

// testGrantsTogether: of changes at the same time none is lost.
func testGrantsTogether(t *testing.T, s *Store) {
	owner := addAccount(t, s, "a", 0)
	near := neighbour(t, s, owner)
	in := folder(t, s, owner, "")
	var all sync.WaitGroup
	for r := Lookup; r <= Administer; r <<= 1 {
		all.Go(func() {
			if err := s.SetGrant(t.Context(), in.ID, near, func(now Rights) Rights { return now | r }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := rights(t, s, in, near); got != AllRights.String() {
		t.Errorf("has %q", got)
	}
}

func testGrantsFollowFolder(t *testing.T, s *Store) {
	owner := addAccount(t, s, "a", 0)
	near := neighbour(t, s, owner)
	team, err := s.Create(t.Context(), owner, "team", "")
	if err != nil {
		t.Fatal(err)
	}
	grant(t, s, team, near, "lrk")
	for _, name := range []string{"team/x", "team/missing/y", "teamwork"} {
		if _, err := s.Create(t.Context(), owner, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := shared(t, s, near); got != "team=lrk team/missing/y=lrk team/x=lrk " {
		t.Errorf("shared: %q", got)
	}
	if err := s.Rename(t.Context(), owner, "team", "crew"); err != nil {
		t.Fatal(err)
	}
	if got := shared(t, s, near); got != "crew=lrk crew/missing/y=lrk crew/x=lrk " {
		t.Errorf("shared after renaming: %q", got)
	}
	if err := s.Delete(t.Context(), owner, "crew"); err != nil {
		t.Fatal(err)
	}
	if got := shared(t, s, near); got != "crew/missing/y=lrk crew/x=lrk " {
		t.Errorf("shared after deleting: %q", got)
	}
	if err := s.DB.Write(t.Context(), func(tx *db.Tx) error { return s.DeleteAll(tx, near) }); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM mailbox_grant WHERE grantee = ?`, near); n != 0 {
		t.Errorf("%d grants to an account that is gone", n)
	}
}

// Copies and moves between accounts are charged to whom they come to.
func testTransferBetweenAccounts(t *testing.T, s *Store) {
	one := int64(len(testPrefix) + len(testBody(1)))
	a, b := addAccount(t, s, "a", 0), addAccount(t, s, "b", 2*one)
	for range 3 {
		mustDeliver(t, s, a, "", testBody(1), 0)
	}
	from, to := folder(t, s, a, ""), folder(t, s, b, "")
	c, err := s.Copy(t.Context(), from.ID, to.ID, []Range{{1, 1}}, Shed{})
	if err != nil || len(c.To) != 1 || c.UIDValidity != to.UIDValidity {
		t.Fatalf("copy: %+v, %v", c, err)
	}
	if c, err = s.Move(t.Context(), from.ID, to.ID, []Range{{1, 1}}, Shed{}); err != nil || len(c.To) != 1 {
		t.Fatalf("move: %+v, %v", c, err)
	}
	for _, do := range []func() error{
		func() error { _, err := s.Move(t.Context(), from.ID, to.ID, All, Shed{}); return err },
		func() error { _, err := s.Copy(t.Context(), from.ID, to.ID, All, Shed{}); return err },
	} {
		if r := new(mail.Reply); !errors.As(do(), &r) || r.Enhanced != "4.2.2" {
			t.Error("a full account takes more")
		}
	}
	if _, err := s.Move(t.Context(), to.ID, from.ID, All, Shed{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		account int64
		want    Usage
	}{{a, Usage{Used: 4 * one, Messages: 4}}, {b, Usage{Limit: 2 * one}}} {
		if u, err := s.Usage(t.Context(), c.account); err != nil || u != c.want {
			t.Errorf("usage %+v, want %+v, %v", u, c.want, err)
		}
	}
	if text := text(t, s, from.ID, 5); text != testPrefix+testBody(1) {
		t.Errorf("text %q", text)
	}
}
