package main

import (
	"testing"

	"github.com/migiwa/migiwa/internal/edge"
)

// smallRun is a run of seconds: a tenth of the honest mail, 20,000 bots.
func smallRun() *options {
	o := &options{world: "a", defence: "engine", bots: 20_000, seed: 1, warm: 4, stop: 24, nodes: 1, dead: 1, honest: 0.1}
	o.attack = attack{rate: 1, retry: -1, named: -1, spf: -1}
	return o
}

func played(t *testing.T, o *options) *result {
	t.Helper()
	r, err := o.play(o.setting())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// limits are what a small run must keep to. A small attack is answered more, in
// proportion, than a large one, since each source gets its first answers.
type limits struct{ answered, found, delayed, peace, told, newcomers float64 }

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(*options)
		limits
	}{
		{"a third tries again", func(*options) {}, limits{0.2, 0.05, 1.5, 0.03, 99.5, 130}},
		{"mimics with names and SPF", strong, limits{2.5, 0.4, 1.5, 0.03, 99.5, 130}},
		{"camouflage", func(o *options) { o.attack.camouflage = 0.5 }, limits{2.5, 0.4, 1.5, 0.03, 99.5, 130}},
		{"old lists", func(o *options) { o.dead = 3 }, limits{0.2, 0.05, 1.5, 0.03, 99.5, 130}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := smallRun()
			c.alter(o)
			c.check(t, played(t, o))
		})
	}
}

func (l limits) check(t *testing.T, r *result) {
	t.Helper()
	attack, peace := r.total(underAttack), r.total(inPeace)
	for _, f := range []struct {
		what       string
		got, limit float64
	}{
		{"guesses answered, %", r.answeredShare(), l.answered},
		{"directory found, %", r.foundShare(), l.found},
		{"honest delayed under attack, %", attack.delayedShare(), l.delayed},
		{"honest delayed in peace, %", peace.delayedShare(), l.peace},
		{"newcomers with name or SPF, 95 % within, min", float64(quantile(attack.newcomers, 0.95)), l.newcomers},
		{"honest errors not told, %", 100 - attack.toldShare(), 100 - l.told},
	} {
		t.Logf("%s: %.4g", f.what, f.got)
		if f.got > f.limit {
			t.Errorf("%s: %.4g, more than %g", f.what, f.got, f.limit)
		}
	}
	if attack.messages < 60_000 || r.guesses < 30_000 {
		t.Errorf("only %d messages and %d guesses", attack.messages, r.guesses)
	}
}

// TestOpenServerTellsAll makes sure that the goals can be missed.
func TestOpenServerTellsAll(t *testing.T) {
	o := smallRun()
	o.defence, o.bots, o.honest, o.warm = "none", 2_000, 0.05, 1
	if r := played(t, o); r.answered != r.guesses || r.answeredShare() < 95 {
		t.Errorf("%d of %d guesses were answered (%.1f %%)", r.answered, r.guesses, r.answeredShare())
	}
}

func TestRunsRepeat(t *testing.T) {
	o := smallRun()
	o.bots, o.honest, o.warm = 2_000, 0.05, 1
	a, b := played(t, o), played(t, o)
	if a.answered != b.answered || a.foundCount != b.foundCount || a.events != b.events ||
		a.total(underAttack).delayed != b.total(underAttack).delayed {
		t.Errorf("%d, %d answered; %d, %d found; %d, %d events", a.answered, b.answered, a.foundCount, b.foundCount, a.events, b.events)
	}
	o.seed = 2
	if c := played(t, o); a.events == c.events {
		t.Error("another seed changes nothing")
	}
}

// TestRealBotsCluster keeps the generator near what was measured of real
// attackers (worldA).
func TestRealBotsCluster(t *testing.T) {
	o := smallRun()
	o.bots, o.honest = 62_000, 0.01
	s := newSim(o.setting())
	narrow, wide := map[uint32]int{}, map[uint32]int{}
	for _, b := range s.bots {
		ip := s.sources[b.source].ip
		narrow[ip>>8]++
		wide[ip>>16]++
	}
	dense := 0
	for _, n := range narrow {
		if n >= 32 {
			dense += n
		}
	}
	share := float64(dense) / float64(len(s.bots))
	t.Logf("%d /24, %d /16, %.2f in dense /24", len(narrow), len(wide), share)
	if len(narrow) < 28_000 || len(narrow) > 38_000 || len(wide) < 11_000 || len(wide) > 15_000 || share < 0.22 || share > 0.36 {
		t.Errorf("%d /24, %d /16, %.2f in dense /24; measured were 32,668, 13,129 and 0.29", len(narrow), len(wide), share)
	}
}

// TestCampaignsAreWhole keeps the month within its days.
func TestCampaignsAreWhole(t *testing.T) {
	last := 0
	for _, a := range campaigns {
		if a.from < last || a.to <= a.from || a.to > 30*24 || a.rate == 0 {
			t.Errorf("%+v", a)
		}
		last = a.to
	}
	if _, err := (settings{"unknown=2", "strict=true"}).rules(); err != nil {
		t.Error(err)
	}
	if r, err := (settings{"nonsense=1"}).rules(); err == nil {
		t.Errorf("took nonsense: %+v", r == edge.DefaultRules())
	}
}
