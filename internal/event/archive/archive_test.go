package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
	"github.com/migiwa/migiwa/internal/event/query"
)

func TestMain(m *testing.M) { logstoretest.Main(m) }

var ctx = context.Background()

// filled gives an archive of n events of the last n seconds: a store that has
// each third event twice, and a journal with the same.
func filled(t *testing.T, n int) (*Archive, *logstore.Supervisor) {
	t.Helper()
	dir := logstoretest.Dir(t)
	s := logstoretest.New(t, dir, nil)
	logstoretest.Run(t, s)
	r, err := event.Open(event.Options{Dir: filepath.Join(dir, "journal"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var lines strings.Builder
	for i := range n {
		e := event.Event{Time: now.Add(-time.Duration(n-i) * time.Second).UTC(), Node: "n1", Kind: []event.Kind{event.Rcpt, event.Accept, event.Admin}[i%3],
			IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 5)}), Count: int64(i + 1), From: "<taro@example.jp>"}
		r.Record(e)
		for range 1 + (i % 3 / 2) {
			if err := json.NewEncoder(&lines).Encode(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Client().Insert(ctx, []byte(lines.String())); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	a := &Archive{Client: s.Client(), Journal: r.Dir()}
	logstoretest.Eventually(t, "the store finds all", func() bool {
		_, res, err := a.newest(ctx, parse(t, ""), 100_000)
		return err == nil && res.Journal == nil && !res.More && counted(t, a, "") == n
	})
	return a, s
}

func parse(t *testing.T, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func counted(t *testing.T, a *Archive, text string) int {
	t.Helper()
	r, err := a.Find(ctx, parse(t, text), 0, func(event.Event) error { return nil })
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return r.Hits
}

func found(t *testing.T, a *Archive, text string, limit int) (numbers []int64, r Result) {
	t.Helper()
	r, err := a.Find(ctx, parse(t, text), limit, func(e event.Event) error {
		numbers = append(numbers, e.Count)
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return numbers, r
}

func TestStoreAndJournalGiveTheSame(t *testing.T) {
	a, s := filled(t, 300)
	away := &Archive{Client: logstore.NewSocketClient(s.Socket + ".none"), Journal: a.Journal}
	none := &Archive{Journal: a.Journal}
	for _, text := range []string{"", "kind:rcpt", "kind:admin", "ip:192.0.2.1", "since:100s", "until:100s", "since:200s until:100s kind:accept", "from:taro count:7", "nothing"} {
		for _, limit := range []int{0, 1, 7, 1000} {
			want, stored := found(t, a, text, limit)
			if stored.Journal != nil {
				t.Fatal(stored.Journal)
			}
			for _, other := range []*Archive{away, none} {
				got, r := found(t, other, text, limit)
				if r.Journal == nil {
					t.Error("nobody is told that only the journal was read")
				}
				// Seconds go by between the two.
				if !slices.Equal(got, want) && !strings.Contains(text, "s") || len(got) > len(want)+2 || len(want) > len(got)+2 || r.More != stored.More && limit != 0 && len(want) != limit {
					t.Errorf("%q, limit %d: the store gives %v, the journal %v", text, limit, want, got)
				}
			}
		}
	}
	wantTop, _, err := a.Top(ctx, parse(t, "kind:rcpt"), "ip", 3)
	if err != nil || len(wantTop) != 3 || wantTop[0].Count != 20 {
		t.Errorf("top %v, %v", wantTop, err)
	}
	if top, _, err := none.Top(ctx, parse(t, "kind:rcpt"), "ip", 3); err != nil || !slices.Equal(top, wantTop) {
		t.Errorf("top of the journal %v, of the store %v, %v", top, wantTop, err)
	}
	if _, err := away.Find(ctx, parse(t, "logsql:kind:=rcpt"), 1, nil); !errors.Is(err, ErrRaw) {
		t.Errorf("LogsQL of a journal: %v", err)
	}
	if n, _ := found(t, a, "logsql:count:=5", 0); len(n) != 1 {
		t.Errorf("LogsQL finds %v", n)
	}
}

func TestAllInOrder(t *testing.T) {
	a, _ := filled(t, 1000)
	for _, text := range []string{"", "since:30d", "kind:admin since:1h"} {
		var got []int64
		r, err := a.Each(ctx, parse(t, text), func(e event.Event) error {
			got = append(got, e.Count)
			return nil
		})
		if err != nil || r.Hits != len(got) || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%q: %d events, %v, not in order or twice", text, len(got), err)
		}
		want := 1000
		if strings.Contains(text, "admin") {
			want = 333
		}
		if len(got) != want {
			t.Errorf("%q: %d events, want %d", text, len(got), want)
		}
	}
	stop := errors.New("enough")
	if _, err := a.Each(ctx, parse(t, ""), func(event.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of the reader: %v", err)
	}
}

func TestDamagedJournalIsReadAround(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"audit-20260101T000000.000000000Z.jsonl.zst": "no zstd", "audit-20260102T000000.000000000Z.jsonl": fmt.Sprintf(`{"time":%q,"kind":"admin"}`+"\n{torn\n", time.Now().UTC().Format(time.RFC3339Nano)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, r := found(t, &Archive{Journal: dir}, "", 0)
	if len(n) != 1 || r.Torn != 2 {
		t.Errorf("%d events, %d torn", len(n), r.Torn)
	}
}

func TestFollow(t *testing.T) {
	a, s := filled(t, 10)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan int64, 100)
	go a.Follow(ctx, parse(t, "kind:login"), func(e event.Event) error {
		got <- e.Count
		return nil
	})
	time.Sleep(10 * time.Millisecond)
	for i := range int64(3) {
		line, _ := json.Marshal(event.Event{Time: time.Now().UTC(), Node: "n1", Kind: event.Login, Count: i + 1})
		for range 2 {
			if err := s.Client().Insert(ctx, line); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case n := <-got:
			if n != i+1 {
				t.Errorf("got %d, want %d", n, i+1)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing came")
		}
	}
}
