package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
)

// logNode gives an installation whose journal has some events, and where
// nothing serves.
func logNode(t *testing.T, more string) (config, journal string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "n")
	if out, errs, status := command(t, "", "quickstart", "--dir", dir, "--domain", "example.test"); status != 0 {
		t.Fatal(out, errs)
	}
	config, journal = filepath.Join(dir, "migiwa.toml"), filepath.Join(dir, "data", "journal")
	if more != "" {
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config, append(text, more...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := event.Open(event.Options{Dir: journal, Node: "mx.example.test"})
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []string{"taro@example.test", "nobody@example.test", "taro@example.test"} {
		r.Record(event.Event{Time: time.Now().Add(time.Duration(i-3) * time.Minute), Kind: event.Rcpt, Role: "mx", Trace: "ywd6h4yczhzk99wy",
			IP: netip.MustParseAddr("192.0.2.7"), From: "<evil\x1b[2J@b.test>", To: to, Code: 250})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return config, journal
}

func TestLogSearchCommand(t *testing.T) {
	config, journal := logNode(t, "")
	out, errs, status := command(t, config, "log", "search", "to:taro@example.test", "kind:rcpt")
	if status != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "Recipient <taro@example.test> was taken") || strings.Contains(out, "\x1b") ||
		!strings.Contains(errs, "only this node's journal was searched") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	out, _, status = command(t, config, "log", "search", "ip:192.0.2.0/24", "--limit", "1", "--json")
	var e event.Event
	if status != 0 || strings.Count(out, "\n") != 1 || json.Unmarshal([]byte(out), &e) != nil || e.To != "taro@example.test" {
		t.Errorf("exit status %d\n%s", status, out)
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"log search from:", 2, "nothing to look for"},
		{"log search --since later", 2, "no time"},
		{"log search to:hanako", 0, "Nothing was found."},
		{"log search logsql:code:=250", 1, "only the log store understands LogsQL"},
		{"log top to --since 1h kind:rcpt", 0, "2       taro@example.test"},
		{"log top nothing", 2, "no field"},
		{"log export -o " + t.TempDir() + "/x", 1, "log store"},
		{"log status", 0, "cannot be asked"},
		{"log fields", 0, "`message_id`"},
	} {
		out, errs, status := command(t, config, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("migiwa %s: exit status %d, want %d and %q in\n%s%s", c.args, status, c.status, c.says, out, errs)
		}
	}
	var searches []string
	for _, e := range eventtest.Events(t, journal) {
		if e.Kind == event.Search {
			searches = append(searches, strings.Join([]string{e.Actor, e.Verb, e.Query, e.Get("count")}, "|"))
		}
	}
	if len(searches) != 6 || searches[0] != actor+"|search|to:taro@example.test kind:rcpt|2" || searches[1] != actor+"|search|ip:192.0.2.0/24|1" {
		t.Errorf("recorded: %q", searches)
	}
}

func TestLogSearchWantsAReason(t *testing.T) {
	config, journal := logNode(t, "\n[log]\nrequire_reason = true\n")
	if out, errs, status := command(t, config, "log", "search", "to:taro"); status != 2 || !strings.Contains(errs, "--reason") || out != "" {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	if out, errs, status := command(t, config, "log", "search", "to:taro", "--reason", "taro asks where his mail is"); status != 0 || !strings.Contains(out, "taro") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	var told []string
	for _, e := range eventtest.Events(t, journal) {
		if e.Kind == event.Search {
			told = append(told, e.Text+"|"+e.Reason)
		}
	}
	if len(told) != 2 || told[0] != "|a reason is wanted (log.require_reason)" || told[1] != "taro asks where his mail is|" {
		t.Errorf("recorded: %q", told)
	}
}

func TestTraceCommand(t *testing.T) {
	config, journal := logNode(t, "")
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"trace ywd6h4yczhzk99wy", 0, "to <nobody@example.test>: taken"},
		{"trace from @b.test today", 0, "Recipient <nobody@example.test> was taken"},
		{"trace to nobody --json", 0, `"state":"taken"`},
		{"trace hanako", 1, "nothing is known of it"},
		{"trace to taro since later", 2, "no time"},
	} {
		out, errs, status := command(t, config, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+errs, c.says) || strings.Contains(out, "\x1b") {
			t.Errorf("migiwa %s: exit status %d, want %d and %q in\n%s%s", c.args, status, c.status, c.says, out, errs)
		}
	}
	n := 0
	for _, e := range eventtest.Events(t, journal) {
		if e.Kind == event.Search && e.Verb == "trace" {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d traces recorded, want 5", n)
	}
}
