package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// submitFrom is submit from an address of this machine's loopback network.
func (s *server) submitFrom(from, user, password string) *talk {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", s.addr(587))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	k := &talk{t: s.t, c: c, r: bufio.NewReader(c)}
	k.want("220 ")
	k.say("250", "EHLO desk.test")
	k.say("220", "STARTTLS")
	k.handshake()
	k.say("250", "EHLO desk.test")
	k.say("235", "AUTH PLAIN %s", plain(user+"@"+domain, password))
	return k
}

// abuse logs in from many networks and guesses recipients until the account is
// held. It gives the session in which that happened, inside a transaction with
// one good recipient.
func (s *server) abuse(user string) *talk {
	s.t.Helper()
	s.submitFrom("127.0.0.1", user, user)
	var k *talk
	for i := range 6 {
		k = s.submitFrom(fmt.Sprintf("127.%d.0.1", 20+i), user, user)
	}
	k.say("250", "MAIL FROM:<%s@%s>", user, domain)
	k.say("250", "RCPT TO:<first@far.test>")
	for i := range 20 {
		k.write(fmt.Sprintf("RCPT TO:<nobody%d@%s>\r\n", i, domain))
		switch got := k.reply(); {
		case strings.HasPrefix(got, "451 4.7.1 Sending is stopped"):
			return k
		case !strings.HasPrefix(got, "550 5.1.1"):
			s.t.Fatalf("RCPT: %s", got)
		}
	}
	s.t.Fatal("the account is not held")
	return nil
}

// subjects counts the messages of a mailbox by subject.
func (s *server) subjects(user string) map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, m := range s.inbox(user) {
		_, rest, _ := strings.Cut(header(m), "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		n[subject]++
	}
	return n
}

// TestStolenPassword holds an account, tells who must know, and lets it go by a
// new password.
func TestStolenPassword(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "450 4.2.0 later")
	s := start(t, "[outbound]\nhold = \"10m\"\n"+route("far.test", host.Addr), "alice")
	s.run("", "account", "set", "admin@"+domain, "password=admin") // postmaster's mail goes there
	s.submit("alice").send("alice@"+domain, []string{"x@far.test"}, message("alice@"+domain, "x@far.test", "queued"))
	open := s.submit("alice")
	k := s.abuse("alice")
	k.data("451 4.7.1", "From: alice@"+domain+"\n\nSpam.\n")
	open.say("451 4.7.1", "MAIL FROM:<alice@%s>", domain)
	s.submit("alice").say("451 4.7.1", "MAIL FROM:<alice@%s>", domain)

	wantAll(t, s.run("", "account", "show", "alice@"+domain), "held until", "held because of", "unknown, from 7 networks")
	wantAll(t, s.run("", "account", "list"), "held until")
	wantAll(t, s.run("", "queue", "list", "--account", "alice@"+domain), "held suspect", "x@far.test")
	if got := s.metrics(); !strings.Contains(got, "\nmigiwa_outbound_holds_total 1\n") {
		t.Error("no metric of the hold")
	}
	if got := s.subjects("alice"); got["Sending from your account has been stopped"] != 1 || len(got) != 1 {
		t.Errorf("alice got %v", got)
	}
	if got := s.subjects("admin"); got["Sending has been stopped for an account"] != 1 {
		t.Errorf("admin got %v", got)
	}

	s.run("", "account", "set", "alice@"+domain, "password=fresh")
	open.say("421 4.7.0", "MAIL FROM:<alice@%s>", domain)
	host.say("")
	s.submitFrom("127.0.0.1", "alice", "fresh").send("alice@"+domain, []string{"y@far.test"}, message("alice@"+domain, "y@far.test", "mine"))
	eventually(t, shortly, "alice's own mail", func() bool { got, _ := host.seen(); return len(got) == 1 })
	wantAll(t, s.run("", "queue", "list"), "held suspect", "x@far.test")
	s.run("", "queue", "release", "--account", "alice@"+domain, "--suspect")
	eventually(t, shortly, "the released mail", func() bool { got, _ := host.seen(); return len(got) == 2 })
	if out := s.run("", "account", "show", "alice@"+domain); !strings.Contains(out, "as usual") {
		t.Errorf("after the new password:\n%s", out)
	}
}

// TestHoldEnds lets holds end by time, over a crash, and by an administrator.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "450 4.2.0 later")
	s := start(t, "[outbound]\nhold = \"12s\"\n"+route("far.test", host.Addr), "bob", "carol")
	s.submit("carol").send("carol@"+domain, []string{"c@far.test"}, message("carol@"+domain, "c@far.test", "hers"))
	s.abuse("bob")
	begin := time.Now()
	s.abuse("carol")
	s.kill()
	s.serve()
	s.submit("bob").say("451 4.7.1", "MAIL FROM:<bob@%s>", domain)
	host.say("")
	s.run("", "account", "release", "carol@"+domain)
	s.submit("carol").say("250", "MAIL FROM:<carol@%s>", domain)
	wantAll(t, s.run("", "account", "show", "carol@"+domain), "vouched for until")
	eventually(t, shortly, "carol's mail", func() bool { got, _ := host.seen(); return len(got) == 1 })
	eventually(t, 40*time.Second, "the end of bob's hold", func() bool {
		k := s.submit("bob")
		k.write(fmt.Sprintf("MAIL FROM:<bob@%s>\r\n", domain))
		return strings.HasPrefix(k.reply(), "250")
	})
	if d := time.Since(begin); d < 11*time.Second {
		t.Errorf("bob's hold of 12 s ended after %v", d)
	}
	if got := s.subjects("bob"); got["Sending from your account has been stopped"] != 1 || len(got) != 1 {
		t.Errorf("bob got %v", got)
	}
}
