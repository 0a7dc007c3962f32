package directory

import (
	"maps"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestConsent(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) { testConsent(t, &Directory{DB: d}) })
}

func testConsent(t *testing.T, dir *Directory) {
	defer dir.Close()
	ctx := t.Context()
	var ann, bob Account
	set := func(c Consent) (changed bool) {
		t.Helper()
		c.At, c.By, c.Via = time.UnixMilli(1000), "ann@a.test", "command"
		err := dir.DB.Write(ctx, func(tx *db.Tx) (err error) { changed, err = dir.SetConsent(tx, c); return err })
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	err := dir.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if _, err = dir.CreateDomain(tx, "a.test", DefaultDomainSettings()); err != nil {
			return err
		}
		if ann, err = dir.CreateAccount(tx, Account{Address: mail.MakeAddress("ann", "a.test")}, Credential{}); err != nil {
			return err
		}
		bob, err = dir.CreateAccount(tx, Account{Address: mail.MakeAddress("bob", "a.test")}, Credential{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := func(account int64, domain mail.Domain, want map[string]string) {
		t.Helper()
		got, err := dir.Consents(ctx, account, domain)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("account %d of %s: %v, %v; want %v", account, domain, got, err, want)
		}
	}
	want(ann.ID, "a.test", map[string]string{})
	if !set(Consent{Subject: "a.test", Filter: "link", New: "junk"}) {
		t.Error("the first change is none")
	}
	set(Consent{Account: ann.ID, Subject: "ann@a.test", Filter: "link", New: "off"})
	if set(Consent{Account: ann.ID, Subject: "ann@a.test", Filter: "link", New: "off"}) {
		t.Error("the same again is a change")
	}
	want(0, "a.test", map[string]string{"link": "junk"})
	want(0, "b.test", map[string]string{})
	want(ann.ID, "a.test", map[string]string{"link": "off"})
	want(bob.ID, "a.test", map[string]string{"link": "junk"})
	set(Consent{Account: ann.ID, Subject: "ann@a.test", Filter: "link", New: ""})
	want(ann.ID, "a.test", map[string]string{"link": "junk"})

	history, err := dir.ConsentHistory(ctx, "ann@a.test")
	if err != nil || len(history) != 2 {
		t.Fatalf("history: %v, %v", history, err)
	}
	if c := history[1]; c.Old != "off" || c.New != "" || c.By != "ann@a.test" || c.Via != "command" || !c.At.Equal(time.UnixMilli(1000)) {
		t.Errorf("the last change: %+v", c)
	}
	if all, err := dir.ConsentHistory(ctx, ""); err != nil || len(all) != 3 {
		t.Errorf("all: %v, %v", all, err)
	}
}
