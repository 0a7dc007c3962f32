package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/test/peers"
)

// signsSince makes it so that a domain has signed its senders for so long.
// Nothing may serve yet.
func (s *server) signsSince(dsn, name string, age time.Duration) {
	s.t.Helper()
	s.run("", "domain", "set", name, "sign_bounces=yes")
	d, err := db.Open(s.t.Context(), dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	dir := &directory.Directory{DB: d}
	defer dir.Close()
	err = d.Write(s.t.Context(), func(tx *db.Tx) error {
		dom, err := dir.DomainTx(tx, mail.Domain(name))
		dom.Settings.BouncesSigned = dom.Settings.BouncesSigned.Add(-age)
		if err == nil {
			err = dir.SetDomain(tx, dom)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) sqlite() string { return "sqlite:" + filepath.Join(s.Dir, "data", "migiwa.db") }

const eightDays = 8 * 24 * time.Hour

// signedSender finds the envelope sender in a message and checks that it is
// that of address with a tag.
func signedSender(t testing.TB, message, address string) string {
	t.Helper()
	m := regexp.MustCompile(`(?i)(?:Return-Path:\s*|MAIL FROM:)<(prvs=[0-9]{4}[0-9a-f]{6}=([^>]+))>`).FindStringSubmatch(message)
	if m == nil || m[2] != address {
		t.Fatalf("no signed sender %s in\n%s", address, message)
	}
	return m[1]
}

// TestHonestBounce: a real Postfix takes a user's mail, cannot bring it to its
// end and sends a bounce, which arrives.
func TestHonestBounce(t *testing.T) {
	t.Parallel()
	end := newFakeHost(t, "550 5.7.99 not today")
	s := install(t, "")
	pf := peers.Postfix(t, peers.PostfixOptions{Mailboxes: []string{"out@postfix.test"},
		Relay: map[string]string{"behind.test": end.Addr, domain: s.addr(25)}})
	s.configure(route("postfix.test", pf.Addr) + route("behind.test", pf.Addr))
	s.add("alice", "bob")
	s.run("", "alias", "add", "sales@"+domain, "alice@"+domain)
	s.run("", "domain", "set", domain, "unsigned_bounces=tempfail")
	s.signsSince(s.sqlite(), domain, eightDays)
	s.serve()

	s.submit("alice").send("alice@"+domain, []string{"x@behind.test", "bob@" + domain}, message("alice@"+domain, "x@behind.test", "in vain"))
	bounce := s.arrives("alice", "Action: failed", "x@behind.test", "not today")
	tag := `prvs=\d{4}[0-9a-f]{6}=alice@` + regexp.QuoteMeta(domain)
	if !regexp.MustCompile(`(?s)^Return-Path: <>\r\nDelivered-To: ` + tag + `\r\n`).MatchString(bounce) {
		t.Errorf("not by the signed sender:\n%s", bounce)
	}
	wantAll(t, bounce, "postfix.test", "message/delivery-status", "DKIM-Signature", "Subject: in vain")
	if strings.Contains(bounce, "X-Migiwa-Finding: UNSIGNED_BOUNCE") {
		t.Errorf("an honest bounce is labelled:\n%s", bounce)
	}
	wantAll(t, s.arrives("bob", "in vain"), "Return-Path: <alice@"+domain+">")

	// What the domain makes of the sender comes first, then the tag.
	sent := func(from, subject string) string {
		s.submit("alice").send(from, []string{"out@postfix.test"}, message("alice@"+domain, "out@postfix.test", subject))
		return comes(t, pf.Mailbox("out@postfix.test"), "Subject: "+subject)
	}
	signedSender(t, sent("sales@"+domain, "by an alias"), "sales@"+domain)
	s.run("", "domain", "set", domain, "masquerade_hosts="+domain, "masquerade_envelope=yes")
	signedSender(t, sent("alice@pc1."+domain, "masqueraded"), "alice@"+domain)
	s.run("", "domain", "set", domain, "sender_mode=force")
	signed := signedSender(t, sent("sales@"+domain, "forced"), "alice@"+domain)

	// A tag, good or not, is no sender for users.
	s.run("", "domain", "set", domain, "sender_mode=record")
	k := s.submit("alice")
	k.say("553 5.7.1", "MAIL FROM:<%s>", signed)
	k.say("553 5.7.1", "MAIL FROM:<prvs=0123abcdef=alice@%s>", domain)
}

// TestForgedBounces plays a flood of bounces of mail that others sent in the
// domains' names.
func TestForgedBounces(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "")
	s := install(t, route("far.test", host.Addr))
	s.add("alice")
	s.run("", "domain", "set", domain, "unsigned_bounces=label")
	s.signsSince(s.sqlite(), domain, eightDays)
	for name, mode := range map[string]string{"strict.test": "tempfail", "open.test": "accept", "fresh.test": "tempfail", "off.test": "tempfail"} {
		s.run("", "domain", "add", name)
		s.run("u\n", "account", "add", "u@"+name, "--password-stdin")
		s.run("", "domain", "set", name, "unsigned_bounces="+mode)
		switch name {
		case "fresh.test":
			s.signsSince(s.sqlite(), name, 0)
		case "strict.test", "open.test":
			s.signsSince(s.sqlite(), name, eightDays)
		}
	}
	s.serve()
	s.submit("alice").send("alice@"+domain, []string{"x@far.test"}, message("alice@"+domain, "x@far.test", "sent"))
	eventually(t, shortly, "the message", func() bool { got, _ := host.seen(); return len(got) == 1 })
	got, _ := host.seen()
	tagged := signedSender(t, got[0], "alice@"+domain)
	t.Run("label", func(t *testing.T) { testLabelledBounces(t, s.in(t), tagged) })
	t.Run("sender", func(t *testing.T) { testMailToSignedSender(t, s.in(t), tagged) })
	t.Run("modes", func(t *testing.T) { testBounceModes(t, s.in(t)) })
	t.Run("several", func(t *testing.T) { testBounceToSeveral(t, s.in(t), tagged) })
	s.wantEvents("finding", `<alice@`+domain+`> came without the tag`)
	s.wantEvents("refuse", `<u@strict.test> came without the tag`)
}

const (
	bounceLabel = "X-Migiwa-Finding: UNSIGNED_BOUNCE; 2.0; null sender, and "
	receiptType = "Content-Type: multipart/report; boundary=b;\n Report-Type=disposition-notification\n"
)

// null opens a transaction of the null sender up to DATA. Every recipient that
// exists must be taken, whatever it is: call-outs end there.
func (s *server) null(to ...string) *talk {
	s.t.Helper()
	k := s.mx()
	k.say("250", "MAIL FROM:<>")
	for _, r := range to {
		k.say("250", "RCPT TO:<%s>", r)
	}
	return k
}

func bounceOf(subject string) string { return message("MAILER-DAEMON@far.test", "you", subject) }

func testLabelledBounces(t *testing.T, s *server, tagged string) {
	for _, c := range []struct{ to, header, subject, label string }{
		{"alice@" + domain, "", "forged", bounceLabel + "<alice@" + domain + "> came without the tag of a signed sender\r\n"},
		{"prvs=0123abcdef=alice@" + domain, "", "forged tag", bounceLabel + "the tag of <alice@" + domain + "> is too old or not ours\r\n"},
		{tagged, "", "honest", ""},
		{strings.ToUpper(tagged), "", "honest, shouted", ""},
		{"alice@" + domain, receiptType, "receipt", ""},
	} {
		s.null(c.to).data("250", c.header+bounceOf(c.subject))
		m := s.arrives("alice", "Subject: "+c.subject+"\r\n")
		if has := strings.Contains(m, "X-Migiwa-Finding: UNSIGNED_BOUNCE"); has != (c.label != "") || !strings.Contains(m, c.label) {
			t.Errorf("%s:\n%s", c.subject, m)
		}
	}
}

// testMailToSignedSender: with a sender, a tag of any kind is just another way
// to write the address.
func testMailToSignedSender(t *testing.T, s *server, tagged string) {
	k := s.mx()
	k.send("robot@far.test", []string{tagged}, message("robot@far.test", tagged, "away until Monday"))
	k.send("robot@far.test", []string{"prvs=0123abcdef=alice@" + domain}, message("robot@far.test", "x", "a month later"))
	k.say("250", "MAIL FROM:<robot@far.test>")
	k.say("550 5.1.1", "RCPT TO:<prvs=0123abcdef=nobody@%s>", domain)
	for _, subject := range []string{"away until Monday", "a month later"} {
		if m := s.arrives("alice", subject); strings.Contains(m, "X-Migiwa-Finding: UNSIGNED_BOUNCE") {
			t.Errorf("%s is labelled:\n%s", subject, m)
		}
	}
}

func testBounceModes(t *testing.T, s *server) {
	s.null("u@strict.test").data("451 4.7.1 Try again later", bounceOf("put off"))
	s.null("u@strict.test").data("250", receiptType+bounceOf("receipt"))
	s.null("postmaster@strict.test").data("250", bounceOf("to postmaster"))
	s.null("u@open.test").data("250", bounceOf("accepted"))
	s.null("u@fresh.test").data("250", bounceOf("too early to tell"))
	s.null("u@off.test").data("250", bounceOf("not signed"))
	for _, name := range []string{"strict.test", "open.test", "fresh.test", "off.test"} {
		all := s.inboxOf("u@"+name, "u")
		if len(all) != 1 || strings.Contains(all[0], "X-Migiwa-Finding: UNSIGNED_BOUNCE") {
			t.Errorf("%s has %q", name, all)
		}
	}
}

// testBounceToSeveral: one reply at the end of DATA stands for all, so whoever
// is put off comes alone.
func testBounceToSeveral(t *testing.T, s *server, tagged string) {
	k := s.null("alice@"+domain, "u@open.test")
	k.say("452 4.5.3", "RCPT TO:<u@strict.test>")
	k.say("550 5.1.1", "RCPT TO:<nobody@strict.test>")
	k.data("250", bounceOf("to two"))
	s.arrives("alice", "Subject: to two", bounceLabel)
	k = s.null("u@strict.test")
	k.say("452 4.5.3", "RCPT TO:<%s>", tagged)
	k.data("451 4.7.1", bounceOf("to one"))
}

// wantEvents waits for an event of a kind with words in its reason.
func (s *server) wantEvents(kind, words string) {
	s.t.Helper()
	eventually(s.t, shortly, fmt.Sprintf("a %s event with %q", kind, words), func() bool {
		return slices.ContainsFunc(eventtest.Events(s.t, filepath.Join(s.Dir, "data", "journal")), func(e event.Event) bool {
			return string(e.Kind) == kind && strings.Contains(e.Reason, words)
		})
	})
}

// TestBouncesOnAnotherNode: a node that never saw the mail and has none of its
// mailboxes' bodies tells bounces by the database alone.
func TestBouncesOnAnotherNode(t *testing.T) {
	t.Parallel()
	dsn := peers.Postgres(t)
	host := newFakeHost(t, "")
	one := install(t, route("far.test", host.Addr), "--dsn", dsn)
	one.add("alice")
	one.run("", "domain", "set", domain, "unsigned_bounces=tempfail")
	one.signsSince(dsn, domain, eightDays)
	one.serve()
	two := install(t, fmt.Sprintf("[store]\ndsn = %q\n", dsn))
	two.serve()
	one.submit("alice").send("alice@"+domain, []string{"x@far.test"}, message("alice@"+domain, "x@far.test", "sent by one"))
	eventually(t, shortly, "the message", func() bool { got, _ := host.seen(); return len(got) == 1 })
	got, _ := host.seen()
	tagged := signedSender(t, got[0], "alice@"+domain)
	one.stop()

	k := two.mx()
	k.say("250", "MAIL FROM:<>")
	k.say("250", "RCPT TO:<alice@%s>", domain)
	k.data("451 4.7.1", message("MAILER-DAEMON@far.test", "alice", "forged"))
	k.send("", []string{tagged}, message("MAILER-DAEMON@far.test", "alice", "honest"))
	if all := two.inbox("alice"); len(all) != 1 || !strings.Contains(all[0], "Subject: honest") {
		t.Errorf("alice has %q", all)
	}
}
