package admin

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/event/query"
	"github.com/migiwa/migiwa/internal/event/story"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

type office struct {
	*Admin
	t   *testing.T
	dir string
}

func newOffice(t *testing.T, d *db.DB) *office {
	dir := t.TempDir()
	events, err := event.Open(event.Options{Dir: dir, Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{&Admin{DB: d, Directory: &directory.Directory{DB: d}, Events: events}, t, dir}
	t.Cleanup(func() { events.Close(); o.Directory.Close() })
	return o
}

// journal closes the journal and gives its events as "kind verb account reason".
func (o *office) journal() []string {
	o.t.Helper()
	o.Events.Close()
	var out []string
	for _, e := range eventtest.Events(o.t, o.dir) {
		if e.Actor != "root" {
			o.t.Errorf("event without its actor: %+v", e)
		}
		out = append(out, strings.Join([]string{string(e.Kind), e.Verb, e.Account, e.Reason}, "|"))
	}
	return out
}

func (o *office) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) refused(err error, words ...string) {
	o.t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			o.t.Errorf("got %v, want %q in it", err, w)
		}
	}
}

func TestDomainIsCreatedWhole(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		o, ctx := newOffice(t, d), context.Background()
		_, err := o.CreateDomain(ctx, "root", "Example.TEST.")
		o.ok(err)
		_, err = o.CreateDomain(ctx, "root", "example.test")
		o.refused(err, "domain example.test: exists already")
		_, err = o.CreateDomain(ctx, "root", "[192.0.2.1]")
		o.refused(err, "literal")
		_, err = o.AddAccount(ctx, "root", "boss@example.test", "secret", []string{"admin=yes"})
		o.ok(err)
		for _, role := range append([]string{"postmaster"}, directory.Roles...) {
			r, err := o.Directory.Resolve(ctx, mail.MakeAddress(role, "example.test"))
			if err != nil || r.Status != directory.Known || r.Targets[0].Owner.Local != "boss" {
				t.Errorf("%s: %+v, %v", role, r, err)
			}
		}
		keys, err := o.Directory.SigningKeys(ctx, "example.test")
		if err != nil || len(keys) != 2 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		selector, err := o.AddDKIMKey(ctx, "root", "example.test", senderauth.Ed25519)
		o.ok(err)
		if !strings.HasSuffix(selector, "-2") {
			t.Errorf("selector %s", selector)
		}
		o.ok(o.ActivateDKIMKey(ctx, "root", "example.test", selector, true))
		if keys, _ = o.Directory.SigningKeys(ctx, "example.test"); len(keys) != 3 {
			t.Errorf("%d keys after activation", len(keys))
		}
		o.ok(o.DeleteDKIMKey(ctx, "root", "example.test", selector))
		o.refused(o.DeleteDKIMKey(ctx, "root", "example.test", selector), "does not exist")
		o.refused(o.DeleteDomain(ctx, "root", "example.test"), "still in use by 1 accounts")
	})
}

func TestRecordsAreValidZoneText(t *testing.T) {
	o, ctx := newOffice(t, dbtest.SQLite(t)), context.Background()
	_, err := o.CreateDomain(ctx, "root", "example.test")
	o.ok(err)
	records, err := o.Records(ctx, "example.test", "mx.example.test", Ports{Submission: 587, Submissions: 465, POP3S: 995})
	o.ok(err)
	count := map[string]int{}
	for _, r := range records {
		rr, err := dns.NewRR(r.String())
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		count[r.Type]++
		switch rr := rr.(type) {
		case *dns.TXT:
			if got := strings.Join(rr.Txt, ""); got != r.Value {
				t.Errorf("%s reads as %s", r, got)
			}
		case *dns.SRV:
			if strings.HasPrefix(rr.Hdr.Name, "_imaps.") != (rr.Target == ".") {
				t.Errorf("%s", r)
			}
		}
	}
	if count["MX"] != 1 || count["TXT"] != 4 || count["SRV"] != 4 {
		t.Errorf("%v", count)
	}
}

