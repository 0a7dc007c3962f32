package deliver

import (
	"fmt"
	"regexp"
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

// signs lets here.test sign its senders.
func (s *site) signs() {
	s.t.Helper()
	err := s.db.Write(s.t.Context(), func(tx *db.Tx) error {
		dom, err := s.intake.Directory.DomainTx(tx, "here.test")
		dom.Settings.BouncesSigned = time.Now()
		if err == nil {
			err = s.intake.Directory.SetDomain(tx, dom)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestSenderIsSigned on mail of our users to other hosts, and on nothing else.
func TestSenderIsSigned(t *testing.T) {
	const tagged = `<prvs=0\d{3}[0-9a-f]{6}=alice@here\.test>`
	for _, c := range []struct {
		name string
		edit func(*Accepted)
		want string // MAIL FROM
	}{
		{"a user's", nil, tagged},
		{"local part to be quoted", func(a *Accepted) { a.From = address(t, `"al ice"@here.test`) }, `<"prvs=0\d{3}[0-9a-f]{6}=al ice"@here\.test>`},
		{"no room", func(a *Accepted) { a.From = address(t, strings.Repeat("x", 49)+"@here.test") }, "<x{49}@here.test>"},
		{"a domain that does not sign", func(a *Accepted) { a.From = address(t, "alice@other.test") }, "<alice@other.test>"},
		{"a receipt", func(a *Accepted) { a.From = mail.Address{} }, "<>"},
		{"a forward", func(a *Accepted) {
			a.Origin, a.Account, a.From = queue.MX, 0, address(t, "stranger@far.test")
			a.Recipients[0].Targets = []directory.Target{{Forward: address(t, "bob@home.test"), Owner: address(t, "bob@here.test")}}
		}, `<SRS0=[^>]*=far.test=stranger@here\.test>`},
		{"relayed in a user's name by a stranger", func(a *Accepted) { a.Origin, a.Account = queue.MX, 0 }, "<alice@here.test>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			s.signs()
			p := (&peertest.Peer{}).Start(t)
			s.route(p.Addr())
			s.run()
			s.accept(c.edit, "a@there.test")
			s.wait("an empty queue", s.empty)
			if got := p.Messages[0].From; !regexp.MustCompile("^" + c.want + "$").MatchString(got) {
				t.Errorf("left as %s, want %s", got, c.want)
			}
		})
	}
}

// TestLMTPShowsThePlainSender: it is delivery, and what it stores people read.
func TestLMTPShowsThePlainSender(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.signs()
	p := (&peertest.Peer{LMTP: true}).Start(t)
	s.route(p.Addr(), func(r *Route) { r.LMTP, r.TLS = true, Plain })
	s.run()
	s.accept(nil, "a@there.test")
	s.wait("an empty queue", s.empty)
	if got := p.Messages[0].From; got != "<alice@here.test>" {
		t.Errorf("handed over as %s", got)
	}
}

// TestReportsNameThePlainSender: the tag is for other hosts, not for users.
func TestReportsNameThePlainSender(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.signs()
	p := (&peertest.Peer{Script: map[string]string{"RCPT <bad@there.test>": "550 5.1.1 no such user"}}).Start(t)
	s.route(p.Addr())
	s.run()
	s.accept(nil, "bad@there.test")
	s.wait("a report", func() bool { return len(s.inbox(2)) == 1 })
	if r := s.inbox(2)[0]; strings.Contains(r, "prvs=") || !strings.Contains(r, "To: <alice@here.test>\r\n") {
		t.Errorf("report:\n%s", r)
	}
}

// TestLabels stand in the copies of the recipient they are for, wherever those go.
func TestLabels(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	p := (&peertest.Peer{}).Start(t)
	s.route(p.Addr())
	s.run()
	found := []mail.Finding{{Symbol: "TEST", Score: 1, Evidence: "because"}}
	s.accept(func(a *Accepted) {
		a.Origin, a.Account, a.From = queue.MX, 0, mail.Address{}
		for i, r := range []struct {
			target   directory.Target
			findings []mail.Finding
		}{
			{directory.Target{Account: 2}, found}, {directory.Target{Account: 3}, nil},
			{directory.Target{Forward: address(t, "a@there.test")}, found}, {directory.Target{Forward: address(t, "b@there.test")}, nil},
		} {
			a.Recipients = append(a.Recipients, AcceptedRecipient{
				Recipient: mail.Recipient{Address: address(t, fmt.Sprintf("r%d@here.test", i))},
				Targets:   []directory.Target{r.target}, Findings: r.findings})
		}
	})
	s.wait("an empty queue", s.empty)
	const label = "X-Migiwa-Finding: TEST; 1.0; because\r\n"
	if in := s.inbox(2); len(in) != 1 || !strings.HasPrefix(in[0], "Return-Path: <>\r\nDelivered-To: r0@here.test\r\n"+label+"Received: ") {
		t.Errorf("labelled: %q", in)
	}
	if in := s.inbox(3); len(in) != 1 || strings.Contains(in[0], label) {
		t.Errorf("not labelled: %q", in)
	}
	if p.Count() != 2 {
		t.Fatalf("%d messages left", p.Count())
	}
	for _, m := range p.Messages {
		if strings.HasPrefix(m.Data, label) != (m.To[0] == "<a@there.test>") {
			t.Errorf("to %s: %q", m.To, m.Data)
		}
	}
	s.checkBodies()
}
