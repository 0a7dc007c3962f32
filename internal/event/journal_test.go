package event

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// read gives the events of all journal files, the oldest file of each shelf
// first, and the number of lines that are none.
func read(t *testing.T, dir string) (events []Event, torn int) {
	t.Helper()
	segments, err := Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		f, err := OpenFile(s.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(f)
		these, err := readAll(r)
		f.Close()
		if err != nil {
			t.Fatal(s.Name, err)
		}
		events, torn = append(events, these...), torn+r.Torn
	}
	return events, torn
}

func TestJournalKeepsEverythingAcrossFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, err := Open(Options{Dir: dir, Node: "n1", Limits: &Limits{File: 10_000}})
		if err != nil {
			t.Fatal(err)
		}
		other, err := Open(Options{Dir: dir, Node: "n1 cli"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			r.Record(Event{Kind: Rcpt, To: "a@example.jp", Count: int64(i)})
			other.Record(Event{Kind: Admin, Verb: "test"})
			if i%100 == 0 {
				time.Sleep(1100 * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		r.Close()
		other.Close()
		events, torn := read(t, dir)
		if len(events) != 2000 || torn != 0 {
			t.Errorf("%d events, %d torn lines; want 2000, 0", len(events), torn)
		}
		if names, _ := filepath.Glob(dir + "/sessions-*.zst"); len(names) < 2 {
			t.Errorf("%d compressed files of sessions", len(names))
		}
		if names, _ := filepath.Glob(dir + "/sessions-*.jsonl"); len(names) != 1 {
			t.Errorf("%d plain files of sessions: want the one that grows", len(names))
		}
		if r.Written() != 1000 || r.Dropped() != 0 {
			t.Errorf("written %d, dropped %d", r.Written(), r.Dropped())
		}
		r.Record(Event{Kind: Rcpt})
		if r.Dropped() != 1 {
			t.Error("an event after Close is not counted")
		}
	})
}

func TestTornLineIsClosed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/messages-20260102T030405.000000000Z.jsonl", []byte(goodLine+"{\"kind\":\"acc"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r.Record(Event{Kind: Accept})
	r.Close()
	events, torn := read(t, dir)
	if len(events) != 2 || torn != 1 || events[1].Kind != Accept {
		t.Errorf("%v, %d torn", events, torn)
	}
}

func TestFieldNamesAreStable(t *testing.T) {
	b, err := json.Marshal(Event{Kind: Rcpt, To: "a@b.test", Code: 550, MessageID: "x@y",
		Verdict: "defer", Why: "gate", Truth: "unknown", Ref: "abc234", Name: "-", SPF: "none", Identity: "b.test at 192.0.2.1",
		Score: 1.5, Evidence: "words"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"kind":"rcpt"`, `"to":"a@b.test"`, `"code":550`, `"message_id":"x@y"`, `"time":`,
		`"verdict":"defer"`, `"why":"gate"`, `"truth":"unknown"`, `"ref":"abc234"`, `"name":"-"`, `"spf":"none"`,
		`"identity":"b.test at 192.0.2.1"`, `"score":1.5`, `"evidence":"words"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
	if strings.Contains(string(b), `"from"`) {
		t.Errorf("empty fields are written: %s", b)
	}
}

func TestEventsAreLoggedAtDebug(t *testing.T) {
	var out strings.Builder
	level := &slog.LevelVar{}
	r, err := Open(Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))})
	if err != nil {
		t.Fatal(err)
	}
	r.tell(&Event{Kind: Rcpt, To: "quiet@b.test"})
	level.Set(slog.LevelDebug)
	r.tell(&Event{Kind: Rcpt, Trace: "abc", To: "loud@b.test", Code: 550})
	r.Close()
	if s := out.String(); strings.Contains(s, "quiet") || !strings.Contains(s, "msg=rcpt trace=abc event.to=loud@b.test event.code=550") {
		t.Errorf("logged %q", s)
	}
}

// TestJournalLeavesRoomForMail: it drops events while there is no room for
// them, and says so once there is.
func TestJournalLeavesRoomForMail(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		var told atomic.Int64
		r, err := Open(Options{Dir: dir, Node: "a", Full: full.Load, OnError: func(error) { told.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			r.Record(Event{Kind: Connect})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if r.Written() != 0 || r.Dropped() != 10 || told.Load() != 1 {
			t.Errorf("written %d, dropped %d, told %d times", r.Written(), r.Dropped(), told.Load())
		}
		full.Store(false)
		time.Sleep(2 * time.Second)
		r.Record(Event{Kind: Close})
		r.Close()
	})
	events, torn := read(t, dir)
	if len(events) != 2 || torn != 0 || events[0].Kind != Fault || events[0].Count != 10 || events[1].Kind != Close {
		t.Errorf("%d torn lines, events %+v", torn, events)
	}
}