func TestAccountActions(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		o, ctx := newOffice(t, d), context.Background()
		_, err := o.CreateDomain(ctx, "root", "a.test")
		o.ok(err)
		_, err = o.AddAccount(ctx, "root", "boss@a.test", "secret", []string{"admin=yes", "quota=2GB"})
		o.ok(err)
		_, err = o.AddAccount(ctx, "root", "bob", "x", nil)
		o.refused(err, "bob", "invalid mail address")
		o.ok(o.SetAccount(ctx, "root", "BOSS@a.test", []string{"name=The Boss", "quota=2048MB", "password=other"}))
		if _, err := o.Directory.Verify(ctx, "boss@a.test", "other"); err != nil {
			t.Error(err)
		}
		o.refused(o.SetAccount(ctx, "root", "boss@a.test", []string{"name=X", "color=red"}), `"color"`, "quota, forward_to")
		o.refused(o.SetAccount(ctx, "root", "boss@a.test", []string{"name"}), "KEY=VALUE")
		o.refused(o.SetAccount(ctx, "root", "boss@a.test", []string{"quota=-5"}), "quota=-5", "size|default|none")
		o.refused(o.SetAccount(ctx, "root", "none@a.test", []string{"name=x"}), "none@a.test", "does not exist")
		if a, _ := o.Account(ctx, "boss@a.test"); a.Name != "The Boss" {
			t.Errorf("half of a refused change was made: %+v", a)
		}
		for _, err := range []error{
			o.DisableAccount(ctx, "root", "boss@a.test"), o.DeleteAccount(ctx, "root", "boss@a.test"),
			o.SetAccount(ctx, "root", "boss@a.test", []string{"admin=no"}),
		} {
			if !errors.Is(err, ErrLastAdmin) {
				t.Errorf("last administrator: %v", err)
			}
		}
		_, err = o.ImportAccounts(ctx, "root", strings.NewReader("address,state\nboss@a.test,disabled\n"), directory.Import{})
		if !errors.Is(err, ErrLastAdmin) {
			t.Errorf("last administrator by import: %v", err)
		}
		_, err = o.ImportAccounts(ctx, "root", strings.NewReader("address\nbob@a.test\n"), directory.Import{})
		o.ok(err)
		o.ok(o.DisableAccount(ctx, "root", "bob@a.test"))
		o.ok(o.EnableAccount(ctx, "root", "bob@a.test"))
		o.ok(o.ExportAccounts(ctx, "root", &bytes.Buffer{}, "a.test"))
		o.refused(o.ExportAccounts(ctx, "root", &bytes.Buffer{}, "b.test"), "does not exist")
		deleted := int64(0)
		o.DeleteMail = func(tx *db.Tx, account int64) error { deleted = account; return nil }
		o.ok(o.DeleteAccount(ctx, "root", "bob@a.test"))
		if deleted == 0 {
			t.Error("mail was left")
		}
		want := []string{
			"admin|domain add||a.test",
			"admin|account add|boss@a.test|",
			`setting|name|boss@a.test|"" to "The Boss"`,
			"setting|password|boss@a.test|changed",
			"admin|account import||1 added, 0 changed, 0 as they were",
			`setting|state|bob@a.test|"active" to "disabled"`,
			`setting|state|bob@a.test|"disabled" to "active"`,
			"admin|account export||a.test",
			"admin|account delete|bob@a.test|0 messages, 0 octets",
		}
		if got := o.journal(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("journal:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestAliasActions(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		o, ctx := newOffice(t, d), context.Background()
		_, err := o.CreateDomain(ctx, "root", "a.test")
		o.ok(err)
		_, err = o.AddAccount(ctx, "root", "bob@a.test", "", nil)
		o.ok(err)
		o.ok(o.AddAlias(ctx, "root", "team@a.test", []string{"bob@a.test", "x@else.test"}))
		o.refused(o.AddAlias(ctx, "root", "team@a.test", []string{"bob@a.test"}), "alias team@a.test: exists already")
		o.refused(o.AddAlias(ctx, "root", "bob@a.test", []string{"x@else.test"}), "account bob@a.test: exists already")
		o.refused(o.AddAlias(ctx, "root", "typo@a.test", []string{"bbo@a.test"}), "bbo@a.test", "nobody has this address")
		o.refused(o.AddAlias(ctx, "root", "self@a.test", []string{"self@a.test"}), "nobody has this address")
		o.refused(o.AddAlias(ctx, "root", "x@b.test", []string{"bob@a.test"}), "domain b.test: does not exist")
		o.refused(o.AddAlias(ctx, "root", "x@a.test", nil), "at least one target")
		n := 0
		o.ok(o.Aliases(ctx, "a.test", func(directory.Alias) error { n++; return nil }))
		if n != 1+len(directory.Roles) {
			t.Errorf("%d aliases", n)
		}
		o.ok(o.DeleteAlias(ctx, "root", "TEAM@a.test"))
		o.refused(o.DeleteAlias(ctx, "root", "team@a.test"), "does not exist")
		o.ok(o.SetDomain(ctx, "root", "a.test", []string{"catch_all=bob@a.test", "masquerade_hosts=a.test int.test", "plus_separator=off"}))
		o.refused(o.SetDomain(ctx, "root", "a.test", []string{"catch_all=", "postmaster=nobody@a.test"}), "nobody has this address")
		o.refused(o.SetDomain(ctx, "root", "a.test", []string{"sender_mode=maybe"}), "record|force")
		o.refused(o.SetDomain(ctx, "root", "a.test", []string{"unsigned_bounces=refuse"}), "accept|label|tempfail")
		since := func() time.Time {
			dom, err := o.Domain(ctx, "a.test")
			o.ok(err)
			return dom.Settings.BouncesSigned
		}
		o.ok(o.SetDomain(ctx, "root", "a.test", []string{"sign_bounces=yes"}))
		first := since()
		if age := time.Since(first); age < 0 || age > time.Minute {
			t.Errorf("signed since %v", first)
		}
		o.ok(o.SetDomain(ctx, "root", "a.test", []string{"sign_bounces=yes", "unsigned_bounces=accept"}))
		if again := since(); !again.Equal(first) {
			t.Errorf("what was on began anew at %v", again)
		}
		o.ok(o.SetDomain(ctx, "root", "a.test", []string{"sign_bounces=no"}))
		if !since().IsZero() {
			t.Error("still signed")
		}
		digit, err := o.RotateBounceKey(ctx, "root")
		o.ok(err)
		_, err = o.RotateBounceKey(ctx, "root")
		if digit != 0 {
			t.Errorf("the first key is %d", digit)
		}
		o.refused(err, "not a day old")
	})
}

