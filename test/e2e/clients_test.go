package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fetchMail gives all messages of an account by curl and POP3S.
func (s *server) fetchMail(user string) []string {
	s.t.Helper()
	login := user + "@" + domain + ":" + user
	list, err := tool(s.t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", login,
		fmt.Sprintf("pop3s://localhost.%s:%s/", domain, s.port(995)))
	if err != nil {
		s.t.Fatalf("curl LIST: %v\n%s", err, list)
	}
	var all []string
	for line := range strings.Lines(list) {
		var n, size int
		if k, _ := fmt.Sscanf(line, "%d %d", &n, &size); k != 2 {
			continue
		}
		text, err := tool(s.t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", login,
			fmt.Sprintf("pop3s://localhost.%s:%s/%d", domain, s.port(995), n))
		if err != nil {
			s.t.Fatalf("curl RETR %d: %v\n%s", n, err, text)
		}
		all = append(all, text)
	}
	return all
}

func TestSwaksToMailbox(t *testing.T) {
	s := start(t, "", "alice", "bob")
	out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--tls", "--helo", "far.test",
		"--from", "friend@far.test", "--to", "alice@"+domain+",bob+tag@"+domain, "--header", "Subject: By swaks", "--body", "Hello from far.")
	if err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	for _, user := range []string{"alice", "bob"} {
		got := s.fetchMail(user)
		if len(got) != 1 || !strings.Contains(got[0], "Hello from far.") || !strings.HasPrefix(got[0], "Return-Path: <friend@far.test>") {
			t.Errorf("%s has %d messages: %q", user, len(got), got)
		}
		if !regexp.MustCompile(`(?s)Received: from far\.test \(.*by localhost\.example\.test with ESMTPS id `).MatchString(got[0]) {
			t.Errorf("no right Received in\n%s", got[0])
		}
	}
}

func TestRefusals(t *testing.T) {
	s := start(t, "", "alice", "off", "tiny")
	s.run("", "account", "disable", "off@"+domain)
	s.run("", "account", "set", "tiny@"+domain, "quota=1MB")
	for to, want := range map[string]string{
		"nobody@" + domain:       "550 5.1.1",
		"someone@elsewhere.test": "550 5.7.1",
		"off@" + domain:          "550 5.2.1",
		"postmaster@" + domain:   "250 2.1.5",
		"Postmaster":             "250 2.1.5",
		"ALICE@EXAMPLE.TEST":     "250 2.1.5",
	} {
		out, _ := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", to, "--quit-after", "RCPT")
		if !strings.Contains(out, " "+want) {
			t.Errorf("RCPT %s: no %s in\n%s", to, want, out)
		}
	}
	body := strings.Repeat("This line fills the mailbox.\n", 40000)
	out, _ := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", "tiny@"+domain, "--body", body)
	if !strings.Contains(out, "452 4.2.2") {
		t.Errorf("over quota: no 452 4.2.2 in\n%s", out)
	}
	for verb, port := range map[string]int{"MAIL": 587, "AUTH": 587} {
		args := []string{"--server", "127.0.0.1", "--port", s.port(port), "--from", "alice@" + domain, "--to", "alice@" + domain}
		if verb == "AUTH" {
			args = append(args, "--auth", "PLAIN", "--auth-user", "alice@"+domain, "--auth-password", "alice")
		}
		if out, err := tool(t, "", "swaks", args...); err == nil {
			t.Errorf("%s without TLS was taken:\n%s", verb, out)
		}
	}
}

