package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// town is a site with some accounts.
type town struct {
	t        *testing.T
	store    *Store
	accounts []int64
}

func newTown(t *testing.T, d *db.DB, n int) *town {
	t.Helper()
	dir := &directory.Directory{DB: d}
	t.Cleanup(dir.Close)
	v := &town{t: t, store: &Store{DB: d}}
	v.write(func(tx *db.Tx) error {
		if _, err := dir.CreateDomain(tx, "a.test", directory.DefaultDomainSettings()); err != nil {
			return err
		}
		for i := range n {
			a, err := dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress(fmt.Sprintf("u%d", i), "a.test")}, directory.Credential{})
			if err != nil {
				return err
			}
			v.accounts = append(v.accounts, a.ID)
		}
		return nil
	})
	return v
}

func (v *town) write(f func(tx *db.Tx) error) {
	v.t.Helper()
	if err := v.store.DB.Write(v.t.Context(), f); err != nil {
		v.t.Fatal(err)
	}
}

// says has an account speak so many times.
func (v *town) says(account int, name string, spam, ham float64) {
	v.t.Helper()
	v.write(func(tx *db.Tx) error { return Add(tx, v.accounts[account], []string{name}, spam, ham) })
	v.store.known = nil
}

// finds gives what the filter says of mail from 198.51.100.9 that far.test is
// proven to have sent.
func (v *town) finds() string {
	v.t.Helper()
	m, err := filter.FromBytes(filter.Envelope{Client: netip.MustParseAddr("198.51.100.9")}, []byte("From: x@far.test\r\n\r\nHello\r\n"))
	if err != nil {
		v.t.Fatal(err)
	}
	f := &Filter{Store: v.store, Proven: func(context.Context, *filter.Message) []string { return []string{"mail.far.test", "far.test"} }}
	r := (&filter.Pipeline{Filters: []filter.Filter{f}}).Run(v.t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	if len(r.Failures) > 0 {
		v.t.Fatal(r.Failures)
	}
	var out []string
	for _, found := range r.Findings[0] {
		out = append(out, fmt.Sprintf("%s %.1f", found.Symbol, found.Score))
	}
	return strings.Join(out, " ")
}

// One account makes no reputation, however often it speaks; several do, and time
// takes it away.
func TestReputation(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		v := newTown(t, d, 5)
		want := func(want string) {
			t.Helper()
			if got := v.finds(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		want("")
		for range 30 {
			v.says(0, "domain:far.test", 1, 0)
		}
		want("")
		v.says(1, "domain:far.test", 1, 0)
		v.says(2, "domain:far.test", 1, 0)
		want("REPUTATION_BAD 2.4")
		v.says(3, "domain:far.test", 1, 0)
		v.says(4, "domain:far.test", 1, 0)
		want("REPUTATION_BAD 2.9")
		for i := range 5 {
			v.says(i, "domain:far.test", 0, 20)
		}
		want("REPUTATION_GOOD -1.0")
		v.write(func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE reputation SET at = ?`, time.Now().Add(-9*half).UnixMilli())
			return err
		})
		v.store.known = nil
		want("")
	})
}

// A network counts less than a domain that is proven.
func TestNetwork(t *testing.T) {
	v := newTown(t, dbtest.SQLite(t), 5)
	for i := range 5 {
		v.says(i, "net:198.51.100.0/24", 1, 0)
	}
	if got := v.finds(); got != "REPUTATION_BAD 1.7" {
		t.Error(got)
	}
}

// Mail that is left in the INBOX speaks for its source, quietly, and what was
// counted is taken back.
func TestDelivered(t *testing.T) {
	v := newTown(t, dbtest.SQLite(t), 3)
	for i, account := range v.accounts {
		v.says(i, "domain:far.test", 1, 0)
		for range 30 {
			v.store.Delivered(account, []string{"domain:far.test"})
		}
	}
	v.store.Delivered(99, []string{"domain:far.test"}) // an account that is gone
	if err := v.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.store.known = nil
	voices, err := v.store.Voices(t.Context(), "domain:far.test")
	if err != nil || voices.Ham < 2.2 || voices.Ham > 2.3 || voices.Spam < 0.7 || voices.Spam > 0.8 {
		t.Errorf("%+v %v", voices, err)
	}
	for i := range v.accounts {
		v.says(i, "domain:far.test", -1, -3)
	}
	if voices, err = v.store.Voices(t.Context(), "domain:far.test"); err != nil || voices.Ham > 0.01 || voices.Spam > 0.01 {
		t.Errorf("taken back: %+v %v", voices, err)
	}
}

func TestStoredSources(t *testing.T) {
	received := mail.Received{Helo: "mx.far.test", IP: netip.MustParseAddr("198.51.100.9"), By: "mx.here.test", With: "ESMTP", ID: "T1", Date: time.Unix(0, 0)}
	six := received
	six.IP = netip.MustParseAddr("2001:db8:1:2::3")
	const results = "Authentication-Results: mx.here.test;\r\n\tspf=pass smtp.helo=mx.far.test smtp.mailfrom=x@bounce.far.test;\r\n\tdkim=fail header.d=evil.test;\r\n\tdkim=pass header.d=esp.test;\r\n\tdmarc=pass header.from=far.test\r\n"
	for _, test := range []struct{ prefix, want string }{
		{results + received.Field(), "domain:far.test domain:esp.test net:198.51.100.0/24"},
		{six.Field(), "net:2001:db8:1::/48"},
		{"Authentication-Results: mx.here.test;\r\n\tspf=fail smtp.mailfrom=x@far.test\r\n" + received.Field(), "net:198.51.100.0/24"},
		{"", ""},
		{"Received: from x ([127.0.0.1]) by y; z\r\n", ""},
		{"Received: from x ([::ffff:10.0.0.1]) by y; z\r\n", ""},
	} {
		if got := strings.Join(Stored([]byte(test.prefix)), " "); got != test.want {
			t.Errorf("%q: %q, want %q", test.prefix, got, test.want)
		}
	}
}
