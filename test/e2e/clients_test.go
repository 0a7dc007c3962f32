package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
	s := shared(t, "swa", "swb")
	out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--tls", "--helo", "far.test",
		"--from", "friend@far.test", "--to", "swa@"+domain+",swb+tag@"+domain, "--header", "Subject: By swaks", "--body", "Hello from far.")
	if err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	for _, user := range []string{"swa", "swb"} {
		got := s.fetchMail(user)
		if len(got) != 1 || !strings.Contains(got[0], "Hello from far.") || !strings.HasPrefix(got[0], "Return-Path: <friend@far.test>") {
			t.Errorf("%s has %d messages: %q", user, len(got), got)
		}
		if !regexp.MustCompile(`(?s)Received: from far\.test \(.*by localhost\.example\.test with ESMTPS id `).MatchString(got[0]) {
			t.Errorf("no right Received in\n%s", got[0])
		}
	}
}

// TestRefusalsBySwaks looks that a real client hears the codes.
func TestRefusalsBySwaks(t *testing.T) {
	s := shared(t, "swoff", "swtiny")
	s.run("", "account", "disable", "swoff@"+domain)
	s.run("", "account", "set", "swtiny@"+domain, "quota=1MB")
	for to, want := range map[string]string{
		"nobody@" + domain:       "550 5.1.1",
		"someone@elsewhere.test": "550 5.7.1",
		"swoff@" + domain:        "550 5.2.1",
		"postmaster@" + domain:   "250 2.1.5",
		"Postmaster":             "250 2.1.5",
	} {
		out, _ := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", to, "--quit-after", "RCPT")
		if !strings.Contains(out, " "+want) {
			t.Errorf("RCPT %s: no %s in\n%s", to, want, out)
		}
	}
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, []byte(strings.Repeat("This line fills the mailbox.\n", 40000)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", "swtiny@"+domain, "--body", "@"+body)
	if !strings.Contains(out, "452 4.2.2") {
		t.Errorf("over quota: no 452 4.2.2 in\n%s", out)
	}
	for verb, args := range map[string][]string{"MAIL": nil, "AUTH": {"--auth", "PLAIN", "--auth-user", "swtiny@" + domain, "--auth-password", "swtiny"}} {
		args = append(args, "--server", "127.0.0.1", "--port", s.port(587), "--from", "swtiny@"+domain, "--to", "swtiny@"+domain)
		if out, err := tool(t, "", "swaks", args...); err == nil {
			t.Errorf("%s without TLS was taken:\n%s", verb, out)
		}
	}
}

func TestSubmissionBySwaks(t *testing.T) {
	s := shared(t, "swc", "swd")
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(587), "--tls", "--auth", mechanism,
			"--auth-user", "swc@"+domain, "--auth-password", "swc", "--from", "swc@"+domain, "--to", "swd@"+domain,
			"--header", "Bcc: secret@"+domain, "--header", "Subject: "+mechanism)
		if err != nil {
			t.Fatalf("swaks %s: %v\n%s", mechanism, err, out)
		}
	}
	got := s.fetchMail("swd")
	if len(got) != 2 {
		t.Fatalf("swd has %d messages", len(got))
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
		"wrong password": {"--auth-password", "wrong", "--from", "swc@" + domain},
		"foreign sender": {"--auth-password", "swc", "--from", "swd@" + domain},
		"foreign From":   {"--auth-password", "swc", "--from", "swc@" + domain, "--h-From", "swd@" + domain},
	} {
		args = append([]string{"--server", "127.0.0.1", "--port", s.port(465), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "swc@" + domain, "--to", "swd@" + domain}, args...)
		if out, err := tool(t, "", "swaks", args...); err == nil {
			t.Errorf("%s was taken:\n%s", name, out)
		}
	}
}

func TestMsmtpSubmits(t *testing.T) {
	s := shared(t, "msa", "msb")
	for _, auth := range []string{"scram-sha-256", "plain", "login"} {
		rc := filepath.Join(t.TempDir(), "msmtprc")
		text := fmt.Sprintf("account default\nhost 127.0.0.1\nport %s\ntls on\ntls_starttls on\ntls_trust_file %s\ntls_host_override localhost.%s\nauth %s\nuser msa@%s\npassword msa\nfrom msa@%s\n",
			s.port(587), s.cert(), domain, auth, domain, domain)
		if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := tool(t, "From: msa@"+domain+"\nTo: msb@"+domain+"\nSubject: msmtp "+auth+"\n\nHello.\n", "msmtp", "-C", rc, "msb@"+domain)
		if err != nil {
			t.Errorf("msmtp %s: %v\n%s", auth, err, out)
		}
	}
	if got := s.fetchMail("msb"); len(got) != 3 {
		t.Errorf("msb has %d messages, want 3", len(got))
	}
}