func TestSubmissionBySwaks(t *testing.T) {
	s := start(t, "", "alice", "bob")
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(587), "--tls", "--auth", mechanism,
			"--auth-user", "alice@"+domain, "--auth-password", "alice", "--from", "alice@"+domain, "--to", "bob@"+domain,
			"--header", "Bcc: secret@"+domain, "--header", "Subject: "+mechanism)
		if err != nil {
			t.Fatalf("swaks %s: %v\n%s", mechanism, err, out)
		}
	}
	got := s.fetchMail("bob")
	if len(got) != 2 {
		t.Fatalf("bob has %d messages", len(got))
	}
	for _, want := range []string{"DKIM-Signature:", "with ESMTPSA", "Message-I", "Date:"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %s in\n%s", want, got[0])
		}
	}
	if strings.Contains(got[0], "secret@") {
		t.Errorf("Bcc left:\n%s", got[0])
	}
	for name, args := range map[string][]string{
		"wrong password": {"--auth-password", "wrong", "--from", "alice@" + domain},
		"foreign sender": {"--auth-password", "alice", "--from", "bob@" + domain},
		"foreign From":   {"--auth-password", "alice", "--from", "alice@" + domain, "--h-From", "bob@" + domain},
	} {
		args = append([]string{"--server", "127.0.0.1", "--port", s.port(465), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice@" + domain, "--to", "bob@" + domain}, args...)
		if out, err := tool(t, "", "swaks", args...); err == nil {
			t.Errorf("%s was taken:\n%s", name, out)
		}
	}
}

func TestMsmtpSubmits(t *testing.T) {
	s := start(t, "", "alice", "bob")
	for _, auth := range []string{"scram-sha-256", "plain"} {
		rc := filepath.Join(t.TempDir(), "msmtprc")
		text := fmt.Sprintf("account default\nhost 127.0.0.1\nport %s\ntls on\ntls_starttls on\ntls_trust_file %s\ntls_host_override localhost.%s\nauth %s\nuser alice@%s\npassword alice\nfrom alice@%s\n",
			s.port(587), s.cert(), domain, auth, domain, domain)
		if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := tool(t, "From: alice@"+domain+"\nTo: bob@"+domain+"\nSubject: msmtp "+auth+"\n\nHello.\n", "msmtp", "-C", rc, "bob@"+domain)
		if err != nil {
			t.Errorf("msmtp %s: %v\n%s", auth, err, out)
		}
	}
	if got := s.fetchMail("bob"); len(got) != 2 {
		t.Errorf("bob has %d messages, want 2", len(got))
	}
}

func TestCurlSubmits(t *testing.T) {
	s := start(t, "", "alice", "bob")
	mail := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(mail, []byte("From: alice@"+domain+"\r\nTo: bob@"+domain+"\r\nSubject: curl\r\n\r\n.dots\r\n..\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := tool(t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", "alice@"+domain+":alice",
		"--mail-from", "alice@"+domain, "--mail-rcpt", "bob@"+domain, "-T", mail, fmt.Sprintf("smtps://localhost.%s:%s", domain, s.port(465)))
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	if got := s.fetchMail("bob"); len(got) != 1 || !strings.HasSuffix(got[0], "\r\n\r\n.dots\r\n..\r\n") {
		t.Errorf("got %q", got)
	}
}

// inject brings n messages from outside.
func (s *server) inject(n int, to string) {
	s.t.Helper()
	for i := range n {
		out, err := tool(s.t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", to, "--header", fmt.Sprintf("Subject: number %d", i))
		if err != nil {
			s.t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
}

func TestFetchmail(t *testing.T) {
	s := start(t, "", "alice")
	s.inject(3, "alice@"+domain)
	dir := t.TempDir()
	rc := filepath.Join(dir, "fetchmailrc")
	text := fmt.Sprintf("poll 127.0.0.1 service %s protocol POP3 user \"alice@%s\" password \"alice\" sslproto TLS1.2+ sslcertck sslcertfile %s sslcommonname localhost.%s mda \"cat >> %s/mbox\"\n",
		s.port(110), domain, s.cert(), domain, dir)
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := tool(t, "", "fetchmail", "-f", rc, "--nodetach", "--nosyslog", "--pidfile", dir+"/pid", "--idfile", dir+"/ids")
	if err != nil {
		t.Fatalf("fetchmail: %v\n%s", err, out)
	}
	mbox, err := os.ReadFile(dir + "/mbox")
	if err != nil || strings.Count(string(mbox), "Subject: number") != 3 {
		t.Errorf("fetched %v:\n%s", err, mbox)
	}
	if got := s.fetchMail("alice"); len(got) != 0 {
		t.Errorf("%d messages are still there", len(got))
	}
}

func TestGetmail(t *testing.T) {
	s := start(t, "", "alice")
	s.inject(2, "alice@"+domain)
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "Maildir", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	rc := fmt.Sprintf("[retriever]\ntype = SimplePOP3SSLRetriever\nserver = 127.0.0.1\nport = %s\nusername = alice@%s\npassword = alice\n\n[destination]\ntype = Maildir\npath = %s/Maildir/\n\n[options]\ndelete = false\nread_all = false\n",
		s.port(995), domain, dir)
	if err := os.WriteFile(dir+"/getmailrc", []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second run must find nothing new: UIDL is stable
		out, err := tool(t, "", "getmail", "--getmaildir", dir, "--rcfile", "getmailrc")
		if err != nil {
			t.Fatalf("getmail: %v\n%s", err, out)
		}
	}
	got, err := filepath.Glob(dir + "/Maildir/new/*")
	if err != nil || len(got) != 2 {
		t.Errorf("getmail stored %d messages (%v), want 2", len(got), err)
	}
}

// TestStopIsClean ends the server while a client is connected.
func TestStopIsClean(t *testing.T) {
	s := start(t, "", "alice")
	s.inject(1, "alice@"+domain)
	begin := time.Now()
	s.stop()
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("stopping took %v", d)
	}
	s.serve()
	if got := s.fetchMail("alice"); len(got) != 1 {
		t.Errorf("%d messages after a restart", len(got))
	}
}
