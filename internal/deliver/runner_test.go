package deliver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestTemporaryFailureIsTriedAgain(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{Script: map[string]string{"RCPT <b@there.test>": "450 4.2.0 not yet"}, Ext: []string{"PIPELINING"}}).Start(t)
	s.route(p.Addr())
	s.runner.Limits.Retry = 100 * time.Millisecond
	s.run()
	s.accept(nil, "a@there.test", "b@there.test")
	s.wait("a deferral", func() bool {
		return strings.Join(s.list(), "|") == "a@there.test delivered 250 2.0.0 taken|b@there.test waiting 450 4.2.0 not yet"
	})
	p.Set("RCPT <b@there.test>", "")
	s.wait("an empty queue", s.empty)
	if p.Count() != 2 || len(s.inbox(2)) != 0 {
		t.Errorf("%d messages, reports %q", p.Count(), s.inbox(2))
	}
	s.checkBodies()
}

func TestDeadDestinationRestsAsAWhole(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{Script: map[string]string{"connect": "421 4.3.2 busy"}}).Start(t)
	s.route(p.Addr())
	s.runner.Limits.Retry, s.runner.Limits.DeadAfter = time.Hour, 2
	s.run()
	for i := range 30 {
		s.accept(nil, fmt.Sprintf("u%d@there.test", i))
	}
	s.wait("everything put off", func() bool {
		return strings.Count(strings.Join(s.list(), "\n"), "waiting 421 4.3.2 busy") == 30
	})
	conns := p.Connections()
	if conns > 6 {
		t.Errorf("%d connections to a dead host", conns)
	}
	p.Set("connect", "")
	s.accept(nil, "late@there.test") // does not wake the dead
	s.wait("the late one put off", func() bool { return strings.Contains(s.list()[30], "421") })
	if now := p.Connections(); now != conns {
		t.Errorf("%d connections more", now-conns)
	}
	if n, err := s.queue.Retry(context.Background(), queue.Selection{}); n != 31 || err != nil {
		t.Fatalf("retry: %d, %v", n, err)
	}
	s.wait("an empty queue", s.empty)
	if p.Count() != 31 {
		t.Errorf("%d messages arrived, want 31", p.Count())
	}
}

func TestHoldReleaseDelete(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		p := (&peertest.Peer{}).Start(t)
		s.route(p.Addr())
		s.accept(nil, "a@there.test", "b@other.test", "c_d@there.test")
		ctx := context.Background()
		if n, err := s.queue.Hold(ctx, queue.Selection{Domain: "There.test"}); n != 2 || err != nil {
			t.Fatalf("hold: %d, %v", n, err)
		}
		s.run()
		s.wait("only the held ones", func() bool { return strings.Count(strings.Join(s.list(), "|"), "held") == 2 && p.Count() == 1 })
		if gone, err := s.queue.Delete(ctx, queue.Selection{Address: "c_d@there.test"}); len(gone) != 1 || err != nil {
			t.Fatalf("delete: %v, %v", gone, err)
		}
		if n, err := s.queue.Release(ctx, queue.Selection{}); n != 1 || err != nil {
			t.Fatalf("release: %d, %v", n, err)
		}
		s.wait("an empty queue", s.empty)
		if p.Count() != 2 {
			t.Errorf("%d messages arrived, want 2", p.Count())
		}
		s.checkBodies()
	})
}

func TestExpiryAndDelayWarning(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		p := (&peertest.Peer{Script: map[string]string{"MAIL": "451 4.7.1 later"}}).Start(t)
		s.route(p.Addr())
		s.intake.Lifetime = 1500 * time.Millisecond
		s.runner.Limits.DelayWarning = 200 * time.Millisecond
		s.run()
		s.accept(nil, "a@there.test")
		s.accept(func(a *Accepted) { a.Recipients[0].Notify = mail.NotifyFailure }, "quiet@there.test")
		s.wait("reports", func() bool { return len(s.inbox(2)) >= 3 })
		var got []string
		for _, r := range s.inbox(2) {
			rcpt := strings.Split(strings.Split(r, "Final-Recipient: rfc822; ")[1], "\r\n")
			got = append(got, rcpt[0]+" "+rcpt[1]+" "+rcpt[2])
		}
		want := "a@there.test Action: delayed Status: 4.7.1|a@there.test Action: failed Status: 4.4.7|quiet@there.test Action: failed Status: 4.4.7"
		if strings.Join(got, "|") != want {
			t.Errorf("reports %q", got)
		}
		s.wait("an empty queue", s.empty)
		s.checkBodies()
	})
}

