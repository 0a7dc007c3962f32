package logstore_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
	"github.com/migiwa/migiwa/internal/mail"
)

// place is a store that the conformance tests run against.
type place struct {
	client  *logstore.Client
	restart func() // with SIGKILL
}

// eachStore runs a test against the child process and against the real server.
func eachStore(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("child", func(t *testing.T) {
		s := logstoretest.New(t, logstoretest.Dir(t), nil)
		logstoretest.Run(t, s)
		test(t, place{client: s.Client(), restart: func() { killed(t, s) }})
	})
	t.Run("server", func(t *testing.T) {
		s := startServer(t)
		c := logstore.NewClient(s.url, "", "")
		s.await(t, c)
		test(t, place{client: c, restart: func() {
			s.kill()
			s.start(t)
			s.await(t, c)
		}})
	})
}

// killed kills the child with SIGKILL and waits for the next.
func killed(t *testing.T, s *logstore.Supervisor) {
	t.Helper()
	n := s.Restarts()
	kill(t, s, syscall.SIGKILL)
	logstoretest.Eventually(t, "another child", func() bool { return s.Restarts() > n && s.Running() })
}

// count waits until a query finds n events.
func count(t *testing.T, c *logstore.Client, query string, n int) (found []event.Event) {
	t.Helper()
	last := 0
	defer func() {
		if len(found) != n {
			t.Logf("%s found %d at last, wanted %d", query, last, n)
		}
	}()
	logstoretest.Eventually(t, fmt.Sprintf("%d events of %s", n, query), func() bool {
		found = everything(t, c, query)
		last = len(found)
		return last == n
	})
	return found
}

// everything gives the events of all times that a query finds.
func everything(t *testing.T, c *logstore.Client, query string) (found []event.Event) {
	t.Helper()
	if err := c.Select(ctx, query, logstore.Span{}, 0, func(e event.Event) error {
		found = append(found, e)
		return nil
	}); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return found
}

// TestAllFieldsComeBack: what was stored is what is found, to the nanosecond.
func TestAllFieldsComeBack(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		e := full()
		e.Text, e.Subject = " \"<ß\\\x01\U0001F30A=|*\x7f> : 1.0 ", "1.50"
		e.Time = e.Time.Truncate(time.Second).Add(-time.Hour + 123456789)
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
			`text:hello`:                    1,
			`subject:""`:                    2,
			`host:*`:                        0,
		} {
			if found := everything(t, p.client, query); len(found) != n {
				t.Errorf("%s: found %d, want %d", query, len(found), n)
			}
		}
		newest := 0
		err := p.client.Select(ctx, "*", logstore.Span{From: now.Add(1), To: now.Add(3)}, 2, func(e event.Event) error {
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
		err = p.client.Rows(ctx, "* | stats by (kind) count() n", logstore.Span{}, 0, func(row map[string]string) error {
			rows++
			if row["kind"] == "accept" && row["n"] != "5" {
				t.Errorf("counted %v", row)
			}
			return nil
		})
		if err != nil || rows != 2 {
			t.Errorf("%d rows of counts, %v", rows, err)
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
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
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
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
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

// TestRestart: what the store had for FlushTime is there after
// SIGKILL, and Started tells of the restart.
func TestRestart(t *testing.T) {
	eachStore(t, func(t *testing.T, p place) {
		before, err := p.client.Started(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			insert(t, p.client, event.Event{Time: time.Now().UTC(), Node: "a", Kind: event.Accept, Queue: int64(i) + 1})
		}
		count(t, p.client, "*", 100)
		time.Sleep(logstore.FlushTime) // the promise is one of time
		if again, err := p.client.Started(ctx); err != nil || again != before {
			t.Errorf("started %s, then %s without a restart: %v", before, again, err)
		}
		p.restart()
		if after, err := p.client.Started(ctx); err != nil || after == before {
			t.Errorf("the restart cannot be seen: %s, %v", after, err)
		}
		count(t, p.client, "*", 100)
		usage, err := p.client.Usage(ctx)
		if err != nil || usage.Rows != 100 || usage.Disk == 0 || usage.Free == 0 || usage.Memory == 0 || usage.ReadOnly {
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
			event.Event{Time: now, Node: "a", Kind: event.Accept, Text: strings.Repeat("x", logstore.MaxLine-1000)})
		count(t, p.client, "*", 2)
		logstoretest.Eventually(t, "the count of dropped lines", func() bool {
			u, err := p.client.Usage(ctx)
			return err == nil && u.Dropped == 2
		})
	})
}
