package logstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore/child"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/test/peers"
)

// asChild in the environment makes the test binary the log store's process.
const asChild = "MIGIWA_TEST_LOGSTORE"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Setenv(asChild, "1")
		os.Exit(m.Run())
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	flags := map[string]string{}
	for _, f := range os.Args[2:] {
		name, value, _ := strings.Cut(f, "=")
		flags[name] = value
	}
	if err := child.Run(ctx, os.Args[1], flags); err != nil {
		fmt.Fprintln(os.Stderr, "migiwa:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// journal is a Recorder whose events can be read.
type journal struct {
	*event.Recorder
	mu   sync.Mutex
	said bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.Write(p)
}

// String gives what was logged.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.String()
}

// supervise starts a supervised store in dir and ends it with the test.
func supervise(t testing.TB, dir string, change func(*Supervisor)) (*Supervisor, *Client) {
	t.Helper()
	j := &journal{}
	rec, err := event.Open(event.Options{Dir: t.TempDir(), Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Supervisor{
		Args: []string{}, Socket: filepath.Join(dir, "s"), Data: filepath.Join(dir, "logstore"), Keep: 100 * 24 * time.Hour,
		Memory: 256 << 20, MinFree: 1 << 20, Events: rec, Log: slog.New(slog.NewTextHandler(j, nil)),
	}
	if change != nil {
		change(s)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		rec.Close()
		if t.Failed() {
			t.Log(j)
		}
	})
	c := NewSocketClient(s.Socket)
	wait(t, "the store to run", func() bool { return s.Status().Running })
	return s, c
}

// shortDir is a directory whose path is short enough for sockets in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "migiwa-ls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// wait waits until ok, for two minutes at most.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// lines makes a request of events.
func lines(t testing.TB, events ...event.Event) []byte {
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

// find gives the events that a query finds.
func find(c *Client, query string) (found []event.Event, err error) {
	err = c.Select(context.Background(), query, Span{}, 0, func(e event.Event) error {
		found = append(found, e)
		return nil
	})
	return found, err
}

// full gives an event with every field set.
func full() event.Event {
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i, f := range event.Fields {
		switch v.Field(i).Kind() {
		case reflect.String:
			v.Field(i).SetString("the " + f.Name + " \"<ß\\\x01\U0001F30A=|*\x7f> : 1.0")
		case reflect.Int, reflect.Int64:
			v.Field(i).SetInt(int64(i) - 40)
		case reflect.Uint16:
			v.Field(i).SetUint(65535)
		case reflect.Float32:
			v.Field(i).SetFloat(-2.0625)
		}
	}
	e.Time, e.IP = time.Now().UTC().Add(-time.Hour), netip.MustParseAddr("2001:db8::1")
	e.Time = e.Time.Truncate(time.Second).Add(123456789)
	return e
}

// place is a store that the conformance tests run against.
type place struct {
	client  *Client
	restart func() // with SIGKILL
}

// eachStore runs a test against the child process and against the real server.
func eachStore(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("child", func(t *testing.T) {
		s, c := supervise(t, shortDir(t), nil)
		test(t, place{client: c, restart: func() {
			n := s.Status().Restarts
			kill(t, s, syscall.SIGKILL)
			wait(t, "the restart", func() bool { st := s.Status(); return st.Restarts > n && st.Running })
		}})
	})
	t.Run("server", func(t *testing.T) {
		s := peers.VictoriaLogs(t, "-delete.enable", "-retentionPeriod=100d")
		test(t, place{client: NewClient(s.URL, "", ""), restart: func() {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}})
	})
}

func kill(t testing.TB, s *Supervisor, sig syscall.Signal) {
	t.Helper()
	if pid := s.Status().Pid; pid == 0 || syscall.Kill(pid, sig) != nil {
		t.Fatal("there is no process")
	}
}

func insert(t testing.TB, c *Client, events ...event.Event) {
	t.Helper()
	if err := c.Insert(context.Background(), lines(t, events...)); err != nil {
		t.Fatal(err)
	}
}

// count waits until a query finds n events.
func count(t testing.TB, c *Client, query string, n int) []event.Event {
	t.Helper()
	var found []event.Event
	var err error
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s found %d at last, wanted %d", query, len(found), n)
		}
	})
	wait(t, fmt.Sprintf("%d events of %s", n, query), func() bool {
		found, err = find(c, query)
		if err != nil {
			t.Fatal(err)
		}
		return len(found) == n
	})
	return found
}

