package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command line against a configuration.
func command(t *testing.T, config string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	t.Setenv("MIGIWA_CONFIG", config)
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), status
}

// TestExitStatus: 0 on success, 1 on failure, 2 on misuse.
func TestExitStatus(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	config := filepath.Join(dir, "migiwa.toml")
	broken := filepath.Join(t.TempDir(), "broken.toml")
	if err := os.WriteFile(broken, []byte("hostname = \"mx.example.test\"\ndomain = \"example.test\"\n[smtp]\nidle = \"soon\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config, args string
		status       int
		says         string
	}{
		{config, "version", 0, "migiwa "},
		{config, "--help", 0, "Usage: migiwa"},
		{config, "quickstart --help", 0, "--port-offset"},
		{config, "", 2, "expected one of"},
		{config, "nonsense", 2, "unexpected argument"},
		{config, "quickstart", 2, "missing flags"},
		{config, "quickstart --dir " + dir + " --domain bad_.. ", 2, "--domain"},
		{config, "quickstart --dir " + dir + " --domain example.test --mx-proxy-listen 127.0.0.1:1", 2, "need each other"},
		{config, "account list", 1, "no such file"},
		{config, "quickstart --dir " + dir + " --domain example.test --listen 127.0.0.1 --port-offset 20000", 0, "_domainkey.example.test."},
		{config, "quickstart --dir " + dir + " --domain example.test", 1, "overwrites nothing"},
		{config, "config check", 0, "good"},
		{broken, "config check", 1, "broken.toml:4: smtp.idle: "},
		{config, "config print", 0, "hostname"},
		{config, "config doc", 0, "`smtp.max_message`"},
		{config, "account add taro@example.test name=Taro", 0, "added"},
		{config, "account add taro@example.test", 1, "exists already"},
		{config, "account add taro@elsewhere.test", 1, "elsewhere.test"},
		{config, "account set taro@example.test color=red", 1, "color"},
		{config, "account set taro@example.test quota=1GB", 0, "changed"},
		{config, "account show taro@example.test", 0, "1GB"},
		{config, "account list", 0, "Taro"},
		{config, "alias add sales@example.test taro@example.test", 0, "added"},
		{config, "alias list", 0, "sales@example.test"},
		{config, "domain add second.test", 0, "added"},
		{config, "domain list", 0, "second.test"},
		{config, "domain dns second.test", 0, "MX 10 mx.example.test."},
		{config, "domain dkim list second.test", 0, "rsa-sha256"},
		{config, "mailbox list taro@example.test", 0, "INBOX"},
		{config, "mailbox reindex taro@example.test", 0, "0 messages"},
		{config, "mailbox check", 0, "as it must be"},
		{config, "queue list", 0, "NUMBER"},
		{config, "queue retry", 2, "--all"},
		{config, "queue retry --all", 0, "0 recipients"},
		{config, "queue show 1", 1, "no message 1"},
		{config, "account disable taro@example.test", 0, "disabled"},
		{config, "alias delete sales@example.test", 0, "deleted"},
		{config, "account delete taro@example.test", 0, "deleted"},
		{config, "account delete admin@example.test", 1, "last active administrator"},
	} {
		out, errs, status := command(t, c.config, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("migiwa %s: exit status %d, want %d and %q in\n%s%s", c.args, status, c.status, c.says, out, errs)
		}
		if (status != 0) != (errs != "") {
			t.Errorf("migiwa %s: exit status %d, standard error %q", c.args, status, errs)
		}
	}
}

// TestJSON: every list prints one object a line, everything else one document.
func TestJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	config := filepath.Join(dir, "migiwa.toml")
	for _, args := range []string{
		"quickstart --json --dir " + dir + " --domain example.test", "account list --json", "account show admin@example.test --json",
		"alias list --json", "domain list --json", "domain dns example.test --json", "domain dkim list example.test --json",
		"mailbox list admin@example.test --json", "queue retry --all --json", "version --json", "config doc --json",
	} {
		out, errs, status := command(t, config, strings.Fields(args)...)
		if status != 0 || out == "" {
			t.Errorf("migiwa %s: exit status %d: %s%s", args, status, out, errs)
		}
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("migiwa %s: not JSON: %s", args, line)
			}
		}
	}
}
