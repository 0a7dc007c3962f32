package report

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/authentic"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// site is here.test, where dmarc@here.test sends and gets reports.
type site struct {
	t       *testing.T
	db      *db.DB
	daily   *Daily
	inbox   *Inbox
	queue   *queue.Queue
	journal string
	events  *event.Recorder
	zone    *dns.Zone
}

func newSite(t *testing.T, d *db.DB) *site {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	b, err := bus.Open("")
	if err != nil {
		t.Fatal(err)
	}
	journal := t.TempDir()
	events, err := event.Open(event.Options{Dir: journal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { events.Close() })
	dir := &directory.Directory{DB: d, Bus: b}
	t.Cleanup(dir.Close)
	bodies := &body.Store{DB: d, Blobs: blobs}
	boxes := &mailbox.Store{DB: d, Bodies: bodies, Bus: b}
	s := &site{t: t, db: d, journal: journal, events: events, queue: &queue.Queue{DB: d, Bodies: bodies, Bus: b}}
	intake := &deliver.Intake{DB: d, Bodies: bodies, Mailboxes: boxes, Queue: s.queue, Directory: dir, Routes: &deliver.Table{}, Events: events, Hostname: "mx.here.test"}
	address := mail.MakeAddress("dmarc", "here.test")
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := dir.CreateDomain(tx, "here.test", directory.DefaultDomainSettings()); err != nil {
			return err
		}
		_, err := dir.CreateAccount(tx, directory.Account{Address: address}, directory.Credential{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.zone, err = dns.ParseZone(`
here.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.here.test. IN TXT "v=DMARC1; p=quarantine; aspf=s; rua=mailto:dmarc@here.test!10m"
far.test. IN TXT "v=spf1 ip4:192.0.2.2 -all"
_dmarc.far.test. IN TXT "v=DMARC1; p=none; rua=mailto:a@far.test,mailto:b@agrees.test,mailto:victim@other.test"
far.test._report._dmarc.agrees.test. IN TXT "v=DMARC1"
`)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s.daily = &Daily{Post: Post{Directory: dir, Bodies: bodies, Intake: intake, Signer: &deliver.Signer{Directory: dir}, Address: address},
		DB: d, Tally: &Tally{DB: d}, Bus: b, Resolver: s.zone, Organisation: "Here", Log: log}
	s.inbox = &Inbox{DB: d, Directory: dir, Mailboxes: boxes, Events: events, Address: address, Hostname: "mx.here.test", Log: log}
	return s
}

// arrives judges a message as the filter does, and counts it.
func (s *site) arrives(client, from string) {
	s.t.Helper()
	sender, err := mail.ParseAddress(from)
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := filter.FromBytes(filter.Envelope{Client: netip.MustParseAddr(client), Hello: "x.test", From: sender}, []byte("From: <"+from+">\r\nSubject: x\r\n\r\nHello\r\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := (&authentic.Filter{Resolver: s.zone}).Prove(s.t.Context(), m)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.daily.Tally.Add(m, p, false); err != nil {
		s.t.Fatal(err)
	}
}

// send sends the reports of all days and wants so many.
func (s *site) send(want int) {
	s.t.Helper()
	if n, err := s.daily.SendNow(s.t.Context()); n != want || err != nil {
		s.t.Fatalf("%d reports sent, %v; want %d", n, err, want)
	}
}

func (s *site) read(want int) {
	s.t.Helper()
	if n, err := s.inbox.Read(s.t.Context()); n != want || err != nil {
		s.t.Fatalf("%d reports read, %v; want %d", n, err, want)
	}
}

// gets puts a message into the mailbox for reports.
func (s *site) gets(text string) {
	s.t.Helper()
	ctx := s.t.Context()
	w, err := s.daily.Bodies.Create(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	stored, err := w.Commit(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := s.daily.Directory.Resolve(ctx, s.inbox.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.daily.Intake.Accept(ctx, &deliver.Accepted{Trace: "T0", Origin: queue.MX, Body: stored,
		Recipients: []deliver.AcceptedRecipient{{Recipient: mail.Recipient{Address: s.inbox.Address}, Targets: to.Targets}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// What is counted goes out as a report, whose reader gets what was counted.
func TestAggregateThereAndBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		for range 3 {
			s.arrives("192.0.2.1", "ann@here.test")
		}
		s.arrives("198.51.100.7", "forged@here.test")
		if err := s.daily.Tally.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.arrives("198.51.100.7", "forged@here.test")
		s.arrives("192.0.2.3", "x@none.test") // asks for nothing
		s.send(1)
		s.send(0)
		s.read(1)
		s.read(0)
		reports, err := List(t.Context(), d, "here.test", time.Time{})
		day := time.Now().UTC().Truncate(24 * time.Hour)
		if err != nil || len(reports) != 1 {
			t.Fatalf("%+v %v", reports, err)
		}
		if r := reports[0]; r.Org != "Here" || r.Messages != 5 || r.Failed != 2 || !r.Begin.Equal(day) || !r.End.Equal(day.Add(24*time.Hour-time.Second)) {
			t.Errorf("%+v", r)
		}
		sources, err := Sources(t.Context(), d, "here.test", time.Time{})
		want := "[{198.51.100.7 2 2 1 spf=fail here.test} {192.0.2.1 3 0 1 spf=pass here.test}]"
		if got := fmt.Sprint(sources); got != want || err != nil {
			t.Errorf("%s %v, want %s", got, err, want)
		}
		if got := s.told(); got != "dmarc Here saw 5 messages of here.test, 2 of them not proven to be its own" {
			t.Errorf("told %q", got)
		}
	})
}

// reported gives the events of reports, and ends recording.
func (s *site) reported() []event.Event {
	s.t.Helper()
	if err := s.events.Close(); err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(eventtest.Events(s.t, s.journal), func(e event.Event) bool { return e.Kind != event.Report })
}

// told gives them in words.
func (s *site) told() string {
	s.t.Helper()
	var out []string
	for _, e := range s.reported() {
		out = append(out, strings.TrimSpace(e.Verb+" "+e.Reason))
	}
	return strings.Join(out, "; ")
}

// A report goes only to whom its domain may name, each in a mail of its own.
func TestDestinationsMustAgree(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.arrives("192.0.2.2", "x@far.test")
	s.send(2)
	var to []string
	err := s.db.Read(t.Context(), func(tx *db.Tx) error {
		return tx.Each(`SELECT address FROM queue_recipient ORDER BY address`, nil, func(scan func(...any) error) error {
			var a string
			err := scan(&a)
			to = append(to, a)
			return err
		})
	})
	if got := strings.Join(to, " "); got != "a@far.test b@agrees.test" || err != nil {
		t.Errorf("sent to %s, %v", got, err)
	}
}

// While DNS is away a report waits, and it does not wait for ever.
func TestReportWaitsForDNS(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.arrives("192.0.2.2", "x@far.test")
	if err := s.daily.Tally.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.zone.Failing = []string{"far.test._report._dmarc.agrees.test"}
	again := func(days int64, want int) {
		t.Helper()
		if err := s.db.Write(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(`UPDATE dmarc_policy SET claimed = 0`); return err }); err != nil {
			t.Fatal(err)
		}
		if n, err := s.daily.Send(t.Context(), dayOf(time.Now())+days); n != want || err != nil {
			t.Errorf("%d sent, %v; want %d", n, err, want)
		}
	}
	again(1, 0)
	s.zone.Failing = nil
	again(1, 2)
	s.arrives("192.0.2.2", "x@far.test")
	s.zone.Failing = []string{"far.test._report._dmarc.agrees.test"}
	if err := s.daily.Tally.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	again(keepDays+1, 0)
	s.zone.Failing = nil
	again(keepDays+1, 0)
}

// Complaints become events of the message that they are about; what is no
// report stays unread for a person.
func TestInbox(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	const complaint = "From: fbl@far.test\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n" +
		"Feedback-Type: abuse\nReporting-MTA: dns; mx.far.test\nSource-IP: 192.0.2.1\n--b\nContent-Type: message/rfc822\n\nReceived: %s\nMessage-ID: <1@here.test>\nSubject: prize\n\nx\n--b--\n"
	s.gets("From: x@far.test\nSubject: where is my mail\n\nHello\n")
	s.gets(fmt.Sprintf(complaint, "from a ([192.0.2.9]) (using TLS)\n\tby mx2.here.test with ESMTPSA id 0123456789abcdef;\n\tnow"))
	s.gets(fmt.Sprintf(complaint, "from a by mx.elsewhere.test with ESMTPSA id 0123456789abcdef; now"))
	s.read(2)
	var traces []string
	for _, e := range s.reported() {
		traces = append(traces, fmt.Sprintf("%s %s %s %s", e.Trace, e.Verb, e.MessageID, e.From))
	}
	if got := strings.Join(traces, "; "); got != "0123456789abcdef abuse 1@here.test mx.far.test; T0 abuse 1@here.test mx.far.test" {
		t.Error(got)
	}
	account, err := s.daily.Directory.Account(t.Context(), s.inbox.Address)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.inbox.Mailboxes.Folder(t.Context(), account.ID, "INBOX")
	if err != nil || f.Messages != 3 || f.Unseen != 1 {
		t.Errorf("%+v %v", f, err)
	}
}

// Many different rows are counted, not kept apart.
func TestTallyIsBounded(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.arrives("192.0.2.1", "x@here.test")
	for k := range s.daily.Tally.rows {
		for i := range maxWaiting {
			k.alike = fmt.Sprintf("%d", i)
			s.daily.Tally.rows[k] = 1
		}
	}
	for i := range 10 {
		s.arrives(fmt.Sprintf("198.51.100.%d", i), "x@here.test")
	}
	if n := len(s.daily.Tally.rows); n > maxWaiting+2 {
		t.Errorf("%d rows", n)
	}
}

// The rows of one report are bounded on disk, too.
func TestRowsAreBounded(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.arrives("192.0.2.1", "x@here.test")
	var k tallyKey
	for k = range s.daily.Tally.rows {
	}
	room := map[int64]int{1: 2}
	for i := range 5 {
		k.alike = fmt.Sprintf(`{"Source":"192.0.2.%d"}`, i)
		if err := s.db.Write(t.Context(), func(tx *db.Tx) error { return k.write(tx, 10, room) }); err != nil {
			t.Fatal(err)
		}
	}
	s.daily.Tally.rows = nil
	s.send(1)
	s.read(1)
	if reports, err := List(t.Context(), s.db, "", time.Time{}); err != nil || len(reports) != 1 || reports[0].Messages != 20 {
		t.Errorf("%+v %v", reports, err)
	}
}

// first opens the first mail that dmarc@here.test has got.
func (s *site) first() *mailbox.Content {
	s.t.Helper()
	account, err := s.daily.Directory.Account(s.t.Context(), s.inbox.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := s.inbox.Mailboxes.Folder(s.t.Context(), account.ID, "INBOX")
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.inbox.Mailboxes.Open(s.t.Context(), f.ID, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestMail: the mail is whole, signed where there is a key, and fit for readers.
func TestMail(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	err := s.daily.Post.Send(t.Context(), s.inbox.Address, "Subject line", "mixed", text("For people.\r\n"), attachment("application/gzip", "a.gz", bytes.Repeat([]byte{1}, 200)))
	if err != nil {
		t.Fatal(err)
	}
	c := s.first()
	defer c.Close()
	var parts []string
	_, err = mail.ReadMIME(c, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		raw, err := io.ReadAll(p.Decode(body))
		parts = append(parts, fmt.Sprintf("%s %d %d", p.Type, len(raw), len(p.Defects)))
		return err
	})
	if got := strings.Join(parts, ", "); got != "multipart/mixed 0 0, text/plain 13 0, application/gzip 200 0" || err != nil {
		t.Errorf("%s %v", got, err)
	}
}
