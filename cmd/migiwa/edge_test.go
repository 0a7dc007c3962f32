package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
)

// edgeNode makes an installation whose edge has seen a guesser, 192.0.2.7, and
// whose journal tells of it.
func edgeNode(t *testing.T) (config, data string, e *edge.Engine) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	config = filepath.Join(dir, "migiwa.toml")
	if out, errs, status := command(t, config, "quickstart", "--dir", dir, "--domain", "example.test"); status != 0 {
		t.Fatal(out, errs)
	}
	data = filepath.Join(dir, "data")
	e, err := edge.New(edge.DefaultRules(), edge.Sizes{Sources: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	events, err := event.Open(event.Options{Dir: filepath.Join(data, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	now := time.Now()
	for i := range 12 {
		ev := event.Event{Time: now, Kind: event.Rcpt, Role: "mx", IP: netip.MustParseAddr("192.0.2.7"), Port: 1025, From: "<a@bad.test>", To: fmt.Sprintf("guess%d@example.test", i),
			Name: "-", SPF: "pass", Identity: "bad.test", Truth: "unknown", Verdict: "defer", Ref: fmt.Sprintf("abcde%x", i)}
		a, ok := e.Recorded(&ev)
		if !ok {
			t.Fatal("not an attempt")
		}
		d := e.Decide(&a)
		e.Learn(&a, &d, edge.Unknown)
		ev.Why = d.Why.String()
		if !d.Defer {
			ev.Verdict, ev.Ref = "answer", ""
		}
		events.Record(ev)
	}
	return config, data, e
}

func TestEdgeCommands(t *testing.T) {
	config, data, e := edgeNode(t)
	check := func(status int, want []string, args ...string) {
		t.Helper()
		out, errs, got := command(t, config, args...)
		if got != status {
			t.Errorf("migiwa %s: exit status %d, want %d: %s%s", args, got, status, out, errs)
		}
		for _, w := range want {
			if !strings.Contains(out+errs, w) {
				t.Errorf("migiwa %s: no %q in\n%s%s", args, w, out, errs)
			}
		}
	}
	check(1, []string{"nothing is known of clients yet"}, "edge", "show", "192.0.2.7")
	if err := e.SaveFile(filepath.Join(data, edge.StrangersName), edge.Time(time.Now().Unix())); err != nil {
		t.Fatal(err)
	}
	check(0, []string{"nothing serves here: as it was", "defer: penalty of the s", "unknown recipients in", "of 192.0.2.0/24 in 24 h",
		"to guess11@example.test: defer, ", "name -, SPF pass", "bad.test: evidence"}, "edge", "show", "192.0.2.7")
	check(0, []string{"answer: nothing speaks against it", "never seen"}, "edge", "show", "2001:db8::1")
	check(0, []string{"bad.test: evidence"}, "edge", "show", "bad.test")
	check(0, []string{"to guess11@example.test"}, "edge", "show", "ABCDEB")
	check(1, []string{"no attempt with ref zzzzzz"}, "edge", "show", "zzzzzz")
	check(1, []string{"neither an address"}, "edge", "show", "bad..test")
	check(0, []string{"192.0.2.7/32", "bad.test", "192.0.2.0/24", "PENALTY ENDS"}, "edge", "top")
	check(2, []string{"--limit"}, "edge", "top", "--limit=0")
	check(0, []string{"calm, nothing serves", "deferred, penalty", "memory, sources"}, "edge", "status")
	check(1, []string{"neither an address"}, "edge", "forgive", "bad..test")
	check(0, []string{"192.0.2.7 is forgiven (entries: 1)"}, "edge", "forgive", "192.0.2.7")
	check(0, []string{"nothing is held against 192.0.2.7"}, "edge", "forgive", "192.0.2.7")
	check(0, []string{"bad.test is forgiven"}, "edge", "forgive", "bad.test")
	check(0, []string{"answer: nothing speaks against it"}, "edge", "show", "192.0.2.7")
	text := eventtest.Text(t, filepath.Join(data, "journal"))
	if !strings.Contains(text, `"verb":"edge forgive","reason":"\"192.0.2.7\", 1 entries"`) {
		t.Errorf("the journal does not tell of it:\n%s", text)
	}
}

// TestEdgeCommandsAskTheServingProcess: what is shown is what it knows now.
func TestEdgeCommandsAskTheServingProcess(t *testing.T) {
	config, data, e := edgeNode(t)
	b, err := bus.Open(filepath.Join(data, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	keeper := &edge.Keeper{Engine: e, Clock: edge.NewClock(1, 0), Path: filepath.Join(data, edge.StrangersName), Bus: b}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { keeper.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	var shown struct {
		Live, Unsaid bool
		Verdict, Why string
		Recorded     struct{ To string }
	}
	show := func() {
		out, errs, status := command(t, config, "edge", "show", "192.0.2.7", "--json")
		if status != 0 || json.Unmarshal([]byte(out), &shown) != nil {
			t.Fatal(status, out, errs)
		}
	}
	if show(); !shown.Live || shown.Verdict != "defer" || shown.Recorded.To != "guess11@example.test" {
		t.Errorf("shown %+v", shown)
	}
	for _, who := range []string{"192.0.2.7", "bad.test"} {
		if out, errs, status := command(t, config, "edge", "forgive", who); status != 0 || !strings.Contains(out, "is forgiven") {
			t.Error(out, errs, status)
		}
	}
	if show(); !shown.Live || shown.Verdict != "answer" {
		t.Errorf("shown %+v", shown)
	}
	a := edge.Attempt{Source: edge.SourceOf(netip.MustParseAddr("192.0.2.7"))}
	if x := e.Explain(keeper.Clock, &a); x.OfSource != nil {
		t.Errorf("the serving process has not forgiven: %+v", x.OfSource)
	}
	for _, args := range [][]string{{"edge", "top", "--json"}, {"edge", "status", "--json"}, {"edge", "forgive", "192.0.2.7", "--json"}} {
		if out, errs, status := command(t, config, args...); status != 0 || !json.Valid([]byte(out)) {
			t.Errorf("migiwa %s: %d, not JSON: %s%s", args, status, out, errs)
		}
	}
}

func TestEdgeReplayCommand(t *testing.T) {
	config, data, _ := edgeNode(t)
	files, err := filepath.Glob(filepath.Join(data, "journal", "sessions-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	journal := files[0]
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"edge replay " + journal, 0, "guesses of 1 attackers, answered"},
		{"edge replay " + journal + " --set strict=true --set disclosure=300", 0, "No sender was delayed"},
		{"edge replay " + journal + " --set nonsense=1", 2, "no rule \"nonsense\"; there are honest, guesser"},
		{"edge replay " + journal + " --set disclosure=-1", 2, "no number from 0"},
		{"edge replay " + journal + ".none", 2, "no such file"},
		{"edge replay", 2, "expected"},
	} {
		out, errs, status := command(t, config, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("migiwa %s: exit status %d, want %d and %q in\n%s%s", c.args, status, c.status, c.says, out, errs)
		}
	}
	// Without a configuration, too: logs can be looked at elsewhere.
	out, errs, status := command(t, config+".none", "edge", "replay", journal, "--json", "--set", "strict=true")
	var report struct {
		Set       map[string]string
		Events    int
		Attackers struct{ Sources, Attempts int }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || report.Events != 12 || report.Attackers.Sources != 1 ||
		report.Attackers.Attempts != 12 || report.Set["strict"] != "true" {
		t.Errorf("%d %v: %s%s", status, err, out, errs)
	}
}
