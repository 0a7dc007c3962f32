package e2e

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// route gives the lines of a route.
func route(domain, to string, more ...string) string {
	return fmt.Sprintf("[[route]]\ndomain = %q\nto = %q\n%s\n", domain, to, strings.Join(more, "\n"))
}

// peerCert makes a certificate for a peer.
func peerCert(t *testing.T) (cert, key string) {
	t.Helper()
	dir := othersDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if out, err := tool(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "2", "-subj", "/CN=peer.test", "-keyout", key, "-out", cert); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	if err := exec.Command("chmod", "644", key).Run(); err != nil { // Exim reads it as its own user
		t.Fatal(err)
	}
	return cert, key
}

// comes waits for a message with all the words in a peer's mailbox.
func comes(t *testing.T, box peers.Maildir, words ...string) string {
	t.Helper()
	var found string
	eventually(t, 30*time.Second, fmt.Sprintf("%s has mail with %q", box, words), func() bool {
		all, err := box.Messages()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if containsAll(m, words...) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// TestPostfix sends to a real Postfix: submitted mail, a report of failure,
// forwards and their bounces, relayed domains.
func TestPostfix(t *testing.T) {
	t.Parallel()
	cert, key := peerCert(t)
	pf := peers.Postfix(t, peers.PostfixOptions{
		Mailboxes: []string{"out@postfix.test", "friend@far.test", "any@relay.test", "yes@listed.test"}, CertFile: cert, KeyFile: key,
	})
	s := start(t, route("postfix.test", pf.Addr)+route("far.test", pf.Addr)+
		route("relay.test", pf.Addr, "relay = true", `recipients = "any"`)+
		route("listed.test", pf.Addr, "relay = true", `recipients = "listed"`), "alice", "fwd", "lost")
	s.run("", "account", "set", "admin@"+domain, "password=admin")

	t.Run("submitted", func(t *testing.T) {
		s := s.in(t)
		k := s.submit("alice")
		k.send("alice@"+domain, []string{"out@postfix.test"}, message("alice@"+domain, "out@postfix.test", "to Postfix")+".dot\n")
		wantAll(t, comes(t, pf.Mailbox("out@postfix.test"), "to Postfix"), "Return-Path: <alice@"+domain+">", "with ESMTPS id", "DKIM-Signature: ", "Subject: to Postfix", "\n.dot\n")
	})
	t.Run("refused recipient", func(t *testing.T) {
		s := s.in(t)
		s.submit("alice").send("alice@"+domain, []string{"nobody@postfix.test"}, message("alice@"+domain, "nobody@postfix.test", "in vain"))
		readReport(t, s.arrives("alice", "delivery-status", "nobody@postfix.test"), "failed", "nobody@postfix.test", "in vain")
	})
	t.Run("success", func(t *testing.T) {
		s := s.in(t)
		k := s.submit("alice")
		k.say("250", "MAIL FROM:<alice@%s> ENVID=QQ314159", domain)
		k.say("250", "RCPT TO:<fwd@%s> NOTIFY=SUCCESS ORCPT=rfc822;fwd@%s", domain, domain)
		k.data("250", message("alice@"+domain, "fwd@"+domain, "please tell"))
		got := s.arrives("alice", "Original-Envelope-Id: QQ314159")
		wantAll(t, got, "Action: delivered", "Final-Recipient: rfc822; fwd@"+domain)
	})
	t.Run("forward", func(t *testing.T) { testForward(t, s.in(t), pf) })
	t.Run("relay", func(t *testing.T) { testRelay(t, s.in(t), pf) })
}

func testForward(t *testing.T, s *server, pf *peers.PostfixServer) {
	s.run("", "account", "set", "fwd@"+domain, "forward_to=out@postfix.test")
	s.deliver("forwarded", "fwd@"+domain)
	got := comes(t, pf.Mailbox("out@postfix.test"), "Subject: forwarded")
	m := regexp.MustCompile(`Return-Path: <(SRS0=[^>]+)>`).FindStringSubmatch(got)
	if m == nil {
		t.Fatalf("no SRS sender in\n%s", got)
	}
	srs := m[1]
	if !strings.HasSuffix(srs, "@"+domain) {
		t.Errorf("SRS sender %s is not of %s", srs, domain)
	}
	k := s.mx()
	k.say("250", "MAIL FROM:<spam@far.test>")
	k.say("550 5.1.1", "RCPT TO:<%s>", srs) // it takes bounces only
	k.say("250", "RSET")
	k.send("", []string{srs}, message("MAILER-DAEMON@postfix.test", srs, "a bounce"))
	wantAll(t, comes(t, pf.Mailbox("friend@far.test")), "Return-Path: <>", "Subject: a bounce")
	if got := s.inbox("fwd"); len(got) != 1 { // the success test's
		t.Errorf("fwd keeps %d messages of a forward that went well", len(got))
	}

	s.run("", "account", "set", "lost@"+domain, "forward_to=nobody@postfix.test")
	s.deliver("not to be lost", "lost@"+domain)
	wantAll(t, s.arrives("lost", "not to be lost"), "Return-Path: <friend@far.test>", "X-Migiwa-Undelivered: <nobody@postfix.test>", "550")
}

func testRelay(t *testing.T, s *server, pf *peers.PostfixServer) {
	s.run("", "domain", "add", "listed.test")
	s.run("", "alias", "add", "yes@listed.test", "yes@listed.test")
	s.deliver("relayed", "any@relay.test", "yes@listed.test")
	for _, a := range []string{"any@relay.test", "yes@listed.test"} {
		wantAll(t, comes(t, pf.Mailbox(a)), "Return-Path: <friend@far.test>", "Subject: relayed")
	}
	k := s.mx()
	k.say("250", "MAIL FROM:<friend@far.test>")
	k.say("550 5.1.1", "RCPT TO:<no@listed.test>")
	k.say("550 5.7.1", "RCPT TO:<x@sub.relay.test>")
	// Who is behind a route for any recipient, only the host behind knows. What
	// it refuses goes to our postmaster, never back to a stranger.
	k.say("250", "RCPT TO:<nobody@relay.test>")
	k.data("250", message("friend@far.test", "nobody@relay.test", "stranded"))
	eventually(t, shortly, "the postmaster has it", func() bool {
		for _, m := range s.inbox("admin") {
			if containsAll(m, "Subject: stranded", "X-Migiwa-Undelivered: <nobody@relay.test>") {
				return true
			}
		}
		return false
	})
	if n, err := pf.Mailbox("friend@far.test").Count(); err != nil || n != 1 { // the forward's
		t.Errorf("friend@far.test has %d messages, %v", n, err)
	}
}

// readReport checks the three parts of a report (RFC 3462, 3464).
func readReport(t *testing.T, text, action, recipient, subject string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" || m.Header.Get("Return-Path") != "<>" {
		t.Fatalf("no report: %v, %v\n%s", kind, err, text)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i, want := range []struct {
		kind  string
		words []string
	}{
		{"text/plain", []string{recipient}},
		{"message/delivery-status", []string{"Reporting-MTA: dns; localhost." + domain, "Final-Recipient: rfc822; " + recipient, "Action: " + action, "Status: "}},
		{"message/rfc822", []string{"Subject: " + subject}},
	} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatalf("part %d: %v\n%s", i, err, text)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); got != want.kind {
			t.Errorf("part %d is %s, want %s", i, got, want.kind)
		}
		wantAll(t, string(body), want.words...)
	}
}

func TestExim(t *testing.T) {
	t.Parallel()
	cert, key := peerCert(t)
	ex := peers.Exim(t, peers.EximOptions{Mailboxes: []string{"out@exim.test"}, CertFile: cert, KeyFile: key})
	s := start(t, route("exim.test", ex.Addr, `tls = "required"`), "alice")
	s.submit("alice").send("alice@"+domain, []string{"out@exim.test"}, message("alice@"+domain, "out@exim.test", "to Exim"))
	wantAll(t, comes(t, ex.Mailbox("out@exim.test")), "<alice@"+domain+">", "with esmtps", "Subject: to Exim")
	s.submit("alice").send("alice@"+domain, []string{"nobody@exim.test"}, message("alice@"+domain, "nobody@exim.test", "in vain"))
	readReport(t, s.arrives("alice", "delivery-status", "nobody@exim.test"), "failed", "nobody@exim.test", "in vain")
}

// TestDovecotLMTP keeps the mailboxes of a domain in a real Dovecot.
func TestDovecotLMTP(t *testing.T) {
	t.Parallel()
	dv := peers.DovecotLMTP(t, "box@dovecot.test", "two@dovecot.test")
	s := start(t, route("dovecot.test", dv.LMTP, `protocol = "lmtp"`, `tls = "none"`, "relay = true", `recipients = "any"`), "alice")
	k := s.mx()
	k.send("friend@far.test", []string{"box@dovecot.test", "two@dovecot.test"}, message("friend@far.test", "box@dovecot.test", "behind"))
	for _, a := range []string{"box@dovecot.test", "two@dovecot.test"} {
		wantAll(t, comes(t, dv.Mailbox(a)), "Return-Path: <friend@far.test>", "Subject: behind")
	}
	s.submit("alice").send("alice@"+domain, []string{"nobody@dovecot.test", "box@dovecot.test"}, message("alice@"+domain, "box@dovecot.test", "half"))
	readReport(t, s.arrives("alice", "delivery-status", "nobody@dovecot.test"), "failed", "nobody@dovecot.test", "half")
	comes(t, dv.Mailbox("box@dovecot.test"), "Subject: half")
}

// TestQueue plays an operator with mail that another host puts off.
func TestQueue(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "451 4.3.0 come back later")
	s := start(t, route("*", host.Addr)+"[queue]\nretry_first = \"80m\"\n", "alice")
	send := func(to ...string) {
		s.submit("alice").send("alice@"+domain, to, message("alice@"+domain, to[0], "waiting"))
	}
	list := func(args ...string) string { return s.run("", append([]string{"queue", "list"}, args...)...) }
	tried := func(n int) {
		t.Helper()
		eventually(t, shortly, fmt.Sprintf("%d tries", n), func() bool { _, got := host.seen(); return got >= n })
	}
	send("one@a.test", "two@b.test")
	tried(2)
	eventually(t, shortly, "the queue tells the answer", func() bool {
		return strings.Count(list(), "451 4.3.0 come back later") == 2
	})
	wantAll(t, list(), "one@a.test", "two@b.test", "waiting", "in 1h", "NUMBER") // 80 minutes with their jitter
	wantAll(t, list("--json", "--to", "one@a.test"), `"to":"<one@a.test>"`, `"state":"waiting"`, `"attempts":1`, `"from":"<alice@`+domain+`>"`)
	if strings.Contains(list("--domain", "a.test"), "two@b.test") {
		t.Error("--domain selects others too")
	}
	wantAll(t, s.run("", "queue", "show", "1"), "Subject: waiting", "DKIM-Signature", "one@a.test")
	if out, code := s.try("", "queue", "show", "99"); code != 1 || !strings.Contains(out, "no message 99") {
		t.Errorf("show of nothing: status %d, %s", code, out)
	}
	for _, verb := range []string{"retry", "hold", "release", "delete"} {
		if out, code := s.try("", "queue", verb); code != 2 || !strings.Contains(out, "--all") {
			t.Errorf("queue %s of nothing: status %d, %s", verb, code, out)
		}
	}
	wantAll(t, s.run("", "queue", "hold", "--to", "one@a.test"), "1 recipient")
	wantAll(t, list("--state", "held"), "one@a.test", "held")
	host.say("")
	wantAll(t, s.run("", "queue", "retry", "--all"), "1 recipient")
	tried(3)
	eventually(t, shortly, "two@b.test is gone", func() bool { return !strings.Contains(list(), "two@b.test") })
	wantAll(t, list(), "one@a.test")
	s.run("", "queue", "release", "1")
	eventually(t, shortly, "the queue is empty", func() bool { return list("--json") == "" })
	got, _ := host.seen()
	if len(got) != 2 {
		t.Fatalf("%d messages came", len(got))
	}

	host.say("451 4.3.0 not now")
	send("three@a.test")
	eventually(t, shortly, "it waits", func() bool { return strings.Contains(list(), "not now") })
	wantAll(t, s.run("", "queue", "delete", "--domain", "a.test", "--json"), `{"recipients":1}`)
	if out := list("--json"); out != "" {
		t.Errorf("the queue still holds %s", out)
	}
	if got := s.inbox("alice"); len(got) != 0 {
		t.Errorf("a deleted message was reported: %q", got)
	}
}

