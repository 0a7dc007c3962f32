package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

var disciplineHome = netip.MustParseAddr("192.0.2.1")

// discipline gives one for node of the site, whose holds last as long as hold.
func (s *site) discipline(node string, hold time.Duration) *Discipline {
	rules := edge.DefaultOutboundRules()
	rules.HoldTime = hold.Seconds()
	return &Discipline{Outbound: edge.NewOutbound(rules, [2]uint64{1, 2}), Clock: edge.NewClock(1, 0), Intake: s.intake, Node: node,
		Postmaster: address(s.t, "postmaster@here.test"), Log: slog.New(slog.NewTextHandler(testLog{s.t}, nil))}
}

func (s *site) account(id int64) directory.Account {
	s.t.Helper()
	a, err := s.intake.Directory.AccountByID(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// abuse names unknown recipients from many networks until the account is held.
func (s *site) abuse(d *Discipline, account int64) {
	s.t.Helper()
	ctx := context.Background()
	d.Login(ctx, account, disciplineHome)
	from := disciplineHome
	for i := range 6 {
		from = netip.AddrFrom4([4]byte{198, byte(i), 0, 1})
		d.Login(ctx, account, from)
	}
	for i := range 30 {
		if d.Rcpt(ctx, account, from, address(s.t, fmt.Sprintf("n%d@here.test", i)), edge.Nobody) != nil {
			return
		}
	}
	s.t.Fatal("not held")
}

// age makes all queued mail of alice so much older.
func (s *site) age(by time.Duration) {
	s.t.Helper()
	err := s.db.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE queue_message SET created = created - ?, expires = expires - ?`, by.Milliseconds(), by.Milliseconds())
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// holders gives "address state holder" of all recipients in the queue.
func (s *site) holders() string {
	s.t.Helper()
	items, err := s.queue.List(context.Background(), queue.Selection{}, 0, 100)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		out = append(out, fmt.Sprintf("%s %s %s", it.Local, it.State, it.Holder))
	}
	return strings.Join(out, ", ")
}

func TestHoldAndEnd(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s, ctx := newSite(t, d), context.Background()
		x := s.discipline("one", 2*time.Second)
		s.accept(nil, "old@far.test")
		s.age(3 * time.Hour)
		s.accept(nil, "new@far.test")
		s.accept(func(a *Accepted) { a.Account = 3 }, "bobs@far.test")
		if r := x.Mail(ctx, s.account(2)); r != nil {
			t.Fatal(r)
		}
		s.abuse(x, 2)
		if got, want := s.holders(), "old held account, new held suspect, bobs waiting "; got != want {
			t.Errorf("queue: %s, want %s", got, want)
		}
		if r := x.Mail(ctx, s.account(2)); r == nil || r.Code != 451 || r.Enhanced != "4.7.1" {
			t.Errorf("MAIL of a held account: %v", r)
		}
		var off *Discipline // on a node that judges nobody
		if r := off.Mail(ctx, s.account(2)); r == nil || r.Code != 451 {
			t.Errorf("MAIL elsewhere: %v", r)
		}
		late := &Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: 2, From: address(t, "alice@here.test"), Body: s.body(text),
			Recipients: []AcceptedRecipient{{Recipient: mail.Recipient{Address: address(t, "late@far.test")}}}}
		if r := mail.AsReply(s.intake.Accept(ctx, late)); r == nil || r.Code != 451 {
			t.Errorf("a message that was under way: %v", r)
		}
		for account, word := range map[int64]string{1: "migiwa account release alice@here.test", 2: "somebody else knows your password"} {
			if got := s.inbox(account); len(got) != 1 || !strings.Contains(got[0], word) || !strings.Contains(got[0], "from 7 networks") {
				t.Errorf("account %d got %q", account, got)
			}
		}
		if err := x.endHolds(ctx); err != nil || !s.account(2).Hold.Active(time.Now()) {
			t.Errorf("ended before its time, or %v", err)
		}
		s.wait("the end of the hold", func() bool {
			if err := x.endHolds(ctx); err != nil {
				t.Fatal(err)
			}
			return s.account(2).Hold.Until.IsZero()
		})
		if got, want := s.holders(), "old waiting , new held suspect, bobs waiting "; got != want {
			t.Errorf("queue: %s, want %s", got, want)
		}
		if r := x.Mail(ctx, s.account(2)); r != nil {
			t.Errorf("MAIL afterwards: %v", r)
		}
		s.age(DefaultLifetime)
		if err := x.endHolds(ctx); err != nil || strings.Contains(s.holders(), "new") {
			t.Errorf("forsaken mail is still there: %s, %v", s.holders(), err)
		}
		s.checkBodies()
	})
}

// TestHeldOnce: two nodes find out at once, and one hold with one notice each
// comes of it.
func TestHeldOnce(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() { s.abuse(s.discipline(fmt.Sprint(i), time.Hour), 2) })
		}
		group.Wait()
		if a, b := len(s.inbox(1)), len(s.inbox(2)); a != 1 || b != 1 {
			t.Errorf("%d notices to postmaster, %d to the user", a, b)
		}
	})
}

// TestHoldWithFullMailbox: who cannot be told is held all the same, and the
// other one is told.
func TestHoldWithFullMailbox(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	err := s.db.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE account SET quota = 100, used = 100 WHERE id = 2`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.abuse(s.discipline("one", time.Hour), 2)
	if !s.account(2).Hold.Active(time.Now()) || len(s.inbox(1)) != 1 || len(s.inbox(2)) != 0 {
		t.Errorf("%+v, %d and %d notices", s.account(2).Hold, len(s.inbox(1)), len(s.inbox(2)))
	}
	s.checkBodies()
}

// TestNewPassword ends a hold, and what is older than the suspicion goes.
func TestNewPassword(t *testing.T) {
	s, ctx := newSite(t, dbtest.SQLite(t)), context.Background()
	x := s.discipline("one", time.Hour)
	s.accept(nil, "old@far.test")
	s.age(3 * time.Hour)
	s.abuse(x, 2)
	before := s.account(2)
	credential, err := s.intake.Directory.Hash(ctx, "another")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Write(ctx, func(tx *db.Tx) error { return s.intake.Directory.SetCredential(tx, before, credential) }); err != nil {
		t.Fatal(err)
	}
	if err := x.endHolds(ctx); err != nil {
		t.Fatal(err)
	}
	after := s.account(2)
	if r := x.Mail(ctx, after); r != nil || after.SameCredential(before) || s.holders() != "old waiting " {
		t.Errorf("%v, %s", r, s.holders())
	}
	s.abuse(x, 2) // the thief has the new one, too
	if !s.account(2).Hold.Active(time.Now()) {
		t.Error("not held again")
	}
}

// TestDisciplineRemembers kills the process without a word.
func TestDisciplineRemembers(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s, ctx := newSite(t, d), context.Background()
		x := s.discipline("one", time.Hour)
		for i := range 6 {
			x.Login(ctx, 2, netip.AddrFrom4([4]byte{198, byte(i), 0, 1}))
		}
		x.save(ctx)
		x.save(ctx) // nothing new
		x = s.discipline("one", time.Hour)
		held := false
		for i := 0; i < 30 && !held; i++ {
			held = x.Rcpt(ctx, 2, disciplineHome, address(t, fmt.Sprintf("n%d@here.test", i)), edge.Nobody) != nil
		}
		if !held {
			t.Error("the networks are forgotten")
		}
		x.save(ctx)
		err := s.db.Write(ctx, func(tx *db.Tx) error {
			if _, err := tx.Exec(`UPDATE sending SET state = ?`, []byte("damaged")); err != nil {
				return err
			}
			_, err := tx.Exec(`DELETE FROM account WHERE id = 3`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		x = s.discipline("one", time.Hour)
		x.Login(ctx, 2, disciplineHome)
		x.Login(ctx, 3, disciplineHome)
		x.save(ctx)
		var rows int
		err = s.db.Read(ctx, func(tx *db.Tx) error { return tx.Row(`SELECT count(*) FROM sending`).Scan(&rows) })
		if err != nil || rows != 1 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// TestOutcomesHold: what other hosts say of recipients is evidence.
func TestOutcomesHold(t *testing.T) {
	s, ctx := newSite(t, dbtest.SQLite(t)), context.Background()
	x := s.discipline("one", time.Hour)
	s.runner.Discipline = x
	x.Login(ctx, 2, disciplineHome)
	from := disciplineHome
	for i := range 6 {
		from = netip.AddrFrom4([4]byte{198, byte(i), 0, 1})
		x.Login(ctx, 2, from)
	}
	p := (&peertest.Peer{Script: map[string]string{"RCPT": "550 5.1.1 who?"}}).Start(t)
	s.route(p.Addr())
	s.run()
	for i := range 12 {
		to := fmt.Sprintf("r%d@far.test", i)
		if r := x.Rcpt(ctx, 2, from, address(t, to), edge.Elsewhere); r != nil {
			break
		}
		a := &Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: 2, From: address(t, "alice@here.test"), Body: s.body(text),
			Recipients: []AcceptedRecipient{{Recipient: mail.Recipient{Address: address(t, to)}}}}
		if s.intake.Accept(ctx, a) != nil {
			break
		}
	}
	s.wait("the hold", func() bool { return s.account(2).Hold.Active(time.Now()) })
}

func TestUnknownRecipient(t *testing.T) {
	for _, c := range []struct {
		code     int
		enhanced string
		want     bool
	}{{550, "5.1.1", true}, {550, "", true}, {550, "5.7.1", false}, {554, "", false}, {552, "5.2.2", false}, {550, "5.2.1", true}} {
		if got := unknownRecipient(queue.Outcome{Code: c.code, Enhanced: c.enhanced}); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
}