// TestWhoHears: the table of the package comment.
func TestWhoHears(t *testing.T) {
	for _, c := range []struct {
		name       string
		edit       func(s *site, a *Accepted)
		postmaster int // mails in mailboxes
		alice, bob int
		doubles    int
	}{
		{"a user", func(s *site, a *Accepted) {}, 0, 1, 0, 0},
		{"a user who asked for silence", func(s *site, a *Accepted) { a.Recipients[0].Notify = mail.NotifyNever }, 0, 0, 0, 0},
		{"a user who is gone", func(s *site, a *Accepted) { a.From = address(s.t, "gone@here.test") }, 0, 0, 0, 1},
		{"a stranger's, forwarded", func(s *site, a *Accepted) {
			a.Origin, a.From = queue.MX, address(s.t, "x@far.test")
			a.Recipients[0].Targets = []directory.Target{{Forward: address(s.t, "bob@home.test"), Keeper: 3}}
		}, 0, 0, 1, 0},
		{"a stranger's null sender, forwarded", func(s *site, a *Accepted) {
			a.Origin, a.From = queue.MX, mail.Address{}
			a.Recipients[0].Targets = []directory.Target{{Forward: address(s.t, "bob@home.test"), Keeper: 3}}
		}, 0, 0, 1, 0},
		{"forwarded, and the keeper is full", func(s *site, a *Accepted) {
			a.Origin, a.From = queue.MX, address(s.t, "x@far.test")
			a.Recipients[0].Targets = []directory.Target{{Forward: address(s.t, "bob@home.test"), Keeper: 3}}
			s.fillUp(3)
		}, 1, 0, 0, 0},
		{"a stranger's, relayed", func(s *site, a *Accepted) {
			a.Origin, a.From = queue.MX, address(s.t, "x@far.test")
			a.Recipients[0].Targets = []directory.Target{{Relay: true}}
		}, 1, 0, 0, 0},
		{"null sender, relayed", func(s *site, a *Accepted) {
			a.Origin, a.From = queue.MX, mail.Address{}
			a.Recipients[0].Targets = []directory.Target{{Relay: true}}
		}, 0, 0, 0, 1},
		{"a user's null sender", func(s *site, a *Accepted) { a.From = mail.Address{} }, 0, 0, 0, 1},
		{"a report of ours", func(s *site, a *Accepted) { a.Origin, a.From = queue.DSN, mail.Address{} }, 0, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			p := (&peertest.Peer{Script: map[string]string{"RCPT": "550 5.1.1 no"}}).Start(t)
			s.route(p.Addr())
			s.accept(func(a *Accepted) { c.edit(s, a) }, "x@there.test")
			s.run()
			s.wait("an empty queue", s.empty)
			doubles, err := s.queue.DoubleBounces(context.Background(), 10)
			got := [4]int{len(s.inbox(1)), len(s.inbox(2)), len(s.inbox(3)), len(doubles)}
			if want := [4]int{c.postmaster, c.alice, c.bob, c.doubles}; got != want || err != nil {
				t.Errorf("postmaster, alice, bob, doubles: %v, want %v, %v", got, want, err)
			}
			s.checkBodies()
		})
	}
}

