package logstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
)

func TestMain(m *testing.M) { logstoretest.Main(m) }

var ctx = context.Background()

// full gives an event with every field set.
func full() event.Event {
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i, f := range event.Fields {
		switch v.Field(i).Kind() {
		case reflect.String:
			v.Field(i).SetString("the " + f.Name + " \"<é>\\\"")
		case reflect.Int, reflect.Int64:
			v.Field(i).SetInt(int64(i) - 40)
		case reflect.Uint16:
			v.Field(i).SetUint(65535)
		case reflect.Float32:
			v.Field(i).SetFloat(-2.5)
		}
	}
	e.Time, e.IP = time.Now().UTC().Round(0), netip.MustParseAddr("2001:db8::1")
	return e
}

func insert(t *testing.T, c *logstore.Client, events ...event.Event) {
	t.Helper()
	if err := c.Insert(ctx, lines(t, events...)); err != nil {
		t.Fatal(err)
	}
}

// lines makes a request of events.
func lines(t *testing.T, events ...event.Event) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func find(t *testing.T, c *logstore.Client, query string) (found []event.Event) {
	t.Helper()
	err := c.Select(ctx, query, logstore.Span{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}, 0, func(e event.Event) error {
		found = append(found, e)
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return found
}

func finds(t *testing.T, c *logstore.Client, query string, n int) {
	t.Helper()
	logstoretest.Eventually(t, fmt.Sprintf("%s finds %d", query, n), func() bool { return len(find(t, c, query)) == n })
}

// conformance is what a client needs of any store.
func conformance(t *testing.T, c *logstore.Client) {
	e := full()
	insert(t, c, e, event.Event{Time: e.Time.Add(1), Kind: event.Rcpt, Node: "n1", To: "<taro@example.jp>", IP: netip.MustParseAddr("192.0.2.7")})
	finds(t, c, "*", 2)
	if got := find(t, c, `{kind="rcpt"}`); len(got) != 1 || got[0].Text != "" || got[0].To != "<taro@example.jp>" {
		t.Errorf("an event with little in it: %+v", got)
	}
	if got := find(t, c, `trace:="the trace \"<é>\\\""`); len(got) != 1 || got[0] != e {
		t.Errorf("got\n%+v, want\n%+v", got, e)
	}
	for query, n := range map[string]int{
		`{kind="rcpt"}`: 1, `ip:="192.0.2.7"`: 1, `ip:ipv4_range("192.0.2.0/24")`: 1, `to:"taro@example.jp"`: 1, `to:*"aro@ex"*`: 1, `to:="taro"`: 0,
		`port:=65535`: 1,
	} {
		if got := find(t, c, query); len(got) != n {
			t.Errorf("%s finds %d, want %d", query, len(got), n)
		}
	}
	var counts []map[string]string
	if err := c.Rows(ctx, `* | stats by (kind) count() as n`, logstore.Span{}, 0, func(row map[string]string) error {
		counts = append(counts, row)
		return nil
	}); err != nil || len(counts) != 2 || counts[0]["n"] != "1" {
		t.Errorf("counts %v, %v", counts, err)
	}
	u, err := c.Usage(ctx)
	if err != nil || u.Rows < 2 || u.Free == 0 || u.Memory == 0 || u.ReadOnly {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := c.Insert(ctx, []byte("no event\n")); err == nil {
		t.Error("what is no event was taken")
	}
	var refused *logstore.StatusError
	if err := c.Select(ctx, `"unfinished`, logstore.Span{}, 0, nil); err == nil || !asStatus(err, &refused) {
		t.Errorf("a wrong query: %v", err)
	}
	if err := c.Delete(ctx, `{kind="rcpt"}`); err != nil {
		t.Fatal(err)
	}
	finds(t, c, `{kind="rcpt"}`, 0)
	tail(t, c)
}

func asStatus(err error, to **logstore.StatusError) bool {
	s, ok := err.(*logstore.StatusError)
	*to = s
	return ok
}

// tail checks that what comes in is told to who waits.
func tail(t *testing.T, c *logstore.Client) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	got := make(chan event.Event, 100)
	go c.Tail(ctx, `{kind="login"}`, func(e event.Event) error {
		got <- e
		return nil
	})
	for {
		insert(t, c, event.Event{Time: time.Now(), Node: "n", Kind: event.Login, Account: "taro"})
		select {
		case e := <-got:
			if e.Account != "taro" {
				t.Errorf("tail gave %+v", e)
			}
			return
		case <-ctx.Done():
			t.Fatal("tail gave nothing")
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func TestChild(t *testing.T) {
	s := logstoretest.New(t, logstoretest.Dir(t), nil)
	logstoretest.Run(t, s)
	conformance(t, s.Client())
	if st, err := os.Stat(s.Socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", st.Mode(), err)
	}
}

// TestServer runs the same against a server that listens on TCP.
func TestServer(t *testing.T) {
	s := startServer(t, "-httpAuth.username=migiwa", "-httpAuth.password=secret")
	c := logstore.NewClient(s.url+"/", "migiwa", "secret")
	s.await(t, c)
	e := event.Event{Time: time.Now(), Node: "n", Kind: event.Accept}
	if err := logstore.NewClient(s.url, "", "").Insert(ctx, lines(t, e)); err == nil {
		t.Error("the server asks for no password")
	}
	conformance(t, c)
}

// server is the real server of VictoriaLogs, of the module that the child's
// packages are of.
type server struct {
	url   string
	argv  []string
	child *exec.Cmd
}

func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	program, err := exec.Command("go", "tool", "-n", "victoria-logs").Output() // built and cached by the go command
	if err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	s := &server{url: "http://" + addr, argv: append([]string{strings.TrimSpace(string(program)), "-storageDataPath=" + filepath.Join(t.TempDir(), "data"),
		"-httpListenAddr=" + addr, "-retentionPeriod=100d"}, flags...)}
	if !slices.Contains(flags, "-delete.enable=false") {
		s.argv = append(s.argv, "-delete.enable")
	}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.child = exec.Command(s.argv[0], s.argv[1:]...)
	s.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.child.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) kill() {
	s.child.Process.Kill() // it may have ended
	s.child.Wait()
}

func (s *server) await(t *testing.T, c *logstore.Client) {
	t.Helper()
	logstoretest.Eventually(t, "the server answers", func() bool {
		_, err := c.Usage(ctx)
		return err == nil
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// processes gives the children of this process that are log stores.
func processes(t *testing.T, socket string) (pids []int) {
	t.Helper()
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range entries {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), socket) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func kill(t *testing.T, s *logstore.Supervisor, sig syscall.Signal) {
	t.Helper()
	for _, pid := range processes(t, s.Socket) {
		syscall.Kill(pid, sig)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	dir := logstoretest.Dir(t)
	events, err := event.Open(event.Options{Dir: filepath.Join(dir, "journal"), Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	s := logstoretest.New(t, dir, events)
	stop := logstoretest.Run(t, s)
	c := s.Client()
	insert(t, c, event.Event{Time: time.Now(), Node: "n", Kind: event.Accept, Trace: "before"})
	mark, err := c.Started(ctx)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(logstore.FlushTime) // what is acknowledged so long is on disk
	for range 3 {
		n := s.Restarts()
		kill(t, s, syscall.SIGKILL)
		logstoretest.Eventually(t, "another child", func() bool { return s.Restarts() > n && s.Running() })
	}
	if again, err := c.Started(ctx); err != nil || again == mark {
		t.Errorf("the mark of the start is %q as before, %v", again, err)
	}
	finds(t, c, `trace:=before`, 1)
	if _, err := os.Stat(s.Dir + ".broken"); err == nil {
		t.Error("kills were taken for damage")
	}
	stop()
	if left := processes(t, s.Socket); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	events.Close()
	starts, faults := 0, 0
	for _, e := range eventtest.Events(t, events.Dir()) {
		switch e.Kind {
		case event.Lifecycle:
			starts++
		case event.Fault:
			faults++
		}
	}
	if starts < 2 || faults != 3 {
		t.Errorf("%d starts and %d faults told", starts, faults)
	}
}

func TestHangingChildIsReplaced(t *testing.T) {
	s := logstoretest.New(t, logstoretest.Dir(t), nil)
	logstoretest.Run(t, s)
	kill(t, s, syscall.SIGSTOP)
	logstoretest.Eventually(t, "another child answers", func() bool { return s.Restarts() == 1 && s.Running() })
}

func TestDamagedDataIsLeftBehind(t *testing.T) {
	dir := logstoretest.Dir(t)
	s := logstoretest.New(t, dir, nil)
	lost := make(chan struct{}, 10)
	s.Lost = func() { lost <- struct{}{} }
	stop := logstoretest.Run(t, s)
	c := s.Client()
	for range 100 {
		insert(t, c, event.Event{Time: time.Now(), Node: "n", Kind: event.Accept, Trace: "lost"})
	}
	stop()
	damaged := 0
	filepath.Walk(s.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && strings.HasSuffix(path, ".bin") || filepath.Base(path) == "metadata.json" {
			damaged++
			return os.WriteFile(path, []byte{byte(rand.N(256)), 1, 2, 3}, 0o600)
		}
		return nil
	})
	if damaged == 0 {
		t.Fatal("found nothing to damage")
	}
	logstoretest.Run(t, s)
	select {
	case <-lost:
	case <-time.After(time.Minute):
		t.Fatal("nobody was told that the data is lost")
	}
	if _, err := os.Stat(s.Dir + ".broken"); err != nil {
		t.Error("the old data is gone:", err)
	}
	logstoretest.Eventually(t, "it serves again", s.Running)
	insert(t, c, event.Event{Time: time.Now(), Node: "n", Kind: event.Accept, Trace: "after"})
	finds(t, c, "trace:=after", 1)
}
