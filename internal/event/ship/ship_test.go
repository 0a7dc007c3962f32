package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
)

func TestMain(m *testing.M) { logstoretest.Main(m) }

// fake is a store that acknowledges what it has in memory, writes it a moment
// later, and fails in every way when it is told to.
type fake struct {
	mu      sync.Mutex
	durable map[string]int // lines
	memory  []string       // lines that a restart loses
	starts  int
	evil    bool
	poison  string // a line with it is refused
	inserts int
}

func (f *fake) restart() {
	f.memory, f.starts = nil, f.starts+1
}

func (f *fake) flush() {
	for _, line := range f.memory {
		f.durable[line]++
	}
	f.memory = nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lucky := func(n int) bool { return f.evil && rand.N(n) == 0 }
	switch r.URL.Path {
	case "/metrics":
		fmt.Fprintf(w, "vm_app_start_timestamp %d\n", f.starts)
	case "/insert/jsonline":
		body, _ := io.ReadAll(r.Body)
		if lucky(4) {
			http.Error(w, "nothing was taken", 500)
			return
		}
		if f.poison != "" && bytes.Contains(body, []byte(f.poison)) {
			http.Error(w, "poisoned", 400)
			return
		}
		f.inserts++
		for line := range bytes.Lines(body) {
			f.memory = append(f.memory, string(line))
		}
		if lucky(4) {
			http.Error(w, "all was taken", 500)
		}
	case "/select/logsql/query":
		for line := range f.durable {
			f.tell(w, line)
		}
		for _, line := range f.memory {
			f.tell(w, line)
		}
	}
	switch {
	case lucky(20):
		f.restart()
	case lucky(3) || !f.evil:
		f.flush()
	}
}

// tell gives a line as the store does: each value as text.
func (f *fake) tell(w io.Writer, line string) {
	d := json.NewDecoder(bytes.NewReader([]byte(line)))
	d.UseNumber()
	var row map[string]any
	if d.Decode(&row) != nil {
		return
	}
	text := map[string]string{}
	for k, v := range row {
		text[k] = fmt.Sprint(v)
	}
	json.NewEncoder(w).Encode(text)
}

