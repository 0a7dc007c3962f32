package logstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
	"github.com/migiwa/migiwa/internal/mail"
)

// TestKillsLoseTheLastSecondsOnly kills the child again and again while events
// come in. What was acknowledged FlushTime before a kill is found.
func TestKillsLoseTheLastSecondsOnly(t *testing.T) {
	s := logstoretest.New(t, logstoretest.Dir(t), nil)
	logstoretest.Run(t, s)
	c := s.Client()
	taken := map[mail.TraceID]time.Time{}
	var kills []time.Time
	n := 0
	for range 2 {
		for end := time.Now().Add(logstore.FlushTime + 2*time.Second); time.Now().Before(end); n++ {
			id := mail.TraceID(fmt.Sprint("t", n))
			if err := c.Insert(ctx, lines(t, event.Event{Time: time.Now().UTC(), Node: "n", Kind: event.Accept, Trace: id})); err != nil {
				t.Fatal(err)
			}
			taken[id] = time.Now()
			time.Sleep(5 * time.Millisecond) // a rate, no proof
		}
		kills = append(kills, time.Now())
		killed(t, s)
	}
	found := map[mail.TraceID]bool{}
	for _, e := range everything(t, c, "*") {
		found[e.Trace] = true
	}
	lost, early := 0, 0
	oldest := time.Duration(0)
	for id, at := range taken {
		if found[id] {
			continue
		}
		lost++
		for _, k := range kills {
			if age := k.Sub(at); age >= 0 {
				oldest = max(oldest, age)
				if age > logstore.FlushTime {
					early++
				}
				break
			}
		}
	}
	t.Logf("%d events taken, %d kills, %d lost; the oldest of them had been taken %v before the kill", len(taken), len(kills), lost, oldest.Round(time.Millisecond))
	if early > 0 {
		t.Errorf("%d events were lost that had been taken more than %v before", early, logstore.FlushTime)
	}
}

// TestTwoChildrenShareNothing: a second supervisor on the same directory gets
// nowhere, and does not touch the data of the first.
func TestTwoChildrenShareNothing(t *testing.T) {
	dir := logstoretest.Dir(t)
	first := logstoretest.New(t, dir, nil)
	logstoretest.Run(t, first)
	insert(t, first.Client(), event.Event{Time: time.Now(), Node: "n", Kind: event.Accept})
	second := logstoretest.New(t, dir, nil)
	second.Socket += "2"
	second.Lost = func() { t.Error("the data of the first was taken for damaged") }
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		second.Run(ctx)
	}()
	logstoretest.Eventually(t, "six ends of the second", func() bool { return second.Restarts() >= 6 })
	cancel()
	<-ended
	if first.Restarts() != 0 {
		t.Error("the first ended")
	}
	count(t, first.Client(), "*", 1)
}

// TestFullDisk: on a disk without room inserts are refused, nothing is taken for
// damaged, and with room they go on.
func TestFullDisk(t *testing.T) {
	dir := logstoretest.Dir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := logstoretest.New(t, dir, nil)
	s.MinFree = 16 << 20
	s.Lost = func() { t.Error("a full disk was taken for damaged data") }
	stop := logstoretest.Run(t, s)
	t.Cleanup(stop) // before the disk goes
	c := s.Client()
	e := event.Event{Time: time.Now().UTC(), Node: "n", Kind: event.Accept}
	insert(t, c, e)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, bytes.Repeat([]byte{1}, 50<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := 0
	logstoretest.Eventually(t, "refusals", func() bool {
		err := c.Insert(ctx, lines(t, e))
		if errors.Is(err, logstore.ErrFull) {
			refused++
		}
		return refused >= 3
	})
	logstoretest.Eventually(t, "the usage says so", func() bool { // the child measures its disk every few seconds
		u, err := c.Usage(ctx)
		return err == nil && u.ReadOnly
	})
	f, err := os.Create(filepath.Join(dir, "rest")) // not an octet is left
	if err != nil {
		t.Fatal(err)
	}
	for _, err = f.Write(make([]byte, 1<<20)); err == nil; _, err = f.Write(make([]byte, 1<<20)) {
	}
	f.Close()
	for range 5 { // more than are needed to give data up
		n := s.Restarts()
		logstoretest.Eventually(t, "an end", func() bool {
			kill(t, s, syscall.SIGKILL) // when there is one at the moment
			return s.Restarts() > n
		})
	}
	for _, name := range []string{ballast, f.Name()} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	late := event.Event{Time: time.Now().UTC(), Node: "n", Kind: event.Accept, Trace: "late"}
	logstoretest.Eventually(t, "inserts go on", func() bool { return c.Insert(ctx, lines(t, late)) == nil })
	logstoretest.Eventually(t, "it is found", func() bool { return len(find(t, c, "trace:=late")) > 0 })
}

// TestHangingAnswers: neither a store that says nothing, nor one that stops in
// the middle, nor one that lies, keeps the caller or passes for an answer.
func TestHangingAnswers(t *testing.T) {
	release := make(chan struct{})
	answers := map[string]func(w http.ResponseWriter){
		"nothing": func(http.ResponseWriter) { <-release },
		"middle": func(w http.ResponseWriter) {
			fmt.Fprintln(w, `{"_time":"2026-01-01T00:00:00Z"}`)
			w.(http.Flusher).Flush()
			<-release
		},
		"torn":   func(w http.ResponseWriter) { fmt.Fprint(w, `{"_time":"2026-01-0`) },
		"words":  func(w http.ResponseWriter) { fmt.Fprintln(w, "the request could not be executed") },
		"nested": func(w http.ResponseWriter) { fmt.Fprintln(w, `{"a":{"b":1}}`) },
		"long":   func(w http.ResponseWriter) { fmt.Fprintf(w, `{"a":"%s"}`, strings.Repeat("x", 5<<20)) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			t.Errorf("the question is in the URL: %s", r.URL)
		}
		answers[r.FormValue("query")](w)
	}))
	defer server.Close()
	defer close(release)
	c := logstore.NewClient(server.URL, "", "")
	for name := range answers {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		err := c.Rows(ctx, name, logstore.Span{}, 0, func(map[string]string) error { return nil })
		cancel()
		if err == nil {
			t.Errorf("%s passed for an answer", name)
		}
	}
}

// TestBadLinesAreRefused: what a store would drop with HTTP 200 is not sent.
func TestBadLinesAreRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // nobody is there: what is sent fails otherwise
	c := logstore.NewClient("http://"+addr, "", "")
	good := string(lines(t, event.Event{Time: time.Now(), Kind: event.Close}))
	for _, bad := range []string{"{}", "[1]", `{"time":"2026`, strings.Replace(good, "close", strings.Repeat("x", logstore.MaxLine), 1)} {
		err := c.Insert(ctx, []byte(good+strings.TrimSpace(bad)+"\n"+good))
		var refused *logstore.StatusError
		if !errors.As(err, &refused) || refused.Code != http.StatusBadRequest || !strings.Contains(refused.Text, "line 2") {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// TestDeleteNotAllowed: the error of a server that was not told to allow it
// says what to do.
func TestDeleteNotAllowed(t *testing.T) {
	s := startServer(t, "-delete.enable=false")
	c := logstore.NewClient(s.url, "", "")
	s.await(t, c)
	if err := c.Delete(ctx, "*"); !errors.Is(err, logstore.ErrNoDelete) {
		t.Errorf("%v", err)
	}
}
