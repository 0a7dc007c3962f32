package report

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// Questions are few, and go to nobody who might be a third person.
func TestAsk(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		f := &confirm.Filter{Store: &confirm.Store{DB: d}, Secret: []byte("secret"), Proven: func(context.Context, *filter.Message) []string { return []string{"far.test"} }}
		a := &Asker{Post: s.daily.Post, Filter: f, Mailboxes: s.inbox.Mailboxes}
		account, err := a.Directory.Account(t.Context(), s.inbox.Address)
		if err != nil {
			t.Fatal(err)
		}
		take := func(from, header string, filed bool, others float64) (asked int) {
			t.Helper()
			sender, _ := mail.ParseAddress(from)
			m, err := filter.FromBytes(filter.Envelope{From: sender, Client: netip.MustParseAddr("192.0.2.1")}, []byte("From: <"+from+">\r\nMessage-ID: <1@far.test>\r\n"+header+"\r\nHello\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			to := filter.Recipient{ID: account.ID, Account: account.Address.Key(), Address: account.Address}
			findings := []filter.Finding{{Filter: "confirm", Finding: mail.Finding{Symbol: confirm.Unconfirmed, Score: 12}}, {Filter: "link", Finding: mail.Finding{Symbol: "X", Score: others}}}
			before := s.queued()
			if err := a.Take(t.Context(), m, to, filed, findings); err != nil {
				t.Fatal(err)
			}
			return s.queued() - before
		}
		const named = "To: dmarc@here.test\r\n"
		for _, test := range []struct {
			name, from, header string
			filed              bool
			others             float64
			want               int
		}{
			{"a person", "x@far.test", named, true, 0, 1},
			{"again", "x@far.test", named, true, 0, 0},
			{"signed for somebody else", "r@far.test", "To: other@there.test\r\n", true, 0, 0},
			{"named in Cc", "c@far.test", "To: other@there.test\r\nCc: Reports <DMARC@here.test>\r\n", true, 0, 1},
			{"in the INBOX", "y@far.test", named, false, 0, 0},
			{"spam", "z@far.test", named, true, 5, 0},
			{"another domain", "x@victim.test", named, true, 0, 0},
			{"below the proven domain", "x@sub.far.test", named, true, 0, 0},
			{"two authors", "w@far.test", named + "From: v@far.test\r\n", true, 0, 0},
			{"a list", "l@far.test", named + "List-ID: <l.far.test>\r\n", true, 0, 0},
			{"bulk", "b@far.test", named + "Precedence: bulk\r\n", true, 0, 0},
			{"a program", "p@far.test", named + "Auto-Submitted: auto-replied\r\n", true, 0, 0},
			{"nobody", "no-reply@far.test", named, true, 0, 0},
		} {
			if got := take(test.from, test.header, test.filed, test.others); got != test.want {
				t.Errorf("%s: %d questions, want %d", test.name, got, test.want)
			}
		}
		n := 0
		for i := range 2 * confirm.MaxPerDay {
			n += take(fmt.Sprintf("many%d@far.test", i), named, true, 0)
		}
		if n != confirm.MaxPerDay-2 {
			t.Errorf("%d questions on one day", n+2)
		}
	})
}

// queued counts the messages on their way to other hosts.
func (s *site) queued() int {
	s.t.Helper()
	n := 0
	err := s.db.Read(s.t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT count(*) FROM queue_recipient`).Scan(&n) })
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// What waits for something else, too, is not released by an answer.
func TestWaits(t *testing.T) {
	for header, want := range map[string]bool{
		"X-Migiwa-Finding: CONFIRM_UNKNOWN; 12.0; x":                                                      true,
		"X-Migiwa-Finding: CONFIRM_UNKNOWN; 12.0; x\r\nX-Migiwa-Finding: VIRUS; 100.0; y":                 false,
		"X-Migiwa-Finding: LINK_PORT; 0.5; x":                                                             false,
		"X-Migiwa-Finding: CONFIRM_UNKNOWN; 12.0; x\r\nX-Migiwa-Finding: LINK_PORT; 0.5; https://a:81; b": true,
		"Subject: x": false,
	} {
		if got := waits(mail.ParseHeader([]byte(header + "\r\n\r\n"))); got != want {
			t.Errorf("%s: %v", strings.ReplaceAll(header, "\r\n", " | "), got)
		}
	}
}

// An answer releases what waits for it in Junk and in Quarantine, and nothing
// else.
func TestRelease(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	f := &confirm.Filter{Store: &confirm.Store{DB: s.db}, Secret: []byte("secret"), Proven: func(context.Context, *filter.Message) []string { return []string{"far.test"} }}
	a := &Asker{Post: s.daily.Post, Filter: f, Mailboxes: s.inbox.Mailboxes}
	account, err := a.Directory.Account(t.Context(), s.inbox.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ folder, from, label string }{
		{`\Junk`, "x@far.test", "CONFIRM_UNKNOWN; 12.0; x"}, {mailbox.Quarantine, "x@far.test", "CONFIRM_UNKNOWN; 12.0; x"},
		{`\Junk`, "x@far.test", "LINK_NUMERIC; 8.0; x"}, {`\Junk`, "y@far.test", "CONFIRM_UNKNOWN; 12.0; x"},
	} {
		s.files(account.ID, m.folder, "X-Migiwa-Finding: "+m.label+"\r\n", "From: <"+m.from+">\r\n\r\nHello\r\n")
	}
	sender, _ := mail.ParseAddress("x@far.test")
	m, err := filter.FromBytes(filter.Envelope{From: sender}, []byte("From: <x@far.test>\r\n\r\nyes\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	to := filter.Recipient{ID: account.ID, Account: account.Address.Key(), Detail: f.Detail(account.Address.Key(), sender.Key())}
	if err := a.Take(t.Context(), m, to, false, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"INBOX": 2, "Junk": 2, mailbox.Quarantine: 0} {
		folder, err := s.inbox.Mailboxes.Folder(t.Context(), account.ID, name)
		if err != nil || int64(folder.Messages) != want {
			t.Errorf("%s: %d messages, %v; want %d", name, folder.Messages, err, want)
		}
	}
}

// files puts a message into a folder of an account.
func (s *site) files(account int64, folder, prefix, text string) {
	s.t.Helper()
	w, err := s.daily.Bodies.Create(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
	stored, err := w.Commit(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.db.Write(s.t.Context(), func(tx *db.Tx) error {
		id, err := s.daily.Bodies.Add(tx, stored, 1)
		if err != nil {
			return err
		}
		_, err = s.inbox.Mailboxes.Deliver(tx, account, folder, mailbox.NewMessage{Body: id, BodySize: stored.Size, Counted: true, Prefix: []byte(prefix), Received: time.Now()})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
