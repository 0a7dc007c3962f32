package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/test/imap/client"
)

// victoria starts a VictoriaLogs server, built from the module that the child
// process is made of, and gives its URL.
func victoria(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "victoria-logs")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(bin, "-storageDataPath="+filepath.Join(dir, "data"), "-httpListenAddr="+addr, "-retentionPeriod=100d", "-delete.enable")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return "http://" + addr
}

// twoNodes gives an edge that relays mail for behind.test to a core; both send
// their events to one server.
func twoNodes(t *testing.T) (edge, core *server) {
	t.Helper()
	store := fmt.Sprintf("[log.store]\nurl = %q\n", victoria(t))
	core = install(t, store)
	core.run("", "domain", "add", "behind.test")
	core.run("carol\n", "account", "add", "carol@behind.test", "--password-stdin")
	core.serve()
	edge = install(t, store+route("behind.test", core.addr(25), "relay = true", `recipients = "any"`))
	text, err := os.ReadFile(edge.Config)
	if err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(string(text), `"localhost.`+domain+`"`, `"edge.`+domain+`"`, 1)
	if err := os.WriteFile(edge.Config, []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	edge.serve()
	return edge, core
}

// says runs a command until its output has all the words: events take a moment
// to be found.
func (s *server) says(args []string, words ...string) (out string) {
	s.t.Helper()
	eventually(s.t, shortly, fmt.Sprintf("migiwa %s says %q", strings.Join(args, " "), words), func() bool {
		var status int
		out, status = s.try("", args...)
		return status == 0 && containsAll(out, words...)
	})
	return out
}

// TestTraceAcrossNodes follows a message from the edge to its reader, by every
// way to ask for it.
func TestTraceAcrossNodes(t *testing.T) {
	t.Parallel()
	edge, core := twoNodes(t)
	k := edge.mx()
	k.say("250", "MAIL FROM:<Hanako@far.test>")
	k.say("550 5.1.1", "RCPT TO:<nobody@%s>", domain)
	k.say("250", "RCPT TO:<carol@behind.test>")
	words := strings.Fields(k.data("250 2.0.0", "From: hanako@far.test\nMessage-ID: <story@far.test>\nSubject: =?utf-8?B?5Lya6K2w?= on Friday\n\nHello.\n"))
	trace := words[len(words)-1]
	k.say("221", "QUIT")
	inbox, err := client.Server{Addr: core.addr(993), TLS: true}.Login("carol@behind.test", "carol")
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	c := &session{t, inbox}
	eventually(t, shortly, "the message is there", func() bool {
		c.ok("SELECT INBOX")
		_, err := inbox.OK("FETCH 1 BODY[]")
		return err == nil
	})
	c.ok(`STORE 1 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")

	var inner string
	story := edge.says([]string{"trace", trace}, "会議 on Friday", "nobody@"+domain+">: refused with 550 5.1.1", "there is no such address",
		"Delivered to", "Accepted as", "It was put into the mailbox INBOX of carol@behind.test", "carol@behind.test fetched it by IMAP",
		"carol@behind.test deleted it from INBOX by IMAP", "to <carol@behind.test>: deleted by carol@behind.test")
	if i, j, k := strings.Index(story, "edge     The message"), strings.Index(story, "localhost It was put"), strings.Index(story, "localhost carol"); i < 0 || j < i || k < j {
		t.Errorf("not in order, or not by node:\n%s", story)
	}
	if _, after, ok := strings.Cut(story, "“Accepted as "); ok {
		inner, _, _ = strings.Cut(after, "”")
	}
	for _, question := range []string{"<story@far.test>", inner, "from hanako@far.test to carol today", "subject 会議 to @behind.test"} {
		if got := edge.says([]string{"trace", question}, "deleted by carol"); got != story {
			t.Errorf("trace %s:\n%s\nbut trace %s:\n%s", question, got, trace, story)
		}
	}
	core.says([]string{"trace", inner}, "edge     Recipient", "deleted by carol")
	if out, status := edge.try("", "trace", "nothing.such@far.test"); status != 1 || !strings.Contains(out, "nothing is known of it") {
		t.Errorf("exit status %d: %s", status, out)
	}
	searches(t, edge, trace)
}

// searches asks for the events of the message in every way.
func searches(t *testing.T, edge *server, trace string) {
	t.Helper()
	for query, n := range map[string]int{"id:" + trace + " kind:accept": 1, "from:hanako@far.test kind:accept": 2, "from:HANAKO@far.test kind:accept": 2,
		"subject:friday": 2, "subject:会議": 2, "to:carol@behind.test kind:rcpt node:edge." + domain: 1, "code:5.1.1 to:nobody": 1,
		"ip:127.0.0.0/8 kind:rcpt code:5xx": 1, "kind:remove mailbox:INBOX since:1h": 1, "logsql:message_id:=\"story@far.test\"": 2} {
		lines := strings.Split(strings.TrimSpace(edge.says([]string{"log", "search", query, "--json"}, `"kind"`)), "\n")
		var e event.Event
		if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || len(lines) != n {
			t.Errorf("%s finds %d: %s", query, len(lines), lines[0])
		}
	}
	edge.says([]string{"log", "top", "kind", "--since", "1h"}, "accept", "remove")
	edge.says([]string{"log", "search", "kind:search", "--limit", "1000"}, "read events: trace", "read events: search “subject:friday” found 2 events", "read events: top kind")
	edge.says([]string{"log", "status"}, "The log store has", "sessions")

	file := filepath.Join(t.TempDir(), "export.jsonl")
	edge.run("", "log", "export", "id:"+trace, "-o", file)
	edge.run("", "log", "verify", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "carol", "karol", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := edge.try("", "log", "verify", file); status != 1 || !strings.Contains(out, "was tampered with: line ") {
		t.Errorf("exit status %d: %s", status, out)
	}
	follow(t, edge)
}

// follow checks that what comes is shown as it comes.
func follow(t *testing.T, s *server) {
	t.Helper()
	var out syncBuffer
	cmd := exec.Command(s.bin, "log", "search", "--follow", "to:nobody", "--config", s.Config)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(shortly); !strings.Contains(out.String(), "followed@"); time.Sleep(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("nothing is shown:\n%s", &out)
		}
		k := s.mx()
		k.say("250", "MAIL FROM:<followed@far.test>")
		k.say("550", "RCPT TO:<nobody@%s>", domain)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("at its end: %v\n%s", err, &out)
	}
}

// TestSearchWithoutStore: while the store is away, and when the database cannot
// be opened, a node's own journal answers.
func TestSearchWithoutStore(t *testing.T) {
	t.Parallel()
	s := start(t, "[log.store]\nurl = \"off\"\n", "alice")
	s.deliver("alone", "alice@"+domain)
	out := s.says([]string{"trace", "to", "alice", "today"}, "in the mailbox INBOX of alice@"+domain, "only this node's journal was searched: there is no log store")
	s.stop()
	if err := os.WriteFile(filepath.Join(s.Dir, "data", "migiwa.db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := s.run("", "trace", "to", "alice", "today"); again != out {
		t.Errorf("without the database:\n%s\nbefore:\n%s", again, out)
	}
}
