package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event/eventtest"
)

// TestStop ends the server while clients are connected: they are told, and
// nothing is lost.
func TestStop(t *testing.T) {
	t.Parallel()
	s := start(t, "", "alice")
	s.deliver("before", "alice@"+domain)
	idle, busy, pop := s.mx(), s.mx(), s.pop("alice@"+domain, "alice")
	busy.say("250", "MAIL FROM:<a@far.test>")
	busy.say("250", "RCPT TO:<alice@%s>", domain)
	busy.say("354", "DATA")
	busy.write("Subject: half\r\n\r\nThis message")
	begin := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	idle.want("421 ")
	if got := idle.line(); got != "" {
		t.Errorf("behind 421: %q", got)
	}
	busy.write(" ends here.\r\n.\r\n")
	took := strings.HasPrefix(busy.reply(), "250")
	if got := pop.line(); got != "" && !strings.HasPrefix(got, "-ERR") {
		t.Errorf("POP3 at the end: %q", got)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			t.Fatalf("ended with %v\n%s", err, s.log)
		}
	case <-time.After(40 * time.Second):
		t.Fatal("did not end")
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("stopping took %v", d)
	}
	s.cmd = nil
	s.serve()
	want := 1
	if took {
		want = 2
	}
	if got := s.inbox("alice"); len(got) != want {
		t.Errorf("%d messages after a restart, want %d", len(got), want)
	}
	s.run("", "mailbox", "check")
}

// TestKill cuts the power after a 250.
func TestKill(t *testing.T) {
	t.Parallel()
	s := start(t, "", "alice")
	for i := range 5 {
		s.deliver(fmt.Sprintf("number %d", i), "alice@"+domain)
		s.kill()
		s.serve()
		if got := s.inbox("alice"); len(got) != i+1 {
			t.Fatalf("%d messages after kill number %d", len(got), i+1)
		}
	}
	s.run("", "mailbox", "check")
}

// serial gives the serial number of the certificate at port 995.
func (s *server) serial() *big.Int {
	s.t.Helper()
	k := s.dial(995)
	defer k.c.Close()
	return k.handshake().ConnectionState().PeerCertificates[0].SerialNumber
}

