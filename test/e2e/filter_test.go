package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/peers"
)

// copyIn gives the only message of a folder by curl, "" when there is none.
func (s *server) copyIn(user, folder string) string {
	s.t.Helper()
	status, err := tool(s.t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", user+"@"+domain+":"+user,
		fmt.Sprintf("imaps://localhost.%s:%s/", domain, s.port(993)), "-X", "STATUS "+folder+" (MESSAGES)")
	if err != nil || !strings.Contains(status, "(MESSAGES 1)") {
		return ""
	}
	return s.curlIMAP(user, folder+";MAILINDEX=1")
}

// One message by swaks, with a virus, for users who have all agreed to
// something else; the stored copies differ only by that.
func TestFilters(t *testing.T) {
	daemon := peers.Clamd(t, nil)
	s := start(t, fmt.Sprintf("[filter]\nclamd = %q\n", daemon.Socket), "foff", "flabel", "fjunk", "fquar", "fmixed")
	s.run("", "filter", "set", "foff@"+domain, "all=off")
	s.run("", "filter", "set", "fjunk@"+domain, "all=junk")
	s.run("", "filter", "set", "fquar@"+domain, "virus=quarantine")
	s.run("", "filter", "set", "fmixed@"+domain, "virus=off", "content=junk")
	file := filepath.Join(t.TempDir(), "letter.txt")
	if err := os.WriteFile(file, []byte(peers.Eicar()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--attach-type", "application/octet-stream", "--attach", "@" + file}
	var to []string
	for _, u := range []string{"foff", "flabel", "fjunk", "fquar", "fmixed"} {
		to = append(to, u+"@"+domain)
	}
	args = append(args, "--to", strings.Join(to, ","))
	if out, err := tool(t, "", "swaks", args...); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	const found = "X-Migiwa-Finding: VIRUS; 100.0; Eicar-Test.UNOFFICIAL"
	var bodies []string
	for user, want := range map[string]struct {
		folder string
		found  bool
	}{"foff": {"INBOX", false}, "flabel": {"INBOX", true}, "fjunk": {"Junk", true}, "fquar": {"Quarantine", true}, "fmixed": {"INBOX", false}} {
		text := s.copyIn(user, want.folder)
		if text == "" {
			t.Errorf("%s has no message in %s", user, want.folder)
			continue
		}
		if strings.Contains(text, found) != want.found {
			t.Errorf("%s: virus told is not %v:\n%s", user, want.found, text)
		}
		_, body, _ := strings.Cut(text, "\r\nReceived: ")
		bodies = append(bodies, body)
	}
	for _, b := range bodies[1:] {
		if b != bodies[0] {
			t.Errorf("the message itself differs:\n%s\n%s", bodies[0], b)
		}
	}
	if out := s.run("", "filter", "history", "fmixed@"+domain); strings.Count(out, "fmixed@"+domain) != 2 {
		t.Errorf("history:\n%s", out)
	}
	s.refusesOwnVirus(file)
}

// An address that was made for one correspondent, used by another.
func TestChannel(t *testing.T) {
	s := shared(t, "fchan")
	to := strings.TrimSpace(s.run("", "filter", "channel", "fchan@"+domain, "shop.test"))
	if out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", to); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	if text := s.copyIn("fchan", "INBOX"); !strings.Contains(text, "X-Migiwa-Finding: CHANNEL_FOREIGN; 6.0; the address was made for shop.test") {
		t.Errorf("%s is not told to be used by another:\n%s", to, text)
	}
}

// A user blocks a sender by himself, and others still hear from him.
func TestOwnSenders(t *testing.T) {
	s := shared(t, "fblock", "fother")
	user, other := "fblock@"+domain, "fother@"+domain
	s.run("", "filter", "set", user, "access=junk")
	s.run("", "filter", "block", user, "far.test")
	s.run("", "filter", "allow", user, "friend@near.test")
	if out := s.run("", "filter", "senders", user); !strings.Contains(out, "far.test ") || !strings.Contains(out, "friend@near.test  allow") {
		t.Errorf("the list:\n%s", out)
	}
	if out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@x.far.test", "--to", user+","+other); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	if text := s.copyIn("fblock", "Junk"); !strings.Contains(text, `X-Migiwa-Finding: ACCESS_BLOCKED; 15.0; a@x.far.test is under "From:far.test" of the own list`) {
		t.Errorf("blocked mail in Junk:\n%s", text)
	}
	if text := s.copyIn("fother", "INBOX"); text == "" || strings.Contains(text, "ACCESS_BLOCKED") {
		t.Errorf("mail of another:\n%s", text)
	}
	s.run("", "filter", "forget", user, "far.test")
	if out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@x.far.test", "--to", user); err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	if text := s.copyIn("fblock", "INBOX"); text == "" || strings.Contains(text, "ACCESS_BLOCKED") {
		t.Errorf("mail of a forgotten sender:\n%s", text)
	}
}

// refusesOwnVirus sends a virus as one of the server's own users.
func (s *server) refusesOwnVirus(file string) {
	s.t.Helper()
	args := []string{"--server", "127.0.0.1", "--port", s.port(587), "--tls", "--auth", "PLAIN", "--auth-user", "flabel@" + domain, "--auth-password", "flabel",
		"--from", "flabel@" + domain, "--to", "foff@" + domain, "--attach-type", "application/octet-stream", "--attach", "@" + file}
	out, err := tool(s.t, "", "swaks", args...)
	if err == nil || !strings.Contains(out, "554 5.7.0 The message contains a virus and was not sent") {
		s.t.Errorf("swaks: %v\n%s", err, out)
	}
}
