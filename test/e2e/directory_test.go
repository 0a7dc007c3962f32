package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImport brings 10,000 accounts with hashes through the command line.
func TestImport(t *testing.T) {
	t.Parallel()
	s := start(t, "", "model")
	var hash string
	for line := range strings.Lines(s.run("", "account", "export")) {
		if f := strings.SplitN(strings.TrimSpace(line), ",", 3); f[0] == "model@"+domain {
			hash = f[2][:strings.LastIndex(f[2], `"`)+1]
		}
	}
	if !strings.HasPrefix(hash, `"$argon2id$`) {
		t.Fatalf("no hash of model: %q", hash)
	}
	var csv strings.Builder
	csv.WriteString("address,name,password,quota_mb,forward_to,state\n")
	for i := range 10000 {
		fmt.Fprintf(&csv, "user%05d@%s,\"User, number %d\",%s,%d,,active\n", i, domain, i, hash, i%3*100)
	}
	file := filepath.Join(t.TempDir(), "accounts.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(csv.String() + "broken line\nuser00000@" + domain + ",,,,,\nx@" + domain + ",,,many,,\nx@nowhere.test,,,,,\n")
	for _, dry := range [][]string{{"--dry-run"}, nil} {
		out, code := s.try("", append([]string{"account", "import", file}, dry...)...)
		if code != 1 {
			t.Errorf("a broken file: status %d", code)
		}
		wantAll(t, out, "line 10002:", "line 10003:", "on line 2 already", "line 10004:", "line 10005:")
	}
	if out, code := s.try("", "account", "show", "user00001@"+domain); code != 1 {
		t.Errorf("something of a broken file was applied: %s", out)
	}
	write(csv.String())
	wantAll(t, s.run("", "account", "import", file, "--dry-run"), "10000 accounts would be added")
	if _, code := s.try("", "account", "show", "user00001@"+domain); code != 1 {
		t.Error("--dry-run added accounts")
	}
	wantAll(t, s.run("", "account", "import", file), "10000 accounts added, 0 changed")
	// The serving process knows them at once.
	s.deliver("welcome", "user09999@"+domain)
	if got := s.inboxOf("user09999@"+domain, "model"); len(got) != 1 {
		t.Errorf("user09999 has %d messages", len(got))
	}

	first := s.run("", "account", "export")
	if n := strings.Count(first, "\n"); n != 10003 { // header, admin, model
		t.Errorf("%d lines exported", n)
	}
	wantAll(t, first, fmt.Sprintf("user00001@%s,\"User, number 1\",", domain), ",100,,active\n")
	write(first)
	wantAll(t, s.run("", "account", "import", file), "0 accounts added, 0 changed, 10002 as they were")
	if again := s.run("", "account", "export"); again != first {
		t.Error("the export differs after it was imported")
	}
	fresh := install(t, "")
	wantAll(t, fresh.run("", "account", "import", file), "10001 accounts added, 1 changed")
	if other := fresh.run("", "account", "export"); other != first {
		t.Error("the export of another installation differs")
	}
}

// TestAccounts changes accounts by the command line while the server runs.
func TestAccounts(t *testing.T) {
	s := shared(t, "acme", "acfwd")
	answer := func(to string) string {
		k := s.mx()
		k.say("250", "MAIL FROM:<a@far.test>")
		k.write("RCPT TO:<" + to + "@" + domain + ">\r\n")
		return k.reply()
	}
	see := func(to, want string) {
		t.Helper()
		if got := answer(to); !strings.HasPrefix(got, want) {
			t.Errorf("RCPT %s: got %q, want %q", to, got, want)
		}
	}
	login := func(password string) string {
		k := s.secure()
		k.write("AUTH PLAIN " + plain("acme@"+domain, password) + "\r\n")
		return k.reply()[:3]
	}
	see("acme", "250")
	see("late", "550 5.1.1")
	s.add("late")
	see("late", "250")
	s.run("", "account", "disable", "acme@"+domain)
	see("acme", "550 5.2.1")
	if got := login("acme"); got != "535" {
		t.Errorf("a disabled account logs in: %s", got)
	}
	s.run("", "account", "enable", "acme@"+domain)
	see("acme", "250")
	s.run("", "account", "set", "acme@"+domain, "password=changed", "name=Acme Inc.", "quota=2GB")
	if was, is := login("acme"), login("changed"); was != "535" || is != "235" {
		t.Errorf("after a change the old password gets %s, the new one %s", was, is)
	}
	var row struct {
		Address  string
		Settings map[string]string
	}
	if err := json.Unmarshal([]byte(s.run("", "account", "show", "acme@"+domain, "--json")), &row); err != nil {
		t.Fatal(err)
	}
	if row.Address != "acme@"+domain || row.Settings["name"] != "Acme Inc." || row.Settings["quota"] != "2GB" || row.Settings["state"] != "active" {
		t.Errorf("shown as %+v", row)
	}

	s.run("", "account", "set", "acfwd@"+domain, "forward_to=acme@"+domain)
	s.deliver("inside", "acfwd@"+domain)
	if got := s.inboxOf("acme@"+domain, "changed"); len(got) != 1 {
		t.Errorf("%d messages were forwarded", len(got))
	}
	s.run("", "account", "delete", "acme@"+domain)
	see("acme", "550 5.1.1")
	s.add("acme") // a new account of that name sees nothing of the old one's mail
	if got := s.inbox("acme"); len(got) != 0 {
		t.Errorf("the new account has %d messages", len(got))
	}
	for _, c := range []struct {
		args []string
		code int
		word string
	}{
		{[]string{"account", "add", "acme@" + domain}, 1, "exists already"},
		{[]string{"account", "add", "x@nowhere.test"}, 1, "nowhere.test"},
		{[]string{"account", "add", "no address"}, 1, "no address"},
		{[]string{"account", "set", "acme@" + domain, "quota=lots"}, 1, "quota=lots"},
		{[]string{"account", "set", "acme@" + domain, "colour=red"}, 1, "there are name"},
		{[]string{"account", "delete", "nobody@" + domain}, 1, "does not exist"},
		{[]string{"account", "delete", "admin@" + domain}, 1, "administrator"},
		{[]string{"alias", "add", "acme@" + domain, "late@" + domain}, 1, "exists already"},
		{[]string{"domain", "delete", domain}, 1, "in use"},
		{[]string{"account", "add"}, 2, "See migiwa account add --help"},
		{[]string{"account"}, 2, "See migiwa account --help"},
		{[]string{"account", "add", "mute@" + domain}, 0, "nobody can log in yet"},
		{[]string{"acount"}, 2, "account"},
		{[]string{"account", "list", "--domain", "..", "--json"}, 2, "--domain"},
	} {
		out, code := s.try("", c.args...)
		if code != c.code || !strings.Contains(out, c.word) {
			t.Errorf("migiwa %s: status %d, want %d, and %q in\n%s", strings.Join(c.args, " "), code, c.code, c.word, out)
		}
	}
	wantAll(t, s.run("", "account", "list"), "ADDRESS", "late@"+domain)
	wantAll(t, s.run("", "mailbox", "list", "acfwd@"+domain), "INBOX")
	wantAll(t, s.run("", "mailbox", "check"), "as it must be")
}
