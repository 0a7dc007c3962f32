package mx_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/store/db"
)

// mark is a filter that finds its own name in messages, and counts for whom it
// was called.
type mark struct {
	name  string
	score float64

	mu     sync.Mutex
	called []string
}

func (m *mark) Name() string { return m.name }

func (m *mark) Check(_ context.Context, msg *filter.Message, r *filter.Report) error {
	whole, err := msg.Open()
	if err != nil {
		return err
	}
	defer whole.Close()
	raw, err := io.ReadAll(whole)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, to := range r.Recipients {
		m.called = append(m.called, to.Account)
		if strings.Contains(string(raw), m.name) && strings.Contains(msg.Text(), m.name) {
			r.AddFor(to.Index, mail.Finding{Symbol: strings.ToUpper(m.name), Score: m.score, Evidence: "it says so"})
		}
	}
	return nil
}

// filtered is a site with two marks, and accounts with modes of their own.
func filtered(t *testing.T, modes map[string]map[string]filter.Mode) (*site, *mark, *mark) {
	t.Helper()
	weak, strong := &mark{name: "weak", score: 7}, &mark{name: "strong", score: 50}
	return filteredBy(t, modes, weak, strong), weak, strong
}

// filteredBy is a site with some filters, all label unless an account says
// otherwise.
func filteredBy(t *testing.T, modes map[string]map[string]filter.Mode, filters ...filter.Filter) *site {
	t.Helper()
	s := newSite(t, nil)
	s.handler.Filters = &receive.Filters{Pipeline: &filter.Pipeline{Filters: filters},
		Default: func(string) filter.Mode { return filter.Label }}
	dir := s.handler.Directory
	err := dir.DB.Write(t.Context(), func(tx *db.Tx) error {
		for name, set := range modes {
			a := directory.Account{Address: mail.MakeAddress(name, "here.test")}
			id, err := dir.CreateAccount(tx, a, directory.Credential{})
			if err != nil {
				return err
			}
			for f, mode := range set {
				c := directory.Consent{At: time.Now(), Account: id.ID, Subject: a.Address.Key(), Filter: f, New: mode.String(), By: "test"}
				if _, err := dir.SetConsent(tx, c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send gives the reply to a message for some users of here.test.
func (s *site) send(text string, to ...string) string {
	s.t.Helper()
	c := s.dial("198.51.100.1")
	defer c.close()
	c.say("MAIL FROM:<a@sender.test>")
	for _, name := range to {
		if got := c.say("RCPT TO:<" + name + "@here.test>"); !strings.HasPrefix(got, "250") {
			s.t.Fatalf("RCPT %s: %s", name, got)
		}
	}
	c.say("DATA")
	return c.say(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n.")
}

// copyOf gives the folder and the text of the only message of an account.
func (s *site) copyOf(name string) (folder, text string) {
	s.t.Helper()
	ctx := context.Background()
	a, err := s.handler.Directory.Account(ctx, mail.MakeAddress(name, "here.test"))
	if err != nil {
		s.t.Fatal(err)
	}
	folders, err := s.handler.Intake.Mailboxes.Folders(ctx, a.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range folders {
		if f.Messages == 0 {
			continue
		}
		c, err := s.handler.Intake.Mailboxes.Open(ctx, f.ID, 1)
		if err != nil {
			s.t.Fatal(err)
		}
		raw, err := io.ReadAll(c)
		if err != nil {
			s.t.Fatal(err)
		}
		c.Close()
		return f.Name, string(raw)
	}
	return "", ""
}

// One message for recipients who have all chosen differently: each copy is as
// its owner wants it, and a filter that is off has not run for him.
func TestEachRecipientHasHisFilters(t *testing.T) {
	users := map[string]map[string]filter.Mode{
		"off":     {"weak": filter.Off, "strong": filter.Off},
		"nothing": {"weak": filter.Nothing, "strong": filter.Nothing},
		"usual":   nil,
		"junk":    {"weak": filter.Junk, "strong": filter.Off},
		"apart":   {"weak": filter.Label, "strong": filter.Quarantine},
		"later":   {"weak": filter.Off, "strong": filter.Tempfail},
	}
	s, weak, strong := filtered(t, users)
	const text = "From: a@sender.test\nX-Migiwa-Finding: FORGED; 0.0; by a stranger\n" +
		"Authentication-Results: mx.HERE.test (really) 1; dmarc=pass\nAuthentication-Results: elsewhere.test; spf=pass\nSubject: x\n\nweak and strong\n"
	if got := s.send(text, "off", "nothing", "usual", "junk", "apart", "later"); !strings.HasPrefix(got, "250") {
		t.Fatalf("message: %s", got)
	}
	for name, want := range map[string]struct{ folder, has, hasNot string }{
		"off":     {"INBOX", "", "WEAK STRONG"},
		"nothing": {"INBOX", "", "WEAK STRONG"},
		"usual":   {"INBOX", "WEAK STRONG", ""},
		"junk":    {"Junk", "WEAK", "STRONG"},
		"apart":   {"Quarantine", "WEAK STRONG", ""},
		"later":   {"Quarantine", "STRONG", "WEAK"},
	} {
		folder, text := s.copyOf(name)
		if folder != want.folder {
			t.Errorf("%s: in %q, want %q", name, folder, want.folder)
		}
		for _, symbol := range strings.Fields(want.has) {
			if !strings.Contains(text, "X-Migiwa-Finding: "+symbol+"; ") {
				t.Errorf("%s: no %s in %s", name, symbol, text)
			}
		}
		for _, symbol := range strings.Fields(want.hasNot + " FORGED") {
			if strings.Contains(text, "X-Migiwa-Finding: "+symbol+"; ") {
				t.Errorf("%s: %s in %s", name, symbol, text)
			}
		}
		if strings.Contains(text, "dmarc=pass") || !strings.Contains(text, "spf=pass") {
			t.Errorf("%s: results of checks: %s", name, text)
		}
		if !strings.HasSuffix(text, "Subject: x\r\n\r\nweak and strong\r\n\r\n") {
			t.Errorf("%s: the message itself has changed: %q", name, text)
		}
	}
	for m, users := range map[*mark]string{weak: "nothing usual junk apart", strong: "nothing usual apart later"} {
		got := strings.Join(m.called, " ")
		want := strings.ReplaceAll(users, " ", "@here.test ") + "@here.test"
		if got != want {
			t.Errorf("%s was called for %q, want %q", m.name, got, want)
		}
	}
}

func TestAllOffRunsNothing(t *testing.T) {
	off := map[string]filter.Mode{"weak": filter.Off, "strong": filter.Off}
	s, weak, strong := filtered(t, map[string]map[string]filter.Mode{"one": off, "two": off})
	if got := s.send("Subject: x\n\nweak and strong", "one", "two"); !strings.HasPrefix(got, "250") {
		t.Fatalf("message: %s", got)
	}
	if len(weak.called)+len(strong.called) > 0 {
		t.Errorf("called for %v and %v", weak.called, strong.called)
	}
	if folder, text := s.copyOf("one"); folder != "INBOX" || strings.Contains(text, "X-Migiwa") {
		t.Errorf("%s: %s", folder, text)
	}
}

// Only when all want it the sender is put off, and then nobody has a copy.
func TestPutOffByAll(t *testing.T) {
	later := map[string]filter.Mode{"strong": filter.Tempfail}
	s, _, _ := filtered(t, map[string]map[string]filter.Mode{"one": later, "two": later, "other": nil})
	if got := s.send("Subject: x\n\nstrong", "one", "two"); got != "451 4.7.1 Try again later\r\n" {
		t.Errorf("message: %s", got)
	}
	for _, name := range []string{"one", "two"} {
		if folder, _ := s.copyOf(name); folder != "" {
			t.Errorf("%s has a copy in %s", name, folder)
		}
	}
	bodies := func() (n int) {
		err := s.handler.Intake.DB.Read(t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT count(*) FROM body`).Scan(&n) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := bodies(); n != 0 {
		t.Errorf("%d bodies are kept of a message that was put off", n)
	}
	if got := s.send("Subject: x\n\nharmless", "one", "two"); !strings.HasPrefix(got, "250") {
		t.Errorf("harmless message: %s", got)
	}
	if n := bodies(); n != 1 {
		t.Errorf("%d bodies of one message", n)
	}
}

// A filter that breaks costs nothing but its findings.
func TestBrokenFilterLosesNothing(t *testing.T) {
	s, _, _ := filtered(t, map[string]map[string]filter.Mode{"one": nil})
	broken := &mark{name: "weak"}
	s.handler.Filters.Pipeline.Filters = []filter.Filter{panicking{}, broken}
	if got := s.send("Subject: x\n\nweak", "one"); !strings.HasPrefix(got, "250") {
		t.Fatalf("message: %s", got)
	}
	if folder, text := s.copyOf("one"); folder != "INBOX" || !strings.Contains(text, "WEAK") {
		t.Errorf("%s: %s", folder, text)
	}
}

type panicking struct{}

func (panicking) Name() string { return "panicking" }

func (panicking) Check(context.Context, *filter.Message, *filter.Report) error {
	panic("hostile input")
}
