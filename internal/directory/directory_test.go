package directory

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// site is a directory with helpers that end the test when something fails.
type site struct {
	*Directory
	t testing.TB
}

func newSite(t testing.TB, d *db.DB) *site {
	b, err := bus.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{&Directory{DB: d, Bus: b}, t}
	t.Cleanup(func() { s.Close(); b.Close() })
	return s
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *site) do(fn func(tx *db.Tx) error) {
	s.t.Helper()
	if err := s.DB.Write(context.Background(), fn); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) domain(name string, set func(*DomainSettings)) (dom Domain) {
	s.t.Helper()
	settings := DefaultDomainSettings()
	if set != nil {
		set(&settings)
	}
	s.do(func(tx *db.Tx) (err error) {
		dom, err = s.CreateDomain(tx, mail.Domain(name), settings)
		return err
	})
	return dom
}

func (s *site) account(address string, set func(*Account)) (acct Account) {
	s.t.Helper()
	a := Account{Address: addr(s.t, address)}
	if set != nil {
		set(&a)
	}
	s.do(func(tx *db.Tx) (err error) {
		acct, err = s.CreateAccount(tx, a, Credential{})
		return err
	})
	return acct
}

func (s *site) forward(address, to string, keep bool) Account {
	return s.account(address, func(a *Account) {
		a.Forward, _ = ParseList(to)
		a.KeepCopy = keep
	})
}

func (s *site) alias(address, to string) {
	s.t.Helper()
	list, err := ParseList(to)
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(func(tx *db.Tx) error { return s.CreateAlias(tx, Alias{Address: addr(s.t, address), Targets: list}) })
}

