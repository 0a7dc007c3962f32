package edge

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// visit opens a visit of a client at a guard that looks nothing up.
func visit(t *testing.T, g *Guard, ip string) *Visit {
	t.Helper()
	v, reply := g.Open(Client{Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 4000)})
	if reply != nil {
		t.Fatal(reply)
	}
	return v
}

func newGuard(t *testing.T) *Guard {
	return &Guard{Engine: newTest(t, Sizes{Sources: 1 << 14}), Clock: NewClock(1, 0)}
}

// TestBouncesOfProvenSourceAreBounded has a proven source guess as the null
// sender, whose unknown recipients are no evidence against the source.
func TestBouncesOfProvenSourceAreBounded(t *testing.T) {
	g := newGuard(t)
	prove(g.Engine, g.Clock.Now(), "192.0.2.1")
	v := visit(t, g, "192.0.2.1")
	defer v.Close()
	told := 0
	for i := range 500 {
		v.Mail(mail.Address{}, 0)
		r := v.Rcpt(t.Context(), mail.MakeAddress(fmt.Sprint("guess", i), "here.test"), false)
		if r.Reply == nil {
			told++
			v.Told(r, Unknown, "")
		}
	}
	if told > 10 {
		t.Errorf("%d guesses of 500 were answered", told)
	}
	v.Mail(mail.MakeAddress("a", "sender.test"), 0)
	if r := v.Rcpt(t.Context(), mail.MakeAddress("alice", "here.test"), false); r.Reply != nil {
		t.Errorf("its other mail is held, too: %v", r.decision.Why)
	}
}

// TestOneMailboxEarnsOnce names one mailbox in many ways in one message.
func TestOneMailboxEarnsOnce(t *testing.T) {
	g := newGuard(t)
	v := visit(t, g, "192.0.2.1")
	defer v.Close()
	v.Mail(mail.MakeAddress("a", "sender.test"), 0)
	for i := range 30 {
		for _, local := range []string{"alice", "ALICE", fmt.Sprint("alice+", i), fmt.Sprintf("prvs=0%03dabcdef=alice+x", i)} {
			r := v.Rcpt(t.Context(), mail.MakeAddress(local, "here.test"), false)
			if r.Reply != nil {
				t.Fatal(r.Reply)
			}
			v.Told(r, Exists, "")
		}
	}
	v.Accepted(100)
	if s := look(t, g.Engine, g.Clock.Now(), v.source); s.ham != 1 {
		t.Errorf("one message to one mailbox counts as %d", s.ham)
	}
}

func TestRecipientName(t *testing.T) {
	for local, want := range map[string]string{
		"bob": "bob", "Bob+lists+x": "bob", "+x": "+x", "prvs=0123abcdef=Bob+x": "bob", "PRVS=x=bob": "bob",
		"prvs=": "prvs=", "prvs=0123abcdef=": "prvs=0123abcdef=", "prvs=bob": "prvs=bob", "SRS0=a=b=c.test=bob": "srs0=a=b=c.test=bob",
	} {
		if got := recipientName(mail.MakeAddress(local, "here.test")); got != want+"@here.test" {
			t.Errorf("%s: %s", local, got)
		}
	}
}

// TestAliasesShareCredits writes to one mailbox by addresses without end, as a
// domain catches them: in one message, in many of one source, and of many.
func TestAliasesShareCredits(t *testing.T) {
	for _, mailbox := range []string{"7", ""} {
		g := newGuard(t)
		n := 0
		message := func(v *Visit, recipients int) {
			v.Mail(mail.MakeAddress("a", "sender.test"), 0)
			for range recipients {
				n++
				r := v.Rcpt(t.Context(), mail.MakeAddress(fmt.Sprint("any", n), "here.test"), false)
				if r.Reply != nil {
					t.Fatal(r.Reply)
				}
				v.Told(r, Exists, mailbox)
			}
			v.Accepted(100)
		}
		v := visit(t, g, "192.0.2.1")
		message(v, 30)
		one := int(look(t, g.Engine, g.Clock.Now(), v.source).ham)
		v.Close()
		all := one
		for i := range 100 {
			v := visit(t, g, fmt.Sprint("198.51.100.", i))
			message(v, 1)
			if s, known := g.Engine.sources.peek(v.source.key); known {
				all += int(s.ham)
			}
			v.Close()
		}
		most := int(g.Engine.rules.CreditsPerRecipient)
		switch {
		case mailbox == "" && (one != 30 || all != 130): // or the test tests nothing
			t.Errorf("30 recipients earn %d credits, 130 earn %d", one, all)
		case mailbox != "" && (one != 1 || all > most):
			t.Errorf("a message to one mailbox earns %d credits, 101 earn %d of %d", one, all, most)
		}
	}
}

// TestAliasesAreOneShadow has a deferred client ask for many addresses of one
// mailbox: that it exists speaks for the client once.
func TestAliasesAreOneShadow(t *testing.T) {
	for _, mailbox := range []string{"7", ""} {
		g := newGuard(t)
		v := visit(t, g, "192.0.2.1")
		v.Mail(mail.MakeAddress("a", "sender.test"), 0)
		for i := range 5 {
			r := &Ruling{from: v.from, to: mail.MakeAddress(fmt.Sprint("any", i), "here.test"), decision: Decision{Defer: true, Why: Gate}}
			v.attempt(r)
			g.learn(r, Exists, mailbox)
		}
		ev := look(t, g.Engine, g.Clock.Now(), v.source).evidence()
		if want := -g.Engine.rules.Valid; mailbox != "" && ev < want {
			t.Errorf("evidence %.1f, want %.1f", ev, want)
		} else if mailbox == "" && ev > 3*want {
			t.Errorf("five mailboxes: evidence %.1f", ev)
		}
		v.Close()
	}
}