func TestCurlSubmits(t *testing.T) {
	s := shared(t, "cua", "cub")
	mail := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(mail, []byte("From: cua@"+domain+"\r\nTo: cub@"+domain+"\r\nSubject: curl\r\n\r\n.dots\r\n..\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := tool(t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", "cua@"+domain+":cua",
		"--mail-from", "cua@"+domain, "--mail-rcpt", "cub@"+domain, "-T", mail, fmt.Sprintf("smtps://localhost.%s:%s", domain, s.port(465)))
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	if got := s.fetchMail("cub"); len(got) != 1 || !strings.HasSuffix(got[0], "\r\n\r\n.dots\r\n..\r\n") {
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
	s := shared(t, "fm")
	s.inject(3, "fm@"+domain)
	dir := t.TempDir()
	rc := filepath.Join(dir, "fetchmailrc")
	text := fmt.Sprintf("poll 127.0.0.1 service %s protocol POP3 user \"fm@%s\" password \"fm\" sslproto TLS1.2+ sslcertck sslcertfile %s sslcommonname localhost.%s mda \"cat >> %s/mbox\"\n",
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
	if got := s.fetchMail("fm"); len(got) != 0 {
		t.Errorf("%d messages are still there", len(got))
	}
}

// getmail sets getmail up, to run as often as fetch is called, which gives the
// number of messages it has got so far. It hands them to a server: for each that
// it stores itself it starts a process, whose end it now and then misses.
func getmail(t *testing.T, retriever, options string) (fetch func() int) {
	t.Helper()
	to := newFakeHost(t, "")
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := othersDir(t)
	rc := fmt.Sprintf("[retriever]\n%s\n[destination]\ntype = MDA_lmtp\nhost = %s\nport = %s\noverride = me@here.test\n\n[options]\n%s",
		retriever, host, port, options)
	if err := os.WriteFile(dir+"/getmailrc", []byte(rc), 0o644); err != nil {
		t.Fatal(err)
	}
	return func() int {
		t.Helper()
		if out, err := toolAs(t, true, "", "getmail", "--getmaildir", dir, "--rcfile", "getmailrc"); err != nil {
			t.Fatalf("getmail: %v\n%s", err, out)
		}
		got, _ := to.seen()
		return len(got)
	}
}

func TestGetmail(t *testing.T) {
	s := shared(t, "gm")
	s.inject(2, "gm@"+domain)
	fetch := getmail(t, fmt.Sprintf("type = SimplePOP3SSLRetriever\nserver = 127.0.0.1\nport = %s\nusername = gm@%s\npassword = gm\n", s.port(995), domain),
		"delete = false\nread_all = false\n")
	for range 2 { // the second run must find nothing new: UIDL is stable
		if n := fetch(); n != 2 {
			t.Errorf("getmail has %d messages, want 2", n)
		}
	}
}

// poplibScript reads a mailbox with Python's own client: STLS, CAPA, UIDL, TOP,
// RETR, DELE, RSET.
const poplibScript = `
import poplib, ssl, sys
port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
p = poplib.POP3("127.0.0.1", port, timeout=30)
try:
    p.user(user)
    print("login without TLS was taken")
except poplib.error_proto:
    pass
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
assert "STLS" in p.capa()
p.stls(context)
assert "STLS" not in p.capa() and "UIDL" in p.capa(), p.capa()
p.user(user)
p.pass_(password)
count, size = p.stat()
assert count == 2 and size == sum(int(l.split()[1]) for l in p.list()[1]), (count, size)
assert len(set(p.uidl()[1])) == 2
assert p.top(1, 0)[1][-1] == b"" and b"Subject: one" in p.top(1, 0)[1]
assert p.top(1, 1)[1][-1] == b"Hello." and p.retr(2)[1][-1] == b"Hello."
assert len(b"\r\n".join(p.retr(1)[1] + [b""])) == int(p.list(1).split()[2])
p.dele(1)
assert p.stat()[0] == 1
p.rset()
assert p.stat()[0] == 2
p.dele(2)
p.quit()
print("good")
`

func TestPoplib(t *testing.T) {
	s := shared(t, "pyp")
	s.deliver("one", "pyp@"+domain)
	s.deliver("two", "pyp@"+domain)
	out, err := tool(t, "", "python3", "-c", poplibScript, s.port(110), "pyp@"+domain, "pyp")
	if err != nil || out != "good\n" {
		t.Errorf("poplib: %v\n%s", err, out)
	}
	if got := s.inbox("pyp"); len(got) != 1 || !strings.Contains(got[0], "Subject: one") {
		t.Errorf("left are %q", got)
	}
}

// TestSmtplib submits with Python's own client, which uses AUTH as it comes.
func TestSmtplib(t *testing.T) {
	s := shared(t, "pys")
	script := `
import smtplib, ssl, sys
from email.message import EmailMessage
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
m = EmailMessage()
m["From"] = m["To"] = sys.argv[2]
m["Subject"] = "渚より"
m.set_content("波の音\n")
with smtplib.SMTP_SSL("127.0.0.1", int(sys.argv[1]), context=context) as c:
    c.login(sys.argv[2], "pys")
    c.send_message(m)
`
	if out, err := tool(t, "", "python3", "-c", script, s.port(465), "pys@"+domain); err != nil {
		t.Fatalf("smtplib: %v\n%s", err, out)
	}
	if got := s.inbox("pys"); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}