// show writes a resolution shortly: the status, then a word a target.
func show(r Resolution) string {
	words := []string{r.Status.String()}
	for _, t := range r.Targets {
		w := "box:" + t.Owner.Wire
		if t.Account == 0 {
			w = "to:" + t.Forward.Wire
		}
		if t.Detail != "" {
			w += "[" + t.Detail + "]"
		}
		if t.Keeper != 0 {
			w += "(kept)"
		}
		if t.Relay {
			w += "(relay)"
		}
		if t.Reverse {
			w += "(reverse)"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func (s *site) want(address, want string) {
	s.t.Helper()
	a := mail.Address{}
	if address != "" {
		a = addr(s.t, address)
	}
	for range 2 { // from the database, from the cache
		r, err := s.Resolve(context.Background(), a)
		if got := show(r); err != nil || got != want {
			s.t.Errorf("%s: got %s, %v\nwant %s", address, got, err, want)
		}
	}
}

func TestResolve(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.SetRoutes(map[mail.Domain]Route{"any.test": {}, "listed.test": {Listed: true}, ".below.test": {}})
		s.domain("a.test", nil)
		s.domain("all.test", func(s *DomainSettings) { s.CatchAll, s.PlusSeparator = "bob@a.test", "" })
		s.domain("listed.test", nil)
		s.want("postmaster", "unknown")
		s.account("Bob@a.test", nil)
		s.account("gone@a.test", func(a *Account) { a.State = Blocked })
		s.account("boss@a.test", func(a *Account) { a.Admin = true })
		s.account("eve+x@a.test", nil)
		s.account("user@listed.test", nil)
		s.alias("self@listed.test", "self@listed.test")
		s.forward("out@a.test", "me@else.test", false)
		s.forward("both@a.test", "me@else.test", true)
		s.forward("near@a.test", "bob@a.test", false)
		s.forward("wrong@a.test", "nobody@a.test", false)
		s.forward("me@a.test", "me@a.test me@else.test", false)
		s.forward("ping@a.test", "pong@a.test", false)
		s.forward("pong@a.test", "ping@a.test", false)
		s.forward("behind@a.test", "x@any.test", false)
		s.alias("team@a.test", `bob@a.test out@a.test near@a.test x@else.test "odd one"@else.test`)
		s.alias("teams@a.test", "team@a.test both@a.test team@a.test")
		s.alias("old@a.test", "gone@a.test")
		s.alias("l1@a.test", "l2@a.test")
		s.alias("l2@a.test", "l1@a.test")

		for _, c := range [][2]string{
			{"", "not ours"},
			{"bob@b.test", "not ours"},
			{"bob@[192.0.2.1]", "not ours"},
			{"nobody@a.test", "unknown"},
			{"bob@a.test", "known box:Bob@a.test"},
			{"BOB@A.TEST", "known box:Bob@a.test"},
			{`"bob"@a.test`, "known box:Bob@a.test"},
			{"bob+Lists+2@a.test", "known box:Bob@a.test[Lists+2]"},
			{"+x@a.test", "unknown"},
			{"eve+x@a.test", "known box:eve+x@a.test"},
			{"eve@a.test", "unknown"},
			{"gone@a.test", "disabled"},
			{"gone+x@a.test", "disabled"},
			{"old@a.test", "disabled"},
			{"out@a.test", "known to:me@else.test(kept)"},
			{"both@a.test", "known to:me@else.test box:both@a.test"},
			{"near@a.test", "known box:Bob@a.test"},
			{"wrong@a.test", "known box:wrong@a.test"},
			{"me@a.test", "known to:me@else.test box:me@a.test"},
			{"ping@a.test", "known box:pong@a.test"},
			{"behind@a.test", "known to:x@any.test(relay)"},
			{"team@a.test", `known box:Bob@a.test to:me@else.test(kept) to:x@else.test to:"odd one"@else.test`},
			{"team+d@a.test", `known box:Bob@a.test[d] to:me@else.test(kept) to:x@else.test to:"odd one"@else.test`},
			{"teams@a.test", `known box:Bob@a.test to:me@else.test(kept) to:x@else.test to:"odd one"@else.test box:both@a.test`},
			{"l1@a.test", "unknown"},
			{"x@all.test", "known box:Bob@a.test"},
			{"bob+y@all.test", "known box:Bob@a.test"},
			{"postmaster@a.test", "known box:boss@a.test"},
			{"PostMaster@all.test", "known box:boss@a.test"},
			{"postmaster@listed.test", "known box:boss@a.test"},
			{"postmaster", "known box:boss@a.test"},
			{"Anybody@any.test", "known to:Anybody@any.test(relay)"},
			{"postmaster@any.test", "known to:postmaster@any.test(relay)"},
			{"x@deep.below.test", "known to:x@deep.below.test(relay)"},
			{"x@below.test", "not ours"},
			{"User+q@listed.test", "known to:User+q@listed.test(relay)"},
			{"self@listed.test", "known to:self@listed.test(relay)"},
			{"none@listed.test", "unknown"},
		} {
			s.want(c[0], c[1])
		}
	})
}

func TestPostmasterIsAlwaysRead(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		dom := s.domain("a.test", func(s *DomainSettings) { s.Postmaster = "pm@a.test" })
		bob := s.account("bob@a.test", nil)
		s.want("postmaster@a.test", "known box:bob@a.test") // for want of an administrator
		s.account("boss@a.test", func(a *Account) { a.Admin = true })
		s.want("postmaster@a.test", "known box:boss@a.test")
		pm := s.account("pm@a.test", nil)
		s.want("postmaster@a.test", "known box:pm@a.test")
		pm.State = Blocked
		s.do(func(tx *db.Tx) error { return s.SetAccount(tx, pm) })
		s.want("postmaster@a.test", "known box:boss@a.test")
		s.alias("postmaster@a.test", "bob@a.test")
		s.want("postmaster@a.test", "known box:bob@a.test")
		bob.State = Blocked
		s.do(func(tx *db.Tx) error { return s.SetAccount(tx, bob) })
		s.want("postmaster@a.test", "known box:boss@a.test")
		s.do(func(tx *db.Tx) error { return s.DeleteAlias(tx, addr(t, "postmaster@a.test")) })
		dom.Settings.Postmaster = "out@else.test"
		s.do(func(tx *db.Tx) error { return s.SetDomain(tx, dom) })
		s.want("postmaster@a.test", "known to:out@else.test")
	})
}

func TestTooDeep(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", nil)
	s.account("a0@a.test", nil)
	for i := 1; i <= maxDepth+1; i++ {
		s.alias(fmt.Sprintf("a%d@a.test", i), fmt.Sprintf("a%d@a.test", i-1))
	}
	s.want("a10@a.test", "known box:a0@a.test")
	if _, err := s.Resolve(context.Background(), addr(t, "a11@a.test")); err == nil || !strings.Contains(err.Error(), "too far") {
		t.Errorf("depth %d: %v", maxDepth+1, err)
	}
}

