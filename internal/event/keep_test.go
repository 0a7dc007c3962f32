package event

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shelve writes a segment of a shelf that was begun and last written so long
// ago, with an event of each kind from its beginning.
func shelve(t *testing.T, dir string, shelf Shelf, age time.Duration, kinds ...Kind) Segment {
	t.Helper()
	begun := time.Now().Add(-age)
	s := newSegment(shelf, begun)
	var text strings.Builder
	for _, k := range kinds {
		fmt.Fprintf(&text, `{"time":%q,"kind":%q}`+"\n", begun.Add(time.Second).UTC().Format(time.RFC3339Nano), k)
	}
	if err := os.WriteFile(s.Path(dir), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.rewrite(dir, nil); err != nil {
		t.Fatal(err)
	}
	s.Compressed = true
	if err := os.Chtimes(s.Path(dir), begun, begun); err != nil {
		t.Fatal(err)
	}
	return s
}

const day = 24 * time.Hour

func keeper(t *testing.T, l *Limits) *Recorder {
	t.Helper()
	r, err := Open(Options{Dir: t.TempDir(), Node: "n", Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// kindsLeft closes r and counts what its journal has, by kind.
func kindsLeft(t *testing.T, r *Recorder) map[Kind]int {
	t.Helper()
	r.Close()
	events, torn := read(t, r.opts.Dir)
	if torn > 0 {
		t.Errorf("%d torn lines", torn)
	}
	left := map[Kind]int{}
	for _, e := range events {
		left[e.Kind]++
	}
	return left
}

func tidyUp(t *testing.T, r *Recorder) {
	t.Helper()
	if err := r.tidyUp(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestKindsAreKeptAsLongAsEachMay(t *testing.T) {
	r := keeper(t, &Limits{Keep: map[Kind]time.Duration{Connect: 10 * day, Rcpt: 30 * day, Close: 30 * day, Refuse: 30 * day, Edge: 30 * day,
		Login: 30 * day, Retrieve: 30 * day}})
	dir := r.opts.Dir
	shelve(t, dir, Sessions, 50*day, Connect, Rcpt)
	shelve(t, dir, Sessions, 20*day, Connect, Connect, Rcpt) // until then the first one lasted: less than 30 days
	shelve(t, dir, Sessions, 5*day, Connect, Rcpt)
	shelve(t, dir, Messages, 500*day, Accept) // no limit is set for it
	shelve(t, dir, Messages, 400*day, Accept)
	tidyUp(t, r)
	tidyUp(t, r) // finds nothing more to do
	left := kindsLeft(t, r)
	// Of the oldest both go, of the second one connect; the third is as it was.
	if left[Connect] != 1 || left[Rcpt] != 2 || left[Accept] != 2 || left[Expire] != 2 {
		t.Errorf("left: %v", left)
	}
}

func TestSegmentsOverTheirTimeAreDeleted(t *testing.T) {
	keep := map[Kind]time.Duration{}
	for _, k := range Kinds {
		keep[k.Kind] = 30 * day
	}
	r := keeper(t, &Limits{Keep: keep})
	shelve(t, r.opts.Dir, Messages, 100*day, Accept, Stored, Stored)
	shelve(t, r.opts.Dir, Messages, 50*day, Accept)
	shelve(t, r.opts.Dir, Messages, 10*day, Accept)
	shelved := false
	r.SetShipped(func(string) bool { return shelved })
	tidyUp(t, r)
	shelved = true
	tidyUp(t, r)
	r.Close()
	events, _ := read(t, r.opts.Dir)
	var told []int64
	accepts := 0
	for _, e := range events {
		switch e.Kind {
		case Expire:
			told = append(told, e.Count)
		case Accept:
			accepts++
		}
	}
	// The first segment ended 50 days ago and goes; the second ended 10 days ago.
	if accepts != 1 || len(told) != 2 {
		t.Errorf("%d accepts left, deletions told: %v", accepts, told)
	}
}

func TestShelvesAreBoundedAlone(t *testing.T) {
	r := keeper(t, &Limits{Shelf: map[Shelf]int64{Sessions: 100}})
	r.SetShipped(func(segment string) bool {
		return !strings.Contains(segment, newSegment(Sessions, time.Now().Add(-3*day)).Name[:17])
	})
	for age := 5; age > 0; age-- {
		shelve(t, r.opts.Dir, Sessions, time.Duration(age)*day, Connect, Connect)
		shelve(t, r.opts.Dir, Audit, time.Duration(age)*day, Admin)
	}
	tidyUp(t, r)
	left := kindsLeft(t, r)
	if left[Connect] != 2 || left[Admin] != 5 || left[Expire] != 3 || left[Fault] != 1 {
		t.Errorf("left: %v; want the newest of sessions, all of audit, and what was lost told as a fault", left)
	}
}

func TestWhoWritesIsNotCompressed(t *testing.T) {
	r := keeper(t, &Limits{})
	other, err := Open(Options{Dir: r.opts.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s, err := newestSegment(r.opts.Dir, Audit)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := s.rewrite(r.opts.Dir, nil); done || err != nil {
		t.Errorf("compressed while two write to it: %v, %v", done, err)
	}
}

func TestWhatACrashLeftIsTidied(t *testing.T) {
	r := keeper(t, &Limits{})
	dir := r.opts.Dir
	s := shelve(t, dir, Audit, day, Admin, Admin)
	if err := os.WriteFile(filepath.Join(dir, s.Name), []byte(goodLine), 0o600); err != nil { // not removed after its compression
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, s.Name+".zst.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if events, _ := read(t, dir); len(events) != 2 {
		t.Errorf("%d events, want those of the compressed file alone", len(events))
	}
	removeUnfinished(dir)
	tidyUp(t, r)
	for _, name := range []string{s.Name, s.Name + ".zst.new"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Error(name, "is still there")
		}
	}
}

func TestDamagedSegmentStopsNobody(t *testing.T) {
	r := keeper(t, &Limits{Keep: map[Kind]time.Duration{Admin: time.Hour}})
	dir := r.opts.Dir
	s := shelve(t, dir, Audit, 3*day, Admin)
	if err := os.WriteFile(s.Path(dir), []byte("no zstd at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(s.Path(dir), time.Now().Add(-3*day), time.Now().Add(-3*day)); err != nil {
		t.Fatal(err)
	}
	good := shelve(t, dir, Audit, 2*day, Admin)
	if err := r.tidyUp(context.Background(), time.Now()); err == nil {
		t.Error("nobody is told of the damaged file")
	}
	f, err := OpenFile(good.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if events, err := readAll(NewReader(f)); err != nil || len(events) != 0 {
		t.Errorf("the good one behind it was not tidied: %v, %v", events, err)
	}
}
