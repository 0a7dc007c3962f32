package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// edgeReport is what this test reads of bench/edgebox's report.
type edgeReport struct {
	Guesses struct {
		Guesses  int
		Answered float64 `json:"answered_share"`
		Texts    []struct {
			Text           string
			Unknown, Valid int
		} `json:"deferral_texts"`
		Timing struct {
			D, Critical    float64
			Unknown, Valid int
		} `json:"deferral_timing"`
	}
	Honest []struct {
		Kind, Phase                            string
		Messages, Delayed, Lost, Unknown, Told int
	}
	Findings []string
}

// TestEdgeFromOutside lets a small botnet guess among honest senders for one
// scaled hour, and judges what it learned as it would itself. The honest ones are
// known by then: a source is after two hours.
func TestEdgeFromOutside(t *testing.T) {
	t.Parallel()
	r := playEdge(t, "-scale", "200", "-bots", "300", "-rate", "8", "-hits", "0.15",
		"-warmup", "2.6", "-peace", "0.1", "-attack", "1.2", "-recovery", "0.05")
	g := r.Guesses
	if g.Guesses < 2000 || g.Timing.Valid < 300 || g.Timing.Unknown < 2000 {
		t.Fatalf("too little was played: %+v", g)
	}
	if g.Answered > 0.15 {
		t.Errorf("%.1f %% of the guesses were answered", 100*g.Answered)
	}
	for _, f := range r.Findings {
		t.Error(f)
	}
	for _, text := range g.Texts {
		if strings.HasPrefix(text.Text, "451 4.7.1 ") && (text.Unknown == 0 || text.Valid == 0) {
			t.Errorf("a deferral that came on one side only: %+v", text)
		}
	}
	if g.Timing.D > 1.5*g.Timing.Critical {
		t.Errorf("deferrals of valid recipients come at other times: %+v", g.Timing)
	}
	for _, s := range r.Honest {
		if s.Lost > 0 {
			t.Errorf("honest mail was lost: %+v", s)
		}
		if s.Kind != "first seen" && (s.Delayed > s.Messages/20 || s.Told < s.Unknown-s.Delayed) {
			t.Errorf("known senders were deferred or not told: %+v", s)
		}
	}
}

// playEdge runs bench/edgebox against migiwa.
func playEdge(t *testing.T, args ...string) (r edgeReport) {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(t.TempDir(), "edgebox")
	if out, err := exec.Command("go", "build", "-o", box, "../../bench/edgebox").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(box, append([]string{"-migiwa", bin, "-json"}, args...)...)
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("edgebox: %v\n%s", err, &told)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}