// TestSettingsRoundTrip: what a setting shows, it takes, and nothing else
// changes.
func TestSettingsRoundTrip(t *testing.T) {
	values := map[string][]string{
		"name": {"", "A = B"}, "state": {"active", "disabled"}, "admin": {"yes", "no"}, "log": {"yes", "no"}, "keep_copy": {"yes", "no"},
		"quota": {"default", "none", "1MB", "1500MB", "3GB", "2TB"}, "forward_to": {"", `a@b.test "c d"@e.test`},
	}
	for _, s := range AccountSettings {
		if s.Doc == "" || s.Type == "" {
			t.Errorf("%s is not described", s.Name)
		}
		if _, shown := s.Value(directory.Account{}); !shown {
			continue
		}
		if len(values[s.Name]) == 0 {
			t.Errorf("%s is not tested", s.Name)
		}
		for _, v := range values[s.Name] {
			var a directory.Account
			err := s.parse(&a, v)
			if got, _ := s.Value(a); err != nil || got != v {
				t.Errorf("%s=%s shows as %s, %v", s.Name, v, got, err)
			}
		}
	}
	values = map[string][]string{
		"catch_all": {"", "a@b.test"}, "default_quota": {"none", "5GB"}, "max_accounts": {"0", "7"},
		"plus_separator": {"+", "off", "-"}, "sender_mode": {"record", "force"}, "masquerade_hosts": {"", "a.test b.test"},
		"masquerade_envelope": {"yes", "no"}, "masquerade_exposed": {"", "root daemon"}, "postmaster": {"", "a@b.test"},
		"sign_bounces": {"yes", "no"}, "unsigned_bounces": {"accept", "label", "tempfail"},
	}
	for _, s := range DomainSettings {
		if s.Doc == "" || s.Type == "" || len(values[s.Name]) == 0 {
			t.Errorf("%s is not described or not tested", s.Name)
		}
		for _, v := range values[s.Name] {
			d := directory.DefaultDomainSettings()
			err := s.parse(&d, v)
			if got, _ := s.Value(d); err != nil || got != v || d.Check() != nil {
				t.Errorf("%s=%s shows as %s, %v, %v", s.Name, v, got, err, d.Check())
			}
		}
	}
}