// TestRetry lets mail through at a later try, and warns and gives up in time.
func TestRetry(t *testing.T) {
	t.Parallel()
	later, never := newFakeHost(t, "421 4.3.2 shutting down"), newFakeHost(t, "450 4.2.1 box is locked")
	s := start(t, route("later.test", later.Addr)+route("never.test", never.Addr)+
		"[queue]\nretry_first = \"1s\"\nretry_max = \"2s\"\nwarn_after = \"2s\"\nlifetime = \"8s\"\n", "alice")
	k := s.submit("alice")
	k.send("alice@"+domain, []string{"x@later.test"}, message("alice@"+domain, "x@later.test", "patience"))
	k.send("alice@"+domain, []string{"x@never.test"}, message("alice@"+domain, "x@never.test", "in vain"))
	eventually(t, shortly, "a try", func() bool { _, n := later.seen(); return n > 0 })
	later.say("")
	eventually(t, shortly, "the message", func() bool { got, _ := later.seen(); return len(got) == 1 })
	delayed := s.arrives("alice", "Action: delayed", "x@never.test")
	wantAll(t, delayed, "Will-Retry-Until: ", "450 4.2.1 box is locked")
	wantAll(t, s.arrives("alice", "Action: failed", "x@never.test"), "450 4.2.1 box is locked")
}