// fillUp leaves an account no room.
func (s *site) fillUp(account int64) {
	err := s.db.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE account SET quota = 1 WHERE id = ?`, account)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestNobodyHasRoom(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.fillUp(1)
	p := (&peertest.Peer{Script: map[string]string{"RCPT": "550 5.1.1 no"}}).Start(t)
	s.route(p.Addr())
	s.accept(func(a *Accepted) {
		a.Origin, a.From = queue.MX, address(t, "x@far.test")
		a.Recipients[0].Targets = []directory.Target{{Relay: true}}
	}, "x@there.test")
	s.run()
	s.wait("the mail held", func() bool { l := s.list(); return len(l) == 1 && strings.HasPrefix(l[0], "x@there.test held 550") })
	s.checkBodies()
}

func TestDigest(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.runner.Limits.DigestRows = 5
	p := (&peertest.Peer{Script: map[string]string{"RCPT": "550 5.1.1 no\x1b[2J such user"}}).Start(t)
	s.route(p.Addr())
	for i := range 5 {
		s.accept(func(a *Accepted) { a.From = mail.Address{} }, fmt.Sprintf("u%d@there.test", i))
	}
	s.run()
	s.wait("a digest", func() bool { return len(s.inbox(1)) == 1 })
	in := s.inbox(1)[0]
	if strings.Count(in, "@there.test>: 550 5.1.1 no?[2J such user\r\n") != 5 || !strings.Contains(in, "Subject: 5 reports could not be delivered") {
		t.Errorf("digest:\n%s", in)
	}
	rows, err := s.queue.DoubleBounces(context.Background(), 10)
	if len(rows) != 0 || err != nil {
		t.Errorf("%d rows left, %v", len(rows), err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{Ext: []string{"PIPELINING"}}).Start(t)
	s.route(p.Addr())
	s.runner.Limits.PerConnection, s.runner.Limits.PerDestination = 10, 2
	for i := range 60 {
		s.accept(nil, fmt.Sprintf("u%d@there.test", i))
	}
	s.run()
	s.wait("an empty queue", s.empty)
	if p.Count() != 60 || p.Conns < 6 || p.Conns > 9 || p.MaxOpen > 4 {
		t.Errorf("%d messages by %d connections, %d at a time", p.Count(), p.Conns, p.MaxOpen)
	}
}

// TestClosedWhileIdle: a peer that closes a connection in use for a while must
// not cost the next message an attempt.
func TestClosedWhileIdle(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{Ext: []string{"PIPELINING"}, IdleClose: 20 * time.Millisecond}).Start(t)
	s.route(p.Addr())
	s.runner.Limits.Idle = 5 * time.Second
	s.run()
	for i := range 3 {
		s.accept(nil, fmt.Sprintf("u%d@there.test", i))
		s.wait("delivery", func() bool { return p.Count() == i+1 })
		time.Sleep(60 * time.Millisecond)
	}
	s.wait("an empty queue", s.empty)
	if p.Conns != 3 {
		t.Errorf("%d connections", p.Conns)
	}
}

func TestStopLetsTransactionsFinish(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{Delay: 100 * time.Millisecond}).Start(t)
	s.route(p.Addr())
	for i := range 10 {
		s.accept(nil, fmt.Sprintf("u%d@there.test", i))
	}
	stop := s.run()
	s.wait("a first command", func() bool { p.Lock(); defer p.Unlock(); return len(p.Commands) > 1 })
	stop()
	if left := len(s.list()); p.Count() == 0 || p.Count()+left != 10 {
		t.Errorf("%d arrived, %d left of 10", p.Count(), left)
	}
}

func TestLMTP(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{LMTP: true, Ext: []string{"PIPELINING"}, Script: map[string]string{". <b@there.test>": "550 5.2.1 disabled"}}).Start(t)
	s.route(p.Addr(), func(r *Route) { r.LMTP, r.TLS = true, Plain })
	s.run()
	s.accept(nil, "a@there.test", "b@there.test", "c@there.test")
	s.wait("a report", func() bool { return len(s.inbox(2)) == 1 })
	s.wait("an empty queue", s.empty)
	if p.Count() != 2 {
		t.Errorf("%d copies", p.Count())
	}
}

// TestRefusedConnection: a 5xx in place of the banner is no word about a
// recipient, but for 521.
func TestRefusedConnection(t *testing.T) {
	for banner, want := range map[string]string{
		"554 5.7.1 your address is listed": "a@there.test waiting 451 4.3.2 The server takes no mail from us now: 554 5.7.1 your address is listed",
		"521 5.3.2 no mail here":           "",
	} {
		s := newSite(t, dbtest.SQLite(t))
		p := (&peertest.Peer{Script: map[string]string{"connect": banner}}).Start(t)
		s.route(p.Addr())
		s.run()
		s.accept(nil, "a@there.test")
		s.wait("its end", func() bool { return strings.Join(s.list(), "|") == want })
		if reports := len(s.inbox(2)); (want == "") != (reports == 1) {
			t.Errorf("%s: %d reports", banner, reports)
		}
	}
}
