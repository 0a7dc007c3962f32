package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// curlIMAP runs curl on a folder, a path behind the host.
func (s *server) curlIMAP(user, path string, args ...string) string {
	s.t.Helper()
	args = append([]string{"-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", user + "@" + domain + ":" + user,
		fmt.Sprintf("imaps://localhost.%s:%s/%s", domain, s.port(993), path)}, args...)
	out, err := tool(s.t, "", "curl", args...)
	if err != nil {
		s.t.Fatalf("curl %q: %v\n%s", args[6:], err, out)
	}
	return out
}

func TestIMAPByCurl(t *testing.T) {
	s := shared(t, "cuimap")
	s.imap("cuimap").append("INBOX", write("curl", 5))
	wantAll(t, s.curlIMAP("cuimap", ""), `"/" INBOX`, `\Trash`, `\Sent`)
	mail := filepath.Join(t.TempDir(), "mail")
	text := strings.ReplaceAll(message("cuimap@"+domain, "x", "by curl")+"渚\n.\n", "\n", "\r\n")
	if err := os.WriteFile(mail, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.curlIMAP("cuimap", "Drafts", "-T", mail)
	if got := s.curlIMAP("cuimap", "Drafts;MAILINDEX=1"); got != text {
		t.Errorf("APPEND and FETCH made %q of %q", got, text)
	}
	if got := s.curlIMAP("cuimap", "INBOX;UID=2;SECTION=HEADER.FIELDS%20(SUBJECT)"); !strings.Contains(got, "Subject: curl.1") {
		t.Errorf("UID 2 has %q", got)
	}
	if got := s.curlIMAP("cuimap", "INBOX?SUBJECT%20curl.3"); got != "* SEARCH 4\r\n" {
		t.Errorf("SEARCH: %q", got)
	}
	wantAll(t, s.curlIMAP("cuimap", "INBOX", "-X", `STORE 1:2 +FLAGS (\Deleted)`), `* 1 FETCH (FLAGS (`)
	s.curlIMAP("cuimap", "INBOX", "-X", "EXPUNGE")
	wantAll(t, s.curlIMAP("cuimap", "", "-X", "STATUS INBOX (MESSAGES UIDNEXT)"), "MESSAGES 3", "UIDNEXT 6")
	s.curlIMAP("cuimap", "", "-X", "CREATE &ZcWITA-")
	wantAll(t, s.curlIMAP("cuimap", "", "-X", `LIST "" *`), "&ZcWITA-")
}

// fetchmailIMAP gives fetchmail's arguments, with options behind the account. It
// delivers to the file mbox in dir.
func (s *server) fetchmailIMAP(user, dir, options string) []string {
	s.t.Helper()
	rc := filepath.Join(dir, "fetchmailrc")
	text := fmt.Sprintf("poll 127.0.0.1 service %s protocol IMAP user \"%s@%s\" password \"%s\" ssl sslproto TLS1.2+ sslcertck sslcertfile %s sslcommonname localhost.%s %s mda \"cat >> %s/mbox\"\n",
		s.port(993), user, domain, user, s.cert(), domain, options, dir)
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []string{"-f", rc, "--nodetach", "--nosyslog", "--pidfile", dir + "/pid", "--idfile", dir + "/ids"}
}

// fetched counts the messages of a test that fetchmail has delivered.
func (s *server) fetched(dir, id string) int {
	s.t.Helper()
	mbox, err := os.ReadFile(dir + "/mbox")
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.Count(string(mbox), id)
}

func TestFetchmailIMAP(t *testing.T) {
	s := shared(t, "fmi")
	c := s.imap("fmi")
	var letters []letter
	for _, m := range write("fetch", 40) {
		m.flags = ""
		letters = append(letters, m)
	}
	c.append("INBOX", letters)
	fetch := func(dir, options string) int {
		out, err := tool(t, "", "fetchmail", s.fetchmailIMAP("fmi", dir, options)...)
		if err != nil && !strings.Contains(out, "(40 seen)") {
			t.Fatalf("fetchmail: %v\n%s", err, out)
		}
		return s.fetched(dir, "Message-ID: <fetch.")
	}
	dir := t.TempDir()
	for range 2 { // what it has kept it has also marked as seen
		if n := fetch(dir, "keep"); n != 40 {
			t.Fatalf("fetched %d messages", n)
		}
	}
	for id, m := range c.read("INBOX") {
		if m.flags != "S" {
			t.Errorf("%s has flags %q after it was kept", id, m.flags)
		}
	}
	if n := fetch(t.TempDir(), "fetchall no keep"); n != 40 {
		t.Errorf("fetched %d messages", n)
	}
	if left := c.read("INBOX"); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}

// TestFetchmailIdles: mail that comes while fetchmail waits is fetched.
func TestFetchmailIdles(t *testing.T) {
	s := shared(t, "fmidle")
	s.deliver("before", "fmidle@"+domain)
	dir := t.TempDir()
	cmd := exec.Command(found(t, "fetchmail"), s.fetchmailIMAP("fmidle", dir, "idle no keep")...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("fetchmail: %s", out.String())
		}
	}()
	for i, subject := range []string{"before", "while it idles", "and again"} {
		if i > 0 {
			s.deliver(subject, "fmidle@"+domain)
		}
		eventually(t, shortly, subject, func() bool { return s.fetched(dir, "Subject: "+subject) == 1 })
	}
	eventually(t, shortly, "INBOX is empty", func() bool { return len(s.inbox("fmidle")) == 0 })
}

