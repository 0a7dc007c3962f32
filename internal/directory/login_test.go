package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func (s *site) password(acct Account, password string) Credential {
	s.t.Helper()
	c, is, err := ImportHash(password)
	if !is && err == nil {
		c, err = s.Hash(context.Background(), password)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(func(tx *db.Tx) error { return s.SetCredential(tx, acct, c) })
	return c
}

func TestVerify(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := newSite(t, d)
		s.domain("a.test", nil)
		bob := s.account("Bob@a.test", nil)
		s.password(bob, "pässword")
		s.account("none@a.test", nil)
		off := s.account("off@a.test", func(a *Account) { a.State = Blocked })
		s.password(off, "right")
		for _, c := range []struct {
			login, password string
			good            bool
		}{
			{"bob@a.test", "pässword", true}, {"BOB", "pässword", true}, {"bob@A.test", "pa\u0308ssword", true},
			{"bob@a.test", "password", false}, {"bob@a.test", "", false}, {"bob@a.test", "a\x00b", false},
			{"nobody@a.test", "x", false}, {"none@a.test", "", false}, {"none@a.test", "x", false},
			{"off@a.test", "right", false}, {"", "x", false}, {"@", "x", false}, {"bob@b.test", "pässword", false},
			{"bob+x@a.test", "pässword", false}, {"bob@a.test", strings.Repeat("x", maxPassword+1), false},
		} {
			for range 2 {
				acct, err := s.Verify(ctx, c.login, c.password)
				if good := err == nil; good != c.good || good && acct.ID != bob.ID || !good && !errors.Is(err, ErrLogin) {
					t.Errorf("%q %q: %v, %v", c.login, c.password, acct.Address, err)
				}
			}
		}
		// A verified password is remembered; what changes the account ends that.
		start := time.Now()
		for range 100 {
			if _, err := s.Verify(ctx, "bob", "pässword"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("100 remembered logins took %v", took)
		}
		s.password(bob, "other")
		if _, err := s.Verify(ctx, "bob", "pässword"); !errors.Is(err, ErrLogin) {
			t.Errorf("old password: %v", err)
		}
		if _, err := s.Verify(ctx, "bob", "other"); err != nil {
			t.Errorf("new password: %v", err)
		}
		bob.State = Blocked
		s.do(func(tx *db.Tx) error { return s.SetAccount(tx, bob) })
		if _, err := s.Verify(ctx, "bob", "other"); !errors.Is(err, ErrLogin) {
			t.Errorf("disabled meanwhile: %v", err)
		}
	})
}