func TestReleaseAccount(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		o, ctx := newOffice(t, d), context.Background()
		o.Queue = &queue.Queue{DB: d}
		_, err := o.CreateDomain(ctx, "root", "example.test")
		o.ok(err)
		acct, err := o.AddAccount(ctx, "root", "taro@example.test", "secret", nil)
		o.ok(err)
		o.ok(d.Write(ctx, func(tx *db.Tx) error {
			now := time.Now()
			_, err := o.Directory.HoldSending(tx, acct.ID, directory.Hold{Since: now, Until: now.Add(time.Hour), Reason: "412 recipients"})
			return err
		}))
		o.ok(o.ReleaseAccount(ctx, "root", "taro@example.test"))
		after, err := o.Account(ctx, "taro@example.test")
		o.ok(err)
		if h := after.Hold; h.Active(time.Now()) || time.Until(h.Vouched) < directory.VouchTime-time.Minute {
			t.Errorf("%+v", h)
		}
		o.refused(o.ReleaseAccount(ctx, "root", "nobody@example.test"), "does not exist")
		if j := o.journal(); j[len(j)-1] != "admin|account release|taro@example.test|vouched for; 0 recipients released; held because of: 412 recipients" {
			t.Errorf("%q", j)
		}
	})
}

// TestReadingEventsIsARight: without the setting log an account reads nothing
// but its own mail, and each try is told.
func TestReadingEventsIsARight(t *testing.T) {
	o := newOffice(t, dbtest.SQLite(t))
	o.Log = &archive.Archive{Journal: o.dir}
	_, err := o.CreateDomain(t.Context(), "root", "example.test")
	o.ok(err)
	_, err = o.AddAccount(t.Context(), "root", "taro@example.test", "long enough a password", nil)
	o.ok(err)
	_, err = o.AddAccount(t.Context(), "root", "hanako@example.test", "long enough a password", nil)
	o.ok(err)
	for _, to := range []string{"taro@example.test", "hanako@example.test", "nobody@example.test"} {
		o.Events.Record(event.Event{Kind: event.Rcpt, Actor: "root", Role: "mx", Trace: mail.TraceID("t" + to[:4]), From: "<x@b.test>", To: to, Code: 451})
	}
	o.Events.Close()
	q, err := query.Parse("to:*@example.test", time.Now())
	o.ok(err)
	count := 0
	search := func(account string) error {
		count = 0
		_, err := o.SearchLog(t.Context(), LogReader{Actor: "root", Account: account}, q, 0, func(event.Event) error {
			count++
			return nil
		})
		return err
	}
	if err := search("taro@example.test"); !errors.Is(err, ErrLogRight) || count != 0 {
		t.Errorf("without the right: %d events, %v", count, err)
	}
	o.ok(o.SetAccount(t.Context(), "root", "taro@example.test", []string{"log=yes"}))
	if err := search("taro@example.test"); err != nil || count != 3 {
		t.Errorf("with the right: %d events, %v", count, err)
	}
	for question, want := range map[string]int{"to hanako@example.test": 1, "from x@b.test": 1, "thana": 1, "ttaro": 0, "tnobo": 0, "tnone": 0} {
		stories, err := o.OwnTrace(t.Context(), "hanako@example.test", question, time.Now())
		if len(stories) != want || (want == 0) != errors.Is(err, story.ErrNothing) {
			t.Errorf("own trace of %q: %d stories, %v", question, len(stories), err)
		}
	}
}