func TestGetmailIMAP(t *testing.T) {
	s := shared(t, "gmi")
	c := s.imap("gmi")
	c.append("INBOX", write("get", 20))
	c.ok("CREATE %s", travels)
	c.append(travels, write("go", 5))
	retriever := fmt.Sprintf("type = SimpleIMAPSSLRetriever\nserver = 127.0.0.1\nport = %s\nusername = gmi@%s\npassword = gmi\nmailboxes = (\"INBOX\", u\"旅行\")\n", s.port(993), domain)
	fetch := getmail(t, retriever, "delete = false\nread_all = false\n")
	var got []int
	got = append(got, fetch(), fetch()) // nothing is new the second time
	c.append("INBOX", write("more", 2))
	got = append(got, fetch())
	if !slices.Equal(got, []int{25, 25, 27}) {
		t.Errorf("getmail has %d messages, want 25, 25, 27", got)
	}
	if n := getmail(t, retriever, "delete = true\nread_all = true\n")(); n != 27 {
		t.Errorf("getmail took %d messages, want 27", n)
	}
	if n := len(c.read("INBOX")) + len(c.read(travels)); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// imaplibScript uses an account with Python's own client.
const imaplibScript = `
import imaplib, ssl, sys
port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
m = imaplib.IMAP4("127.0.0.1", port, timeout=30)
try:
    m.login(user, password)
    print("login without TLS was taken")
except imaplib.IMAP4.error:
    pass
ok(m.starttls(context))
ok(m.authenticate("PLAIN", lambda _: b"\0%s\0%s" % (user.encode(), password.encode())))
assert ok(m.select())[0] == b"2"
for charset, words in ("UTF-8", "渚の朝"), ("ISO-2022-JP", "渚"), ("SHIFT_JIS", "朝"), ("EUC-JP", "渚の"):
    m.literal = words.encode(charset)
    assert ok(m.uid("SEARCH", "CHARSET", charset, "TEXT")) == [b"2"], (charset, words)
text = "Subject: 追記\r\nMessage-ID: <append@far.test>\r\n\r\n本文です。\r\n".encode()
assert b"APPENDUID" in ok(m.append("Drafts", r"(\Draft)", '"24-Nov-2026 10:00:00 +0900"', text))[0]
ok(m.create("&ZcWITA-"))
imaplib.Commands["MOVE"] = ("SELECTED",)
ok(m.uid("MOVE", "1", "&ZcWITA-"))
assert m.response("COPYUID")[1][0].split()[1:] == [b"1", b"1"]
assert ok(m.select("&ZcWITA-"))[0] == b"1"
assert b"Subject: py.0" in ok(m.fetch("1", "(BODY.PEEK[HEADER])"))[0][1]
ok(m.store("1", "+FLAGS", r"(\Answered $Forwarded)"))
assert b"$Forwarded" in ok(m.fetch("1", "(FLAGS)"))[0]
assert [l.split()[-1] for l in ok(m.sort("REVERSE DATE", "UTF-8", "ALL"))] == [b"1"]
assert ok(m.thread("REFERENCES", "UTF-8", "ALL")) == [b"(1)"]
ok(m.getquotaroot("INBOX"))
ok(m.unselect())
ok(m.enable("UTF8=ACCEPT"))
ok(m.select("Drafts"))
assert ok(m.fetch("1", "(BODY.PEEK[])"))[0][1] == text
print("idle", flush=True)
ok(m.select("INBOX"))
tag = m._new_tag()
m.send(tag + b" IDLE\r\n")
assert m.readline().startswith(b"+ ")
print("ready", flush=True)
sys.stdin.readline()
m.send(b"DONE\r\n")
seen = []
while True:
    line = m.readline()
    seen.append(line)
    if line.startswith(tag):
        break
assert b"* 2 EXISTS\r\n" in seen, seen
ok(m.close())
m.logout()
print("good")
`

// TestImaplib: a delivery reaches the script while it idles.
func TestImaplib(t *testing.T) {
	s := shared(t, "pyi")
	s.imap("pyi").append("INBOX", write("py", 2))
	out := talkTo(t, func() { s.deliver("while it idles", "pyi@"+domain) }, "python3", "-c", imaplibScript, s.port(143), "pyi@"+domain, "pyi")
	if !strings.HasSuffix(out, "good\n") {
		t.Errorf("imaplib:\n%s", out)
	}
}

// talkTo runs a program, does something when it says that it is ready, sends it
// a line, and gives what it prints.
func talkTo(t testing.TB, do func(), name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(found(t, name), args...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	for !strings.Contains(out.String(), "ready\n") {
		select {
		case err := <-ended:
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	do()
	io.WriteString(in, "go on\n")
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not end:\n%s", name, out.String())
	}
	return out.String()
}