// TestUnknownCostsTheSame measures: a login that does not exist must not be
// answered sooner than a wrong password.
func TestUnknownCostsTheSame(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", nil)
	s.password(s.account("bob@a.test", nil), "right")
	least := func(login string) time.Duration {
		best := time.Hour
		for range 8 {
			start := time.Now()
			s.Verify(context.Background(), login, "wrong")
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := least("bob@a.test"), least("nobody@a.test")
	if ratio := float64(known) / float64(unknown); ratio > 2 || ratio < 0.5 {
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}

func TestHashingWaitsItsTurn(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.open()
	for range cap(s.hashing) {
		s.hashing <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Verify(ctx, "x@a.test", "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// Hashes made by openssl and by glibc's and libxcrypt's crypt, and argon2's
// own test vectors.
func TestImportedHashes(t *testing.T) {
	long := "pässword-long-" + strings.Repeat("q", 80)
	for _, c := range []struct{ hash, password string }{
		{"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"$5$abc$sCOGUciM.GdmYMCUvmUcgu03oRH87O0clF96.9mwWGB", "x"},
		{"$6$rounds=1400$anotherlongsalt$4AuCqBGDrUo7etBHnFOp99kIQ41fEOpYK6zepJkx8VnhZS9ReGCnDTluwDGy2CaqpibvdYY7/bDS94rnprT3k1", long},
		{"$5$rounds=77777$s$nYV130NbQgJZ7OdN5m./LJfgkbQeM9H9savyjampPc3", "short"},
		{"$5$rounds=1000$roundstoolow$Cy2ASlcFEvQK6wFGYMmHB7IoH60qhPgf.iAlKQuRbO8", "This is a longer password text for the sha256 variant"},
		{"$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", "secret"},
		{"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
		{"$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"},
	} {
		for _, prefix := range []string{"", "{CRYPT}"} {
			got, is, err := ImportHash(prefix + c.hash)
			if err != nil || !is || got.Hash != c.hash {
				t.Errorf("%s: %v, %v", c.hash, is, err)
				continue
			}
		}
		v := verifier(c.hash)
		if err := v(c.hash, []byte(c.password)); err != nil {
			t.Errorf("%s: %v", c.hash, err)
		}
		if err := v(c.hash, []byte(c.password+"x")); !errors.Is(err, errMismatch) {
			t.Errorf("%s with a wrong password: %v", c.hash, err)
		}
	}
	for _, bad := range []string{
		"$6$", "$6$salt$short", "$5$rounds=9999999$s$nYV130NbQgJZ7OdN5m./LJfgkbQeM9H9savyjampPc3",
		"$2b$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", "$2b$05$abc",
		"$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=1,q=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	} {
		if _, is, err := ImportHash(bad); err == nil || !is {
			t.Errorf("%s was taken", bad)
		}
	}
	for _, plain := range []string{"secret", "$ecret", "{x}y", "{", "$1$abc$def"} {
		if _, is, err := ImportHash(plain); err != nil || is {
			t.Errorf("%s is plain: %v", plain, err)
		}
	}
}

func TestImportedHashIsRenewed(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := newSite(t, d)
		s.domain("a.test", nil)
		bob := s.account("bob@a.test", nil)
		s.password(bob, "$5$abc$sCOGUciM.GdmYMCUvmUcgu03oRH87O0clF96.9mwWGB")
		if _, err := s.Verify(ctx, "bob", "y"); !errors.Is(err, ErrLogin) {
			t.Fatal(err)
		}
		if _, keys, err := s.Scram(ctx, "bob"); err != nil || len(keys.Salt) != scramSalt {
			t.Fatalf("%v %v", keys, err)
		}
		if _, err := s.Verify(ctx, "bob", "x"); err != nil {
			t.Fatal(err)
		}
		now, err := s.Account(ctx, bob.Address)
		if err != nil || !strings.HasPrefix(now.credential.Hash, argonPrefix) || now.credential.SCRAM == "" {
			t.Fatalf("%+v, %v", now.credential, err)
		}
		if _, err := s.Verify(ctx, "bob", "x"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestScram runs the whole exchange with another implementation's client.
func TestScram(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, dbtest.SQLite(t))
	s.domain("a.test", nil)
	bob := s.account("bob@a.test", nil)
	s.password(bob, "pencil")
	exchange := func(password string) error {
		client, err := scram.SHA256.NewClient("bob@a.test", password, "")
		if err != nil {
			return err
		}
		server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
			_, k, err := s.Scram(ctx, name)
			return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
				StoredKey: k.StoredKey, ServerKey: k.ServerKey}, err
		})
		if err != nil {
			return err
		}
		c, v := client.NewConversation(), server.NewConversation()
		text := ""
		for !c.Done() {
			if text, err = c.Step(text); err != nil {
				return err
			}
			if c.Done() {
				break
			}
			if text, err = v.Step(text); err != nil {
				return err
			}
		}
		return nil
	}
	if err := exchange("pencil"); err != nil {
		t.Errorf("right password: %v", err)
	}
	if err := exchange("pen"); err == nil {
		t.Error("wrong password went through")
	}
	_, real, err := s.Scram(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	bob.State = Blocked
	s.do(func(tx *db.Tx) error { return s.SetAccount(tx, bob) })
	acct, off, err := s.Scram(ctx, "bob")
	if err != nil || acct.ID != 0 || string(off.Salt) != string(real.Salt) || off.Iterations != real.Iterations {
		t.Errorf("disabled: %v %v %v", acct, off, err)
	}
	if err := exchange("pencil"); err == nil {
		t.Error("a disabled account went through")
	}
	var salts []string
	for _, name := range []string{"nobody", "Nobody@a.test", "nobody@A.TEST"} {
		acct, fake, err := s.Scram(ctx, name)
		if err != nil || acct.ID != 0 || fake.Iterations != real.Iterations || len(fake.Salt) != len(real.Salt) ||
			len(fake.StoredKey) != sha256.Size || len(fake.ServerKey) != sha256.Size {
			t.Errorf("%s: %v, %v", name, fake, err)
		}
		salts = append(salts, string(fake.Salt))
	}
	if salts[0] != salts[1] || salts[1] != salts[2] {
		t.Error("the fake salt depends on how a name is written; a real one does not")
	}
}