// TestAllFieldsComeBack: what was stored is what is found, to the nanosecond.
func TestAllFieldsComeBack(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		e := full()
		bare := event.Event{Time: e.Time.Add(1), Node: "bare", Kind: event.Close}
		mixed := event.Event{Time: e.Time.Add(2), Node: "mixed", Kind: event.Edge, Queue: 1<<63 - 1, Count: -1 << 63, Score: 1e-7,
			IP: netip.MustParseAddr("192.0.2.1"), From: "<>", Text: " two  blanks\nand a line ", Subject: "1.50", Host: "007", Query: "-0"}
		insert(t, p.client, e, bare, mixed)
		for _, want := range []event.Event{e, bare, mixed} {
			got := count(t, p.client, `_time:`+want.Time.Format(time.RFC3339Nano)+` *`, 1)
			if got[0] != want {
				t.Errorf("got  %+v\nwant %+v", got[0], want)
			}
		}
	})
}

// TestQueries finds by the sorts of filters that searches are made of.
func TestQueries(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		now := time.Now().UTC().Add(-time.Minute)
		for i, subject := range []string{"Invoice of March", "invoices", "Re: the INVOICE", "nothing", ""} {
			insert(t, p.client, event.Event{Time: now.Add(time.Duration(i)), Node: "a", Kind: event.Accept, Trace: mail.TraceID(fmt.Sprint("t", i)),
				From: fmt.Sprintf("<ann%d@example.test>", i), Subject: subject, Code: 250 + i})
		}
		insert(t, p.client, event.Event{Time: now.Add(9), Node: "b", Kind: event.Connect, IP: netip.MustParseAddr("192.0.2.77"), Text: "hello there"})
		count(t, p.client, "*", 6)
		for query, n := range map[string]int{
			`trace:="t1"`:                   1,
			`subject:i("invoice")`:          2,
			`subject:"of March"`:            1,
			`subject:i("inv"*)`:             3,
			`subject:*voic*`:                2,
			`subject:~"(?i)voic"`:           3,
			`from:="<ann3@example.test>"`:   1,
			`{kind="accept",node="a"}`:      5,
			`kind:="connect"`:               1,
			`ip:ipv4_range("192.0.2.0/24")`: 1,
			`code:>252`:                     2,
			`hello`:                         1,
			`subject:""`:                    2,
			`host:*`:                        0,
		} {
			found, err := find(p.client, query)
			if err != nil || len(found) != n {
				t.Errorf("%s: found %d, want %d, %v", query, len(found), n, err)
			}
		}
		newest := 0
		err := p.client.Select(context.Background(), "*", Span{From: now.Add(1), To: now.Add(3)}, 2, func(e event.Event) error {
			if e.Time.Before(now.Add(1)) || !e.Time.Before(now.Add(4)) {
				t.Errorf("found %v outside the span", e.Time)
			}
			newest++
			return nil
		})
		if err != nil || newest != 2 {
			t.Errorf("%d events within limit and span, %v", newest, err)
		}
		rows := 0
		err = p.client.Rows(context.Background(), "* | stats by (kind) count() n", Span{}, 0, func(row map[string]string) error {
			rows++
			if row["kind"] == "accept" && row["n"] != "5" {
				t.Errorf("counted %v", row)
			}
			return nil
		})
		if err != nil || rows != 2 {
			t.Errorf("%d rows of counts, %v", rows, err)
		}
		if _, err := find(p.client, "subject:("); err == nil {
			t.Error("a broken query is no error")
		}
	})
}