func TestQuotaIsFresh(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.domain("a.test", func(s *DomainSettings) { s.DefaultQuota = 5 * Megabyte })
		own := s.account("own@a.test", func(a *Account) { a.Quota = 2 * Megabyte })
		s.account("default@a.test", nil)
		s.account("free@a.test", func(a *Account) { a.Quota = NoQuota })
		for address, quota := range map[string]int64{"own@a.test": 2 * Megabyte, "default@a.test": 5 * Megabyte, "free@a.test": 0} {
			r, err := s.Resolve(context.Background(), addr(t, address))
			if err != nil || r.Targets[0].Quota != quota {
				t.Errorf("%s: quota %v, %v, want %d", address, r.Targets, err, quota)
			}
		}
		// What the mailbox does, without a notice.
		s.do(func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE account SET used = ? WHERE id = ?`, 2*Megabyte, own.ID)
			return err
		})
		s.used.keep, s.used.young, s.used.old = 0, map[int64]cached[int64]{}, nil
		r, err := s.Resolve(context.Background(), addr(t, "own@a.test"))
		if err != nil || !r.Targets[0].Full(1) || r.Targets[0].Full(0) {
			t.Errorf("full mailbox: %+v, %v", r, err)
		}
	})
}

func TestChangesReachOtherProcesses(t *testing.T) {
	d := dbtest.SQLite(t)
	b, err := bus.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	one, two := &site{&Directory{DB: d, Bus: b}, t}, &site{&Directory{DB: d, Bus: b}, t}
	defer one.Close()
	defer two.Close()
	one.domain("a.test", nil)
	two.want("bob@a.test", "unknown")
	one.account("bob@a.test", nil)
	two.want("bob@a.test", "known box:bob@a.test")
}

func TestOwns(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", nil)
	bob := s.account("bob@a.test", nil)
	s.forward("eve@a.test", "bob@a.test", false)
	out := s.forward("out@a.test", "x@else.test", false)
	s.alias("team@a.test", "eve@a.test bob@a.test")
	s.alias("sales@a.test", "eve@a.test")
	for _, c := range []struct {
		account int64
		address string
		want    bool
	}{
		{bob.ID, "Bob@a.test", true}, {bob.ID, "bob+x@a.test", true}, {bob.ID, "team@a.test", true},
		{bob.ID, "eve@a.test", false}, {bob.ID, "sales@a.test", false}, {bob.ID, "bob@b.test", false},
		{out.ID, "out@a.test", true}, {out.ID, "x@else.test", false}, {0, "x@else.test", false},
	} {
		if got, err := s.Owns(context.Background(), c.account, addr(t, c.address)); got != c.want || err != nil {
			t.Errorf("%d owns %s: %v, %v", c.account, c.address, got, err)
		}
	}
}

func TestAccountRules(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		dom := s.domain("a.test", func(s *DomainSettings) { s.MaxAccounts = 2 })
		bob := s.account("bob@a.test", nil)
		s.alias("al@a.test", "bob@a.test")
		ctx := context.Background()
		refused := func(what string, want error, fn func(tx *db.Tx) error) {
			t.Helper()
			if err := d.Write(ctx, fn); err == nil || !strings.Contains(err.Error(), want.Error()) {
				t.Errorf("%s: %v", what, err)
			}
		}
		create := func(a Account) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { _, err := s.CreateAccount(tx, a, Credential{}); return err }
		}
		refused("twice", ErrExists, create(Account{Address: addr(t, "BOB@a.test")}))
		refused("an alias", ErrExists, create(Account{Address: addr(t, "al@a.test")}))
		refused("no domain", ErrNotFound, create(Account{Address: addr(t, "x@b.test")}))
		refused("SRS", ErrInvalid, create(Account{Address: addr(t, "srs0=x@a.test")}))
		refused("odd quota", ErrInvalid, create(Account{Address: addr(t, "x@a.test"), Quota: 5}))
		refused("bad name", ErrInvalid, create(Account{Address: addr(t, "x@a.test"), Name: "a\nb"}))
		refused("domain in use", ErrInUse, func(tx *db.Tx) error { return s.DeleteDomain(tx, dom) })
		refused("alias of account", ErrExists, func(tx *db.Tx) error {
			return s.CreateAlias(tx, Alias{Address: bob.Address, Targets: []mail.Address{bob.Address}})
		})
		s.account("eve@a.test", nil)
		refused("too many", ErrInvalid, create(Account{Address: addr(t, "x@a.test")}))
		s.do(func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO mailbox (account, name, uidvalidity, created) VALUES (?, 'INBOX', 1, 1)`, bob.ID)
			return err
		})
		refused("with mail", ErrInUse, func(tx *db.Tx) error { return s.DeleteAccount(tx, bob) })
		page, err := s.Accounts(ctx, "a.test", "bob@a.test", 10)
		if err != nil || len(page) != 1 || page[0].Address.Wire != "eve@a.test" {
			t.Errorf("page: %v, %v", page, err)
		}
		s.do(func(tx *db.Tx) error {
			if _, err := tx.Exec(`DELETE FROM mailbox`); err != nil {
				return err
			}
			if err := s.DeleteAccount(tx, bob); err != nil {
				return err
			}
			return s.DeleteAccount(tx, page[0])
		})
		s.do(func(tx *db.Tx) error { return s.DeleteDomain(tx, dom) })
		s.want("bob@a.test", "not ours")
	})
}

