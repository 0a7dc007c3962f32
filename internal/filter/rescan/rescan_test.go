package rescan

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// scanner finds one word, once its signatures know it.
type scanner struct {
	version string
	word    string
	scans   int
	err     error
}

func (s *scanner) Signatures(context.Context) (string, error) { return s.version, nil }

func (s *scanner) Scan(_ context.Context, r io.Reader) (string, error) {
	s.scans++
	raw, err := io.ReadAll(r)
	if err == nil {
		err = s.err
	}
	if s.word != "" && strings.Contains(string(raw), s.word) {
		return "New.Virus", err
	}
	return "", err
}

type site struct {
	t       *testing.T
	v       *Vetter
	scanner *scanner
	account directory.Account
}

func newSite(t *testing.T, d *db.DB, mode filter.Mode) *site {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	events, err := event.Open(event.Options{Dir: t.TempDir(), Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { events.Close() })
	dir := &directory.Directory{DB: d}
	t.Cleanup(dir.Close)
	s := &site{t: t, scanner: &scanner{version: "1"}}
	s.v = &Vetter{DB: d, Directory: dir, Scanner: s.scanner, Events: events, Default: func(string) filter.Mode { return mode },
		Mailboxes: &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}}}
	s.v.Mailboxes.Vet = s.v.Vet
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := dir.CreateDomain(tx, "a.test", directory.DefaultDomainSettings()); err != nil {
			return err
		}
		s.account, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("ann", "a.test")}, directory.Credential{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.look()
	s.deliver("a bad word\r\n")
	return s
}

func (s *site) deliver(text string) {
	s.t.Helper()
	ctx := s.t.Context()
	w, err := s.v.Mailboxes.Bodies.Create(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	io.WriteString(w, text)
	stored, err := w.Commit(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.v.DB.Write(ctx, func(tx *db.Tx) error {
		id, err := s.v.Mailboxes.Bodies.Add(tx, stored, 1)
		if err == nil {
			_, err = s.v.Mailboxes.Deliver(tx, s.account.ID, "", mailbox.NewMessage{Body: id, BodySize: stored.Size, Counted: true, Received: time.Now()})
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) look() {
	s.t.Helper()
	if err := s.v.Look(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// renew gives the scanner signatures that know the word.
func (s *site) renew() {
	s.t.Helper()
	time.Sleep(2 * time.Millisecond) // times are kept in milliseconds
	s.scanner.version, s.scanner.word = s.scanner.version+"1", "bad"
	s.look()
}

// open hands the message in the INBOX out.
func (s *site) open() error {
	s.t.Helper()
	f, err := s.v.Mailboxes.Folder(s.t.Context(), s.account.ID, "INBOX")
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.v.Mailboxes.Open(s.t.Context(), f.ID, 1)
	if err == nil {
		c.Close()
	}
	return err
}

func (s *site) wantScans(n int) {
	s.t.Helper()
	if s.scanner.scans != n {
		s.t.Errorf("scanned %d times, want %d", s.scanner.scans, n)
	}
}

func TestNewerSignatures(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d, filter.Quarantine)
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		s.wantScans(0) // it came after these signatures
		s.renew()
		if err := s.open(); !errors.Is(err, mailbox.ErrNoMessage) {
			t.Errorf("a virus was handed out: %v", err)
		}
		s.wantScans(1)
		f, err := s.v.Mailboxes.Folder(t.Context(), s.account.ID, mailbox.Quarantine)
		if err != nil || f.Messages != 1 {
			t.Errorf("quarantine: %+v, %v", f, err)
		}
		c, err := s.v.Mailboxes.Open(t.Context(), f.ID, 1)
		if err != nil {
			t.Fatalf("its owner cannot look at it: %v", err)
		}
		c.Close()
		s.wantScans(1) // what was found is remembered
	})
}

func TestLabelOnly(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t), filter.Label)
	s.renew()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	f, _ := s.v.Mailboxes.Folder(t.Context(), s.account.ID, "INBOX")
	m, err := s.v.Mailboxes.Message(t.Context(), f.ID, 1)
	if err != nil || !slices.Contains(m.Keywords, Keyword) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestNotLookedAtAgain(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t), filter.Off)
	s.renew()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.wantScans(0)

	s = newSite(t, dbtest.SQLite(t), filter.Quarantine)
	f, _ := s.v.Mailboxes.Folder(t.Context(), s.account.ID, "INBOX")
	if _, err := s.v.Mailboxes.StoreFlags(t.Context(), f.ID, mailbox.All, mailbox.FlagChange{Op: mailbox.Add, Flags: mailbox.Seen, Unless: -1}); err != nil {
		t.Fatal(err)
	}
	s.renew()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.wantScans(0)
}

// A scanner that fails keeps nobody from his mail.
func TestScannerFails(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t), filter.Quarantine)
	s.renew()
	s.scanner.err = errors.New("no clamd")
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.scanner.err = nil
	if err := s.open(); !errors.Is(err, mailbox.ErrNoMessage) {
		t.Errorf("handed out: %v", err)
	}
}