func journal(t *testing.T, dir string, file int64) *event.Recorder {
	t.Helper()
	r, err := event.Open(event.Options{Dir: dir, Node: "n1", Limits: &event.Limits{File: file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func shipper(t *testing.T, dir string, r *event.Recorder, c *logstore.Client) *Shipper {
	return &Shipper{Dir: r.Dir(), Path: filepath.Join(dir, "places"), Store: "s", Client: c, Events: r, Log: slog.New(slog.DiscardHandler),
		Poll: 5 * time.Millisecond, Confirm: 50 * time.Millisecond, Backoff: time.Millisecond, Grace: time.Millisecond}
}

// run runs s until stop.
func run(s *Shipper) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// TestEverythingArrives: whatever fails, each event is in the store in the end.
func TestEverythingArrives(t *testing.T) {
	dir := t.TempDir()
	r := journal(t, filepath.Join(dir, "journal"), 20_000)
	f := &fake{durable: map[string]int{}, evil: true}
	server := httptest.NewServer(f)
	defer server.Close()
	kinds := []event.Kind{event.Connect, event.Accept, event.Admin}
	n := 0
	for range 6 { // as many lives of the shipper
		s := shipper(t, dir, r, logstore.NewClient(server.URL, "", ""))
		stop := run(s)
		for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for range rand.N(10) {
				n++
				r.Record(event.Event{Kind: kinds[n%3], Count: int64(n), Text: "some words of a peer \u2028 <x>"})
			}
		}
		stop()
	}
	f.mu.Lock()
	f.evil = false
	f.mu.Unlock()
	s := shipper(t, dir, r, logstore.NewClient(server.URL, "", ""))
	defer run(s)()
	got := map[int64]int{}
	logstoretest.Eventually(t, "all events are there", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		clear(got)
		for line, times := range f.durable {
			if e, ok := event.Parse([]byte(line)); ok && e.Text != "" {
				got[e.Count] += times
			}
		}
		return len(got) == n
	})
	twice := 0
	for _, times := range got {
		twice += times - 1
	}
	t.Logf("%d events, %d of them sent again although they were there; %+v", n, twice, s.Status())
	if twice > n/2 {
		t.Errorf("%d of %d events came twice", twice, n)
	}
}

// TestPoisonStopsNobody: a line that the store refuses is left out alone.
func TestPoisonStopsNobody(t *testing.T) {
	dir := t.TempDir()
	r := journal(t, filepath.Join(dir, "journal"), 1<<20)
	f := &fake{durable: map[string]int{}, poison: "arsenic"}
	server := httptest.NewServer(f)
	defer server.Close()
	for i := range 1000 {
		text := "food"
		if i == 333 || i == 700 {
			text = "arsenic"
		}
		r.Record(event.Event{Kind: event.Accept, Count: int64(i), Text: text})
	}
	s := shipper(t, dir, r, logstore.NewClient(server.URL, "", ""))
	defer run(s)()
	logstoretest.Eventually(t, "the others arrive", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := 0
		for line := range f.durable {
			if bytes.Contains([]byte(line), []byte("food")) {
				n++
			}
		}
		return n == 998 && s.Status().Skipped >= 2
	})
}

// TestPlacesAreKept: a new shipper goes on where the last one was.
func TestPlacesAreKept(t *testing.T) {
	dir := t.TempDir()
	r := journal(t, filepath.Join(dir, "journal"), 1<<20)
	f := &fake{durable: map[string]int{}}
	server := httptest.NewServer(f)
	defer server.Close()
	client := logstore.NewClient(server.URL, "", "")
	r.Record(event.Event{Kind: event.Accept, Text: "one"})
	s := shipper(t, dir, r, client)
	stop := run(s)
	logstoretest.Eventually(t, "it is confirmed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.confirmed[event.Messages].Offset > 0
	})
	stop()
	f.mu.Lock()
	clear(f.durable)
	f.mu.Unlock()
	r.Record(event.Event{Kind: event.Accept, Text: "two"})
	s = shipper(t, dir, r, client)
	stop = run(s)
	logstoretest.Eventually(t, "the second arrives", func() bool { return s.Status().Sent >= 1 })
	stop()
	f.mu.Lock()
	if len(f.durable) != 1 {
		t.Errorf("sent again: %v", f.durable)
	}
	f.mu.Unlock()
	s.Rewind()
	s = shipper(t, dir, r, client)
	s.Store = "another"
	defer run(s)()
	logstoretest.Eventually(t, "another store gets all", func() bool { return s.Status().Sent+s.Status().Known >= 2 })
}

// TestKilledStore: the real store is killed again and again while events are
// recorded, and its data is lost once; all are found in the end.
func TestKilledStore(t *testing.T) {
	dir := logstoretest.Dir(t)
	r := journal(t, filepath.Join(dir, "journal"), 100_000)
	store := logstoretest.New(t, dir, r)
	s := shipper(t, dir, r, store.Client())
	s.Confirm = logstore.FlushTime
	store.Lost = s.Rewind
	logstoretest.Run(t, store)
	defer run(s)()
	n := 0
	record := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
			n++
			r.Record(event.Event{Kind: event.Accept, Trace: "t", Count: int64(n), Text: "words"})
		}
	}
	record(2 * time.Second)
	for range 3 {
		restarts := store.Restarts()
		kill(store.Socket)
		record(time.Second)
		logstoretest.Eventually(t, "another store", func() bool { return store.Restarts() > restarts && store.Running() })
		record(time.Second)
	}
	if r.Dropped() > 0 {
		t.Errorf("%d events were dropped", r.Dropped())
	}
	logstoretest.Eventually(t, "all events are found", func() bool {
		found := map[int64]int{}
		err := store.Client().Select(context.Background(), "trace:=t", logstore.Span{}, 0, func(e event.Event) error {
			found[e.Count]++
			return nil
		})
		if err != nil || len(found) != n {
			return false
		}
		t.Logf("%d events recorded, %d found; %+v", n, len(found), s.Status())
		return true
	})
}

// kill kills the store that serves on a socket.
func kill(socket string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(socket)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
