package deliver

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestAcceptLocal(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.accept(func(a *Accepted) {
			a.Recipients = nil
			for _, to := range []string{"bob@here.test", "info@here.test"} {
				a.Recipients = append(a.Recipients, AcceptedRecipient{Recipient: mail.Recipient{Address: address(t, to)},
					Targets: []directory.Target{{Account: 3, Owner: address(t, "bob@here.test")}}})
			}
		})
		in := s.inbox(3)
		want := "Return-Path: <alice@here.test>\r\nDelivered-To: bob@here.test\r\nReceived: from here\r\n" + text
		if len(in) != 1 || in[0] != want {
			t.Errorf("inbox: %q", in)
		}
		s.checkBodies()
	})
}

func TestDeliverToPeer(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		p := (&peertest.Peer{Ext: []string{"PIPELINING", "SIZE 1000000", "DSN", "8BITMIME"}}).Start(t)
		s.route(p.Addr())
		s.run()
		s.accept(nil, "a@there.test", "b@there.test")
		s.wait("an empty queue", s.empty)
		if p.Count() != 1 {
			t.Fatalf("%d messages, want 1: %q", p.Count(), p.Commands)
		}
		m := p.Messages[0]
		if want := "Received: from here\r\n" + text; m.Data != want {
			t.Errorf("data %q", m.Data)
		}
		if !strings.HasPrefix(m.From, "<alice@here.test> SIZE=") || len(m.To) != 2 {
			t.Errorf("envelope %q %q", m.From, m.To)
		}
		s.checkBodies()
	})
}

func TestPermanentFailureIsReported(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		p := (&peertest.Peer{Script: map[string]string{"RCPT <bad@there.test>": "550 5.1.1 no such user"}}).Start(t)
		s.route(p.Addr())
		s.run()
		s.accept(nil, "good@there.test", "bad@there.test")
		s.wait("a report", func() bool { return len(s.inbox(2)) == 1 })
		r := s.inbox(2)[0]
		for _, want := range []string{"Return-Path: <>\r\n", "Final-Recipient: rfc822; bad@there.test\r\n", "Action: failed\r\n",
			"Status: 5.1.1\r\n", "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n", "In-Reply-To: <1@here.test>\r\n"} {
			if !strings.Contains(r, want) {
				t.Errorf("report lacks %q:\n%s", want, r)
			}
		}
		s.wait("an empty queue", s.empty)
		s.checkBodies()
	})
}

func TestStrangersHearNothing(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		p := (&peertest.Peer{Script: map[string]string{".": "554 5.7.1 spam"}}).Start(t)
		s.route(p.Addr())
		s.run()
		s.accept(func(a *Accepted) {
			a.Origin, a.Account, a.From = queue.MX, 0, address(t, "stranger@far.test")
			a.Recipients = []AcceptedRecipient{{Recipient: mail.Recipient{Address: address(t, "bob@here.test")},
				Targets: []directory.Target{{Forward: address(t, "bob@home.test"), Keeper: 3}}}}
		})
		s.wait("the mail in the keeper's mailbox", func() bool { return len(s.inbox(3)) == 1 })
		if in := s.inbox(3)[0]; !strings.Contains(in, "X-Migiwa-Undelivered: <bob@home.test>; ") || !strings.HasSuffix(in, text) {
			t.Errorf("kept: %s", in)
		}
		s.wait("an empty queue", s.empty)
		s.checkBodies()
	})
}
