package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
)

// serving starts a keeper in dir and gives it, with what stops it.
func serving(t *testing.T, dir string, e *Engine) (*Keeper, func()) {
	t.Helper()
	b, err := bus.Open(filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	events, err := event.Open(event.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	k := &Keeper{Engine: e, Clock: startAt(future), Path: filepath.Join(dir, StrangersName), Bus: b, Events: events}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()
	return k, func() { cancel(); <-done; b.Close(); events.Close() }
}

func desk(t *testing.T, dir string) *Desk {
	b, err := bus.Open(filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return &Desk{Path: filepath.Join(dir, StrangersName), Bus: b, Rules: DefaultRules(), Scale: 1}
}

func journal(t *testing.T, dir string) string {
	t.Helper()
	return eventtest.Text(t, filepath.Join(dir, "journal"))
}

func TestCommandsReachTheServingProcess(t *testing.T) {
	dir := t.TempDir()
	e := newTest(t, Sizes{Sources: 4096})
	for i := range 20 {
		try(e, future, "192.0.2.7", fmt.Sprint("guess", i), Unknown)
		try(e, future, "192.0.2.8", fmt.Sprint("guess", i), Unknown)
	}
	k, stop := serving(t, dir, e)
	d := desk(t, dir)
	why := func(live bool, ip string) string {
		t.Helper()
		v, err := d.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if v.Live != live || time.Since(v.Written) > time.Minute || v.sizes != e.sizes {
			t.Errorf("live %v, written %v, sizes %+v", v.Live, v.Written, v.sizes)
		}
		a := attemptBy(v.Engine, future, ip, "x")
		return v.Explain(v.Clock, &a).Why
	}
	if got := why(true, "192.0.2.7"); got != "penalty" {
		t.Errorf("shown as %s", got)
	}
	if n, err := d.Forgive(t.Context(), "192.0.2.7"); n != 1 || err != nil {
		t.Errorf("forgave %d, %v", n, err)
	}
	if _, err := d.Forgive(t.Context(), "no such thing"); err == nil {
		t.Error("nonsense was forgiven")
	}
	if _, known := e.sources.peek(attemptBy(e, 0, "192.0.2.7", "").Source.key); known {
		t.Error("the serving process has not forgiven")
	}
	if k.Saved().IsZero() {
		t.Error("no snapshot is told of")
	}
	try(e, future, "192.0.2.9", "late", Exists)
	stop()
	// Nothing serves now: the last snapshot has what was known at the end.
	if got := why(false, "192.0.2.8"); got != "penalty" {
		t.Errorf("shown as %s", got)
	}
	for _, ip := range []string{"192.0.2.8", "192.0.2.9"} {
		if n, err := d.Forgive(t.Context(), ip); n != 1 || err != nil {
			t.Errorf("forgave %d of %s, %v", n, ip, err)
		}
	}
	if got := why(false, "192.0.2.8"); got == "penalty" {
		t.Error("the snapshot has not changed")
	}
}

func TestNothingToLookAt(t *testing.T) {
	if _, err := desk(t, t.TempDir()).View(t.Context()); !errors.Is(err, ErrNoMemory) {
		t.Errorf("got %v", err)
	}
}

func TestDamagedSnapshotIsAnEventAndAnEmptyStart(t *testing.T) {
	dir := t.TempDir()
	e := newTest(t, Sizes{Sources: 4096})
	path := filepath.Join(dir, StrangersName)
	if err := e.SaveFile(path, future); err != nil {
		t.Fatal(err)
	}
	events, err := event.Open(event.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	if newest := Recover(e, path, events); newest != future {
		t.Errorf("a good one: %d", newest)
	}
	if err := os.Truncate(path, 60); err != nil {
		t.Fatal(err)
	}
	if newest := Recover(e, path, events); newest != 0 {
		t.Errorf("a damaged one: %d", newest)
	}
	Recover(e, path+".none", events)
	events.Close()
	if text := journal(t, dir); strings.Count(text, "\n") != 1 || !strings.Contains(text, "cut short; the edge starts without memory") {
		t.Errorf("journal: %s", text)
	}
}

func TestWeatherIsAnEvent(t *testing.T) {
	dir := t.TempDir()
	e := attacked(t)
	e.weather.copy(&weather{})
	k, stop := serving(t, dir, e)
	k.observe()
	stop()
	if text := journal(t, dir); !strings.Contains(text, `"kind":"edge"`) || !strings.Contains(text, `"verb":"alert"`) ||
		!strings.Contains(text, "of sources without a history lately met unknown recipients") {
		t.Errorf("journal: %s", text)
	}
}
