package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An account that wants it has unknown senders asked, once and only where their
// address is proven; the answer brings the mail into the INBOX.
func TestConfirm(t *testing.T) {
	t.Parallel()
	far := newFakeHost(t, "")
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, []byte("far.test. TXT \"v=spf1 ip4:127.0.0.1 -all\"\nforged.test. TXT \"v=spf1 -all\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, route("*", far.Addr)+"[dns]\nzone_file = \""+zone+"\"\n", "strict", "plain")
	s.run("", "filter", "set", "strict@"+domain, "confirm=quarantine")
	swaks := func(args ...string) {
		t.Helper()
		if out, err := tool(t, "", "swaks", append([]string{"--server", "127.0.0.1", "--port", s.port(25)}, args...)...); err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
	both := "strict@" + domain + ",plain@" + domain
	swaks("--from", "person@far.test", "--to", both, "--header", "Subject: first")
	swaks("--from", "person@far.test", "--to", "strict@"+domain, "--header", "Subject: second")
	swaks("--from", "victim@forged.test", "--to", "strict@"+domain)
	swaks("--from", "person@far.test", "--to", "strict@"+domain, "--header", "List-ID: <l.far.test>")
	var questions []string
	eventually(t, shortly, "the question", func() bool { questions, _ = far.seen(); return len(questions) > 0 })
	time.Sleep(time.Second) // for what must not come
	if questions, _ = far.seen(); len(questions) != 1 || !strings.Contains(questions[0], "MAIL FROM:<>") || !strings.Contains(questions[0], "RCPT TO:<person@far.test>") {
		t.Fatalf("asked:\n%s", strings.Join(questions, "\n"))
	}
	back := regexp.MustCompile(`Reply-To: <(strict\+confirm-[a-z2-7]{16}@[^>]+)>`).FindStringSubmatch(questions[0])
	if back == nil {
		t.Fatalf("no address to answer:\n%s", questions[0])
	}
	if got := s.count(t, "strict", "Quarantine"); got != 2 {
		t.Errorf("%d messages wait", got)
	}
	if got := s.count(t, "plain", "INBOX"); got != 1 {
		t.Errorf("%d messages for who asks nobody", got)
	}
	swaks("--from", "other@far.test", "--to", back[1]) // not whom it was made for
	swaks("--from", "person@far.test", "--to", back[1])
	eventually(t, shortly, "the mail that waited", func() bool { return s.count(t, "strict", "INBOX") == 5 && s.count(t, "strict", "Quarantine") == 1 })
	swaks("--from", "person@far.test", "--to", "strict@"+domain)
	if got := s.count(t, "strict", "INBOX"); got != 6 {
		t.Errorf("%d messages once he is known", got)
	}

	s.submit("strict").send("strict@"+domain, []string{"friend@far.test"}, "From: strict@"+domain+"\r\nSubject: hello\r\n\r\nHello.\r\n")
	eventually(t, shortly, "the friend's mail", func() bool {
		all, _ := far.seen()
		return strings.Contains(strings.Join(all, ""), "RCPT TO:<friend@far.test>")
	})
	swaks("--from", "friend@far.test", "--to", "strict@"+domain)
	if got := s.count(t, "strict", "INBOX"); got != 7 {
		t.Errorf("%d messages after that of a friend", got)
	}
}

// count gives the messages of a folder, by curl.
func (s *server) count(t *testing.T, user, folder string) int {
	t.Helper()
	out, err := tool(t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", user+"@"+domain+":"+user,
		"imaps://localhost."+domain+":"+s.port(993)+"/", "-X", "STATUS "+folder+" (MESSAGES)")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`\(MESSAGES (\d+)\)`).FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
