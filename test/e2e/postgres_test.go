package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/peers"
)

// TestPostgreSQL plays the main flows once more on the other database.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	dsn := peers.Postgres(t)
	host := newFakeHost(t, "451 4.3.0 later")
	s := install(t, "[queue]\nretry_first = \"1h\"\n"+route("*", host.Addr), "--dsn", dsn)
	if _, err := os.Stat(filepath.Join(s.Dir, "data", "migiwa.db")); err == nil {
		t.Error("there is an SQLite database, too")
	}
	s.add("alice", "bob", "fwd")
	s.serve()
	s.run("", "alias", "add", "team@"+domain, "alice@"+domain, "bob@"+domain)
	s.run("", "account", "set", "fwd@"+domain, "forward_to=out@far.test")
	s.deliver("to the team", "team@"+domain)
	for _, u := range []string{"alice", "bob"} {
		if got := s.inbox(u); len(got) != 1 || !strings.Contains(got[0], "to the team") {
			t.Errorf("%s has %q", u, got)
		}
	}
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("550 5.1.1", "RCPT TO:<nobody@%s>", domain)
	k.say("250", "RSET")
	s.submit("bob").send("bob@"+domain, []string{"alice@" + domain, "x@far.test"}, message("bob@"+domain, "alice@"+domain, "submitted"))
	s.deliver("onward", "fwd@"+domain)
	wantAll(t, s.arrives("alice", "Subject: submitted"), "DKIM-Signature")
	eventually(t, shortly, "two tries", func() bool {
		return strings.Count(s.run("", "queue", "list"), "451 4.3.0 later") == 2
	})
	wantAll(t, s.run("", "queue", "list", "--to", "x@far.test"), "x@far.test", "waiting")
	wantAll(t, s.run("", "queue", "hold", "--domain", "far.test"), "2 recipients")
	wantAll(t, s.run("", "queue", "delete", "--to", "x@far.test"), "1 recipients")
	host.say("")
	s.run("", "queue", "release", "--all")
	eventually(t, shortly, "the forward", func() bool { got, _ := host.seen(); return len(got) == 1 })
	got, _ := host.seen()
	wantAll(t, got[0], "MAIL FROM:<SRS0=", "RCPT TO:<out@far.test>")

	first := s.run("", "account", "export")
	if strings.Count(first, "\n") != 5 { // header, admin
		t.Errorf("exported:\n%s", first)
	}
	s.kill()
	s.serve()
	if got := s.inbox("alice"); len(got) != 2 {
		t.Errorf("alice has %d messages after a kill", len(got))
	}
	wantAll(t, s.run("", "mailbox", "check"), "as it must be")
	s.run("", "account", "delete", "alice@"+domain)
	k = s.mx()
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("550 5.1.1", "RCPT TO:<alice@%s>", domain)
}