// newPair replaces the certificate files.
func (s *server) newPair() {
	s.t.Helper()
	cert, key := s.cert(), filepath.Join(s.Dir, "tls", "key.pem")
	out, err := tool(s.t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-days", "2", "-subj", "/CN=localhost."+domain, "-keyout", key+".new", "-out", cert+".new")
	if err != nil {
		s.t.Fatalf("openssl: %v\n%s", err, out)
	}
	for _, f := range []string{key, cert} {
		if err := os.Rename(f+".new", f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestReload changes what can be changed without a restart.
func TestReload(t *testing.T) {
	t.Parallel()
	one, two := newFakeHost(t, ""), newFakeHost(t, "")
	s := start(t, route("far.test", one.Addr), "alice")
	hup := func(words ...string) {
		t.Helper()
		before := len(s.log.String())
		s.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, shortly, fmt.Sprintf("the log says %q", words), func() bool { return containsAll(s.log.String()[before:], words...) })
	}
	edit := func(old, new string) {
		t.Helper()
		text, err := os.ReadFile(s.Config)
		if err != nil || !strings.Contains(string(text), old) {
			t.Fatalf("no %q in\n%s, %v", old, text, err)
		}
		if err := os.WriteFile(s.Config, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	send := func(h *fakeHost, n int) {
		t.Helper()
		s.submit("alice").send("alice@"+domain, []string{"x@far.test"}, message("alice@"+domain, "x@far.test", "routed"))
		eventually(t, shortly, "the message", func() bool { got, _ := h.seen(); return len(got) == n })
	}
	send(one, 1)
	edit(one.Addr, two.Addr)
	hup("reloaded")
	send(two, 1)

	edit(two.Addr, "nonsense")
	hup("nothing was changed", "route", "nonsense")
	send(two, 2)
	edit("nonsense", two.Addr)
	edit("[[route]]", "[smtp]\nmax_recipients = 200\n\n[[route]]")
	hup("restart", "smtp.max_recipients")

	old := s.serial()
	s.newPair()
	hup("reloaded")
	if now := s.serial(); now.Cmp(old) == 0 {
		t.Error("SIGHUP left the old certificate")
	}
	old = s.serial()
	s.newPair()
	eventually(t, 30*time.Second, "the new certificate without a signal", func() bool { return s.serial().Cmp(old) != 0 })
	old = s.serial()
	if err := os.WriteFile(s.cert(), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	hup("nothing was changed", "cert.pem")
	if s.serial().Cmp(old) != 0 {
		t.Error("a broken certificate file changed what is served")
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	s := install(t, "")
	if out, code := s.try("", "config", "check"); code != 0 || !strings.Contains(out, s.Config) {
		t.Errorf("status %d: %s", code, out)
	}
	s.configure("[smtp]\nmax_recipients = 3\nmax_massage = 1\n[dns]\nservers = [\"nowhere\"]\n")
	out, code := s.try("", "config", "check")
	if code != 1 {
		t.Errorf("status %d of a wrong file", code)
	}
	text, _ := os.ReadFile(s.Config)
	line := func(word string) int {
		return 1 + strings.Count(string(text[:strings.Index(string(text), word)]), "\n")
	}
	wantAll(t, out, fmt.Sprintf("%s:%d: smtp.max_recipients: ", s.Config, line("max_recipients")),
		fmt.Sprintf("%s:%d: smtp.max_massage: ", s.Config, line("max_massage")), fmt.Sprintf("%s:%d: dns.servers", s.Config, line("servers")))
	if out, code := s.try("", "serve"); code != 1 || !strings.Contains(out, "max_massage") {
		t.Errorf("serve with a wrong file: status %d, %s", code, out)
	}
	if out, code := s.try("", "serve", "--config", "/nowhere/migiwa.toml"); code != 1 || !strings.Contains(out, "/nowhere/migiwa.toml") {
		t.Errorf("serve without a file: status %d, %s", code, out)
	}
	if _, code := s.try("", "config", "chek"); code != 2 {
		t.Errorf("status %d of misuse", code)
	}
	if out, code := s.try("", "config", "doc"); code != 0 || !strings.Contains(out, "smtp.max_recipients") {
		t.Errorf("doc: status %d, %s", code, out)
	}
}

func TestQuickstartOverwritesNothing(t *testing.T) {
	t.Parallel()
	s := install(t, "")
	before, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	out, code := s.try("", "quickstart", "--dir", s.Dir, "--domain", "other.test")
	if code != 1 || !strings.Contains(out, "exists already") {
		t.Errorf("status %d: %s", code, out)
	}
	if after, err := os.ReadFile(s.Config); err != nil || string(after) != string(before) {
		t.Errorf("the configuration changed: %v\n%s", err, after)
	}
	if strings.Contains(s.run("", "domain", "list"), "other.test") {
		t.Error("the domain was added")
	}
	for _, args := range [][]string{{"--domain", "no domain"}, {"--domain", "a.test", "--hostname", "-"}, {}} {
		dir := filepath.Join(t.TempDir(), "new")
		if out, code := s.try("", append([]string{"quickstart", "--dir", dir}, args...)...); code != 2 {
			t.Errorf("quickstart %q: status %d, %s", args, code, out)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("quickstart %q left %s", args, dir)
		}
	}
}

// TestDoctor publishes what `domain dns` prints and sees the findings change.
func TestDoctor(t *testing.T) {
	t.Parallel()
	zone := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(zone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := install(t, fmt.Sprintf("[dns]\nzone_file = %q\n", zone))
	out, code := s.try("", "doctor")
	if code != 1 {
		t.Errorf("status %d while nothing is right", code)
	}
	wantAll(t, out, "mx does not answer", "mail for "+domain+" does not come here", "publish: ")
	records := s.run("", "domain", "dns", domain) + "localhost." + domain + ". A 127.0.0.1\n1.0.0.127.in-addr.arpa. PTR localhost." + domain + ".\n"
	if err := os.WriteFile(zone, []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	s.serve()
	out, code = s.try("", "doctor")
	if code != 0 || strings.Contains(out, "bad ") {
		t.Errorf("status %d", code)
	}
	wantAll(t, out, "mx answers at", "pop3s answers at", "mail for "+domain+" comes here", "v=spf1", "v=DKIM1", "v=DMARC1", "lead to each other")
	for line := range strings.Lines(s.run("", "doctor", "--json")) {
		var f struct{ Level, Text string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Level == "" || f.Text == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := shared(t, "metra")
	s.deliver("counted", "metra@"+domain)
	for _, name := range []string{`migiwa_smtp_connections_total{service="mx"}`, `migiwa_smtp_messages_total{service="mx"}`,
		"migiwa_events_written_total", `migiwa_queue_recipients{state="waiting"}`, "go_goroutines"} {
		eventually(t, shortly, "the metric "+name, func() bool { return strings.Contains(s.metrics(), "\n"+name+" ") })
	}
}

// metrics gives what Prometheus would read.
func (s *server) metrics() string {
	s.t.Helper()
	r, err := http.Get("http://" + s.addr(9125) + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestJournal follows a message by its trace.
func TestJournal(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, "")
	s := start(t, route("far.test", host.Addr), "alice")
	k := s.submit("alice")
	k.say("250", "MAIL FROM:<alice@%s>", domain)
	k.say("250", "RCPT TO:<alice@%s>", domain)
	k.say("250", "RCPT TO:<x@far.test>")
	words := strings.Fields(k.data("250 2.0.0", "From: alice@"+domain+"\nMessage-ID: <traced@desk>\n\nHello.\n"))
	trace := words[len(words)-1]
	k.say("221", "QUIT")
	s.arrives("alice", "traced@desk")
	kinds := map[string]map[string]any{}
	eventually(t, shortly, "all events of the message", func() bool {
		for line := range strings.Lines(eventtest.Text(t, filepath.Join(s.Dir, "data", "journal"))) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return false // its end is still being written
			}
			if e["trace"] == trace {
				kinds[e["kind"].(string)] = e
			}
		}
		for _, kind := range []string{"connect", "login", "rcpt", "accept", "stored", "attempt", "settled", "close"} {
			if kinds[kind] == nil {
				return false
			}
		}
		return true
	})
	for kind, want := range map[string]map[string]any{
		"login":   {"account": "alice@" + domain, "code": 235.0, "role": "submission"},
		"accept":  {"from": "<alice@" + domain + ">", "message_id": "traced@desk"},
		"attempt": {"to": "x@far.test", "code": 250.0, "role": "delivery"},
	} {
		for field, value := range want {
			if kinds[kind][field] != value {
				t.Errorf("%s: %s is %v, want %v", kind, field, kinds[kind][field], value)
			}
		}
	}
}

// TestPortInUse starts where another program listens already.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := install(t, "")
	l, err := net.Listen("tcp", s.addr(587))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, code := s.try("", "serve")
	if code != 1 || !containsAll(out, "submission", s.addr(587), "in use") || strings.Contains(out, "migiwa ready") {
		t.Errorf("status %d:\n%s", code, out)
	}
}
