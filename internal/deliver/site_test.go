package deliver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// site is an installation for tests: the domain here.test with the accounts
// postmaster (1), alice (2) and bob (3).
type site struct {
	t      testing.TB
	db     *db.DB
	intake *Intake
	runner *Runner
	queue  *queue.Queue
}

func newSite(t testing.TB, d *db.DB) *site {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	b, err := bus.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	bodies := &body.Store{DB: d, Blobs: blobs}
	q := &queue.Queue{DB: d, Bodies: bodies, Bus: b}
	s := &site{t: t, db: d, queue: q}
	s.intake = &Intake{DB: d, Bodies: bodies, Mailboxes: &mailbox.Store{DB: d, Bodies: bodies, Bus: b}, Queue: q,
		Directory: &directory.Directory{DB: d, Bus: b}, Routes: &Table{}, Hostname: "mx.here.test"}
	s.runner = &Runner{Queue: q, Intake: s.intake, Routes: s.intake.Routes, Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
		Hostname: "mx.here.test", Postmaster: address(t, "postmaster@here.test"), Resolver: parseZone(t, ""),
		Times: smtpc.Timeouts{Connect: time.Second, Greeting: time.Second, Command: time.Second, TLS: time.Second,
			Data: time.Second, Block: time.Second, End: time.Second, Quit: time.Second},
		Limits: Limits{Idle: 50 * time.Millisecond, Drain: 2 * time.Second, Sweep: 50 * time.Millisecond}}
	err = d.Write(context.Background(), func(tx *db.Tx) error {
		if _, err := tx.Exec(`INSERT INTO domain (id, name, created) VALUES (1, 'here.test', 1)`); err != nil {
			return err
		}
		for i, name := range []string{"postmaster", "alice", "bob"} {
			_, err := tx.Exec(`INSERT INTO account (id, domain, addresskey, address, created, changed) VALUES (?, 1, ?, ?, 1, 1)`,
				i+1, name+"@here.test", name+"@here.test")
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseZone(t testing.TB, text string) *dns.Zone {
	t.Helper()
	z, err := dns.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// route sends all mail to addr.
func (s *site) route(addr string, edit ...func(*Route)) {
	s.t.Helper()
	r := Route{Pattern: "*", Address: addr}
	for _, f := range edit {
		f(&r)
	}
	if err := s.intake.Routes.Set([]Route{r}); err != nil {
		s.t.Fatal(err)
	}
}

// body stores text as a message body.
func (s *site) body(text string) blob.Stored {
	s.t.Helper()
	w, err := s.intake.Bodies.Create(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	io.WriteString(w, text)
	b, err := w.Commit(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

const text = "From: alice@here.test\r\nSubject: hello\r\nMessage-ID: <1@here.test>\r\n\r\nFirst line.\r\n.a dot\r\n..two\r\n.\r\nend\r\n"

// accept takes mail of alice for others.
func (s *site) accept(edit func(*Accepted), to ...string) {
	s.t.Helper()
	a := &Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: 2, From: address(s.t, "alice@here.test"),
		Prefix: []byte("Received: from here\r\n"), Body: s.body(text), BodyType: mail.Body7Bit, MessageID: "1@here.test"}
	for _, r := range to {
		a.Recipients = append(a.Recipients, AcceptedRecipient{Recipient: mail.Recipient{Address: address(s.t, r)}})
	}
	if edit != nil {
		edit(a)
	}
	if err := s.intake.Accept(context.Background(), a); err != nil {
		s.t.Fatal(err)
	}
}

// run starts the runner until the test ends or stop is called.
func (s *site) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.runner.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return stop
}

// wait fails the test when ok does not come true soon.
func (s *site) wait(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain for %s; queue: %v", what, s.list())
		}
	}
}

// list gives "address state code enhanced" of all recipients in the queue.
func (s *site) list() []string {
	s.t.Helper()
	items, err := s.queue.List(context.Background(), queue.Selection{}, 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		out = append(out, fmt.Sprintf("%s %s %d %s %s", it.Wire, it.State, it.Last.Code, it.Last.Enhanced, it.Last.Text))
	}
	return out
}

func (s *site) empty() bool { return len(s.list()) == 0 }

// inbox gives the whole messages of an account.
func (s *site) inbox(account int64) []string {
	s.t.Helper()
	var prefixes [][]byte
	var refs []string
	err := s.db.Read(context.Background(), func(tx *db.Tx) error {
		return tx.Each(`SELECT m.prefix, b.ref FROM message m JOIN body b ON b.id = m.body JOIN mailbox x ON x.id = m.mailbox
			WHERE x.account = ? ORDER BY m.uid`, []any{account}, func(scan func(...any) error) error {
			var p []byte
			var ref string
			if err := scan(&p, &ref); err != nil {
				return err
			}
			prefixes, refs = append(prefixes, p), append(refs, ref)
			return nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for i := range refs {
		r, err := s.intake.Bodies.Blobs.Open(context.Background(), blob.Ref(refs[i]))
		if err != nil {
			s.t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		r.Close()
		out = append(out, string(prefixes[i])+string(b))
	}
	return out
}

// checkBodies verifies that every body has as many references as there are
// messages and queue entries with it.
func (s *site) checkBodies() {
	s.t.Helper()
	var bad int
	err := s.db.Read(context.Background(), func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*) FROM body b WHERE refs <> (SELECT count(*) FROM message m WHERE m.body = b.id) +
			(SELECT count(*) FROM queue_message q WHERE q.body = b.id)`).Scan(&bad)
	})
	if err != nil || bad > 0 {
		s.t.Errorf("%d bodies with a wrong number of references, %v", bad, err)
	}
}
