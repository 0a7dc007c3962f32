// Package logstoretest starts real log stores for tests.
package logstoretest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/child"
)

// Main is for TestMain: it makes the test program a log store when a
// Supervisor of Start has started it as one, and runs the tests otherwise.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "logstore" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := child.Run(ctx, options(os.Args[2:]), os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// options reads what a Supervisor writes.
func options(args []string) (o child.Options) {
	for i := 0; i+1 < len(args); i += 2 {
		value := args[i+1]
		number, _ := strconv.ParseInt(value, 10, 64)
		span, _ := time.ParseDuration(value)
		switch args[i] {
		case "--socket":
			o.Socket = value
		case "--dir":
			o.Dir = value
		case "--keep":
			o.Keep = span
		case "--memory":
			o.Memory = number
		case "--max-disk":
			o.MaxDisk = number
		case "--min-free":
			o.MinFree = number
		case "--flush":
			o.Flush = span
		}
	}
	return o
}

// New gives a supervisor of a store in dir, not yet running. Paths of Unix
// sockets are short, so dir must be.
func New(t testing.TB, dir string, events *event.Recorder) *logstore.Supervisor {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &logstore.Supervisor{
		Command: []string{exe, "logstore"}, Dir: filepath.Join(dir, "logstore"), Socket: filepath.Join(dir, "logstore.sock"),
		Keep: 100 * 24 * time.Hour, Memory: 256 << 20, MinFree: 1 << 20, Events: events, Check: time.Second, Backoff: 50 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
}

// Run runs s until the test ends or stop is called, and waits until it answers.
func Run(t testing.TB, s *logstore.Supervisor) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	Eventually(t, "the log store answers", s.Running)
	return stop
}

// Dir gives a directory whose path is short enough for a Unix socket.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ls")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Eventually waits until ok gives true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after two minutes still not: %s", what)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}