// TestDuplicatesAreKept: the store keeps each line; readers drop equal ones.
func TestDuplicatesAreKept(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		e := event.Event{Time: time.Now().UTC(), Node: "a", Kind: event.Close, Trace: "x"}
		insert(t, p.client, e)
		insert(t, p.client, e)
		if got := count(t, p.client, `trace:="x"`, 2); got[0] != got[1] {
			t.Error("the two differ")
		}
	})
}

func TestTail(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		found := make(chan event.Event, 100)
		ended := make(chan error, 1)
		go func() {
			ended <- p.client.Tail(ctx, `kind:="accept"`, func(e event.Event) error {
				found <- e
				return nil
			})
		}()
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case e := <-found:
				if e.Kind != event.Accept || e.Text == "" {
					t.Errorf("tailed %+v", e)
				}
				cancel()
				if err := <-ended; err == nil {
					t.Error("no error of the end of ctx")
				}
				return
			case <-tick.C:
				now := time.Now().UTC()
				insert(t, p.client, event.Event{Time: now, Node: "a", Kind: event.Accept, Text: fmt.Sprint(n)}, event.Event{Time: now, Node: "a", Kind: event.Close})
			case err := <-ended:
				t.Fatal("ended: ", err)
			}
		}
	})
}

func TestDelete(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		now := time.Now().UTC()
		insert(t, p.client, event.Event{Time: now, Node: "a", Kind: event.Accept}, event.Event{Time: now.Add(1), Node: "a", Kind: event.Close})
		count(t, p.client, "*", 2)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := p.client.Delete(ctx, `kind:="close"`); err != nil {
			t.Fatal(err)
		}
		if got := count(t, p.client, "*", 1); got[0].Kind != event.Accept {
			t.Errorf("left: %+v", got)
		}
		if err := p.client.Delete(ctx, `kind:=(`); err == nil {
			t.Error("a broken filter is no error")
		}
	})
}

// TestRestart: what the store had for two flush intervals is there after
// SIGKILL, and Started tells of the restart.
func TestRestart(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		ctx := context.Background()
		before, err := p.client.Started(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			insert(t, p.client, event.Event{Time: time.Now().UTC(), Node: "a", Kind: event.Accept, Queue: int64(i) + 1})
		}
		count(t, p.client, "*", 100)
		time.Sleep(2 * FlushInterval) // the promise is one of time
		if again, err := p.client.Started(ctx); err != nil || again != before {
			t.Errorf("started %s, then %s without a restart: %v", before, again, err)
		}
		p.restart()
		if after, err := p.client.Started(ctx); err != nil || after == before {
			t.Errorf("the restart cannot be seen: %s, %v", after, err)
		}
		count(t, p.client, "*", 100)
		usage, err := p.client.Usage(ctx)
		if err != nil || usage.Rows != 100 || usage.Disk == 0 || usage.Free == 0 || usage.Memory == 0 || usage.Full {
			t.Errorf("%+v, %v", usage, err)
		}
	})
}

// TestDroppedLinesAreCounted: an insert succeeds though lines of it are not
// stored; Usage tells.
func TestDroppedLinesAreCounted(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		now := time.Now().UTC()
		insert(t, p.client,
			event.Event{Time: now.AddDate(-1, 0, 0), Node: "a", Kind: event.Accept},
			event.Event{Time: now.AddDate(1, 0, 0), Node: "a", Kind: event.Accept},
			event.Event{Time: now, Node: "a", Kind: event.Accept},
			event.Event{Time: now, Node: "a", Kind: event.Accept, Text: strings.Repeat("x", MaxLine-1000)})
		count(t, p.client, "*", 2)
		wait(t, "the count of dropped lines", func() bool {
			u, err := p.client.Usage(context.Background())
			return err == nil && u.Dropped == 2
		})
	})
}