func TestKeysAndSecrets(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		ctx := context.Background()
		dom := s.domain("a.test", nil)
		s.do(func(tx *db.Tx) error {
			return s.AddDKIMKey(tx, dom.ID, DKIMKey{Selector: "one", Algorithm: "rsa-sha256", Private: "x", Active: true})
		})
		keys, err := s.SigningKeys(ctx, "a.test")
		if err != nil || len(keys) != 1 {
			t.Fatalf("keys %v, %v", keys, err)
		}
		s.do(func(tx *db.Tx) error { return s.ActivateDKIMKey(tx, dom.ID, "one", false) })
		if keys, err = s.SigningKeys(ctx, "a.test"); err != nil || len(keys) != 0 {
			t.Fatalf("deactivated: %v, %v", keys, err)
		}
		if keys, err = s.SigningKeys(ctx, "b.test"); err != nil || len(keys) != 0 {
			t.Fatalf("no domain: %v, %v", keys, err)
		}
		one, err := s.Secret(ctx, "x", 20)
		other := newSite(t, d)
		two, err2 := other.Secret(ctx, "x", 20)
		if err != nil || err2 != nil || len(one) != 20 || string(one) != string(two) {
			t.Fatalf("secrets %x %x, %v %v", one, two, err, err2)
		}
	})
}

func TestMasquerade(t *testing.T) {
	m := Masquerade{Hosts: []mail.Domain{"a.test"}, Exposed: []string{"root"}}
	for from, want := range map[string]string{
		"bob@host.a.test": "bob@a.test", "bob@a.test": "bob@a.test", "root@host.a.test": "root@host.a.test",
		"bob@nota.test": "bob@nota.test",
	} {
		if got := m.Rewrite(addr(t, from), "a.test"); got.Wire != want {
			t.Errorf("%s became %s", from, got)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int, int](100, cacheTime)
	c.put(-1, 0, 7)
	for i := range 10_000 {
		c.put(i, 0, i)
		if v, ok := c.get(-1, 0); !ok || v != 7 {
			t.Fatalf("what is asked for often was lost after %d", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 201 {
		t.Errorf("%d entries", n)
	}
	if _, ok := c.get(-1, 1); ok {
		t.Error("an entry outlived its generation")
	}
}

func BenchmarkResolve(b *testing.B) {
	s := newSite(b, dbtest.SQLite(b))
	s.domain("a.test", nil)
	s.account("bob@a.test", nil)
	s.account("quota@a.test", func(a *Account) { a.Quota = Megabyte })
	for _, name := range []string{"bob@a.test", "nobody@a.test", "quota@a.test"} {
		a := addr(b, name)
		b.Run("cached/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Resolve(context.Background(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("fresh/"+name, func(b *testing.B) {
			for b.Loop() {
				s.generation.Add(1)
				if _, err := s.Resolve(context.Background(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestMailbox(t *testing.T) {
	d := dbtest.SQLite(t)
	s := newSite(t, d)
	s.SetRoutes(map[mail.Domain]Route{"any.test": {}})
	s.domain("a.test", nil)
	s.domain("all.test", func(s *DomainSettings) { s.CatchAll = "bob@a.test" })
	s.account("bob@a.test", nil)
	s.account("amy@a.test", nil)
	s.forward("out@a.test", "Me@else.test", false)
	s.alias("sales@a.test", "bob@a.test")
	s.alias("team@a.test", "bob@a.test amy@a.test")
	s.alias("crew@a.test", "amy@a.test sales@a.test")
	s.alias("away@a.test", "me@else.test")
	of := func(address string) string {
		r, err := s.Resolve(t.Context(), addr(t, address))
		if err != nil {
			t.Fatal(err)
		}
		return r.Mailbox()
	}
	for _, c := range [][]string{
		{"bob@a.test", "BOB@a.test", "bob+x@a.test", "sales@a.test", "whoever@all.test"},
		{"amy@a.test"},
		{"team@a.test", "crew@a.test"},
		{"out@a.test", "away@a.test"},
	} {
		for _, other := range c {
			if of(other) != of(c[0]) || of(other) == "" {
				t.Errorf("%s reaches %q, %s %q", other, of(other), c[0], of(c[0]))
			}
		}
	}
	if a, b, c := of("bob@a.test"), of("amy@a.test"), of("team@a.test"); a == b || a == c || b == c {
		t.Errorf("bob, amy and both are %q, %q and %q", a, b, c)
	}
	for _, address := range []string{"x@any.test", "nobody@a.test", "x@elsewhere.test"} {
		if got := of(address); got != "" {
			t.Errorf("%s reaches %q", address, got)
		}
	}
}