// TestNoMailThere sends to domains whose DNS says that they take none.
func TestNoMailThere(t *testing.T) {
	t.Parallel()
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, []byte("nomail.test. MX 0 .\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, fmt.Sprintf("[dns]\nzone_file = %q\n", zone), "alice")
	for to, status := range map[string]string{"x@nomail.test": "5.1.10", "x@missing.test": "5.1.2"} {
		s.submit("alice").send("alice@"+domain, []string{to}, message("alice@"+domain, to, "nobody home"))
		got := s.arrives("alice", "delivery-status", to)
		readReport(t, got, "failed", to, "nobody home")
		if !strings.Contains(got, "Status: "+status+"\r\n") {
			t.Errorf("%s: no Status %s in\n%s", to, status, got)
		}
	}
}

// TestTLSPolicy holds mail back where TLS must be good and is not.
func TestTLSPolicy(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "")
	s := start(t, route("strict.test", host.Addr, `tls = "required"`)+route("easy.test", host.Addr), "alice")
	k := s.submit("alice")
	for _, to := range []string{"x@strict.test", "x@easy.test"} {
		k.send("alice@"+domain, []string{to}, message("alice@"+domain, to, "policy"))
	}
	eventually(t, shortly, "the easy one", func() bool { got, _ := host.seen(); return len(got) == 1 })
	eventually(t, shortly, "the queue says why", func() bool {
		return strings.Contains(s.run("", "queue", "list", "--to", "x@strict.test"), "TLS")
	})
	if got, _ := host.seen(); !strings.Contains(got[0], "RCPT TO:<x@easy.test>") {
		t.Errorf("came: %q", got)
	}
}

// TestSmarthost sends everything through another migiwa, logged in there.
func TestSmarthost(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "")
	second := start(t, route("far.test", host.Addr), "alice")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("alice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, route("*", second.addr(587), `tls = "required"`, fmt.Sprintf("user = %q", "alice@"+domain), fmt.Sprintf("password_file = %q", password)), "alice")
	s.submit("alice").send("alice@"+domain, []string{"x@far.test"}, message("alice@"+domain, "x@far.test", "by way of"))
	eventually(t, shortly, "the message", func() bool { got, _ := host.seen(); return len(got) == 1 })
	got, _ := host.seen()
	if n := strings.Count(got[0], "with ESMTPSA id"); n != 2 {
		t.Errorf("%d hops with a login, want 2:\n%s", n, got[0])
	}
}
