package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/bench/stranger"
)

// TestPlantedLeaks plays the same plan against servers with a planted leak each,
// and against one without.
func TestPlantedLeaks(t *testing.T) {
	for _, c := range []struct {
		name string
		stub stub
		want string // in the only finding; empty: none
	}{
		{"clean", stub{answer: 0.1, favour: 0.1}, ""},
		{"late", stub{answer: 0.1, favour: 0.1, late: 2 * time.Millisecond}, "replies come at other times"},
		{"lingering", stub{answer: 0.1, favour: 0.1, linger: 2 * time.Millisecond}, "end at other times"},
		{"texts", stub{texts: true}, "the 4xx text"},
		{"rare text", stub{rare: true}, "the 4xx text"},
		{"favour", stub{answer: 0.1, favour: 0.4}, "answered more or less often"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := standard()
			p.Scale, p.Warmup, p.Peace, p.Attack, p.Recovery = 200, 0, 0, 0.2, 0
			p.Bots, p.Rate, p.Hits, p.Way = 300, 15, 0.3, stranger.Proxy1
			w := newWorld(&p)
			r := judge(&p, play(&p, w, c.stub.start(t)))
			if r.Guesses.Guesses < 500 {
				t.Fatalf("only %d guesses", r.Guesses.Guesses)
			}
			found := strings.Join(r.Findings, "\n")
			if c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("findings %q, want %q", r.Findings, c.want)
			}
			if c.name == "late" && r.Guesses.Timing.D <= r.Guesses.Timing.Critical {
				t.Errorf("timing %+v", r.Guesses.Timing)
			}
		})
	}
}

func TestInformation(t *testing.T) {
	for _, c := range []struct {
		counts [][2]int
		want   float64
	}{
		{[][2]int{{50, 50}, {50, 50}}, 0},
		{[][2]int{{100, 0}, {0, 100}}, 1},
		{[][2]int{{100, 0}, {0, 0}}, 0},
		{[][2]int{{75, 25}, {25, 75}}, 1 - 0.811278},
	} {
		if got, _ := information(c.counts); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%v: %v bits, want %v", c.counts, got, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	a := []time.Duration{1, 2, 3, 4}
	for _, c := range []struct {
		other []time.Duration
		want  float64
	}{
		{[]time.Duration{1, 2, 3, 4}, 0}, {[]time.Duration{5, 6}, 1}, {[]time.Duration{4, 3}, 0.5}, {nil, 0},
	} {
		if got := compare([2][]time.Duration{a, c.other}).D; got != c.want {
			t.Errorf("%v and %v: D %v, want %v", a, c.other, got, c.want)
		}
	}
}

func TestTextsByChance(t *testing.T) {
	for _, c := range []struct {
		unknown, valid int // of a text beside one that came to 9000 unknown and 900 valid recipients
		tells          bool
	}{
		{3, 0, false}, {50, 5, false}, {0, 1, false}, {0, 10, true}, {200, 0, true}, {50, 30, true},
	} {
		l := leak{Texts: judgeTexts(map[string]*textCount{
			"usual": {Text: "usual", Unknown: 9000, Valid: 900}, "other": {Text: "other", Unknown: c.unknown, Valid: c.valid},
		})}
		if found := l.findings(); c.tells != (len(found) > 0) {
			t.Errorf("%+v: %q", c, found)
		}
	}
}

func TestFisher(t *testing.T) {
	for _, c := range []struct {
		hits, drawn, valid, all int
		want                    float64
	}{
		{3, 4, 4, 8, 0.485714}, {4, 4, 4, 8, 0.028571}, {5, 10, 50, 100, 1}, {0, 0, 5, 10, 1},
	} {
		if got := fisher(c.hits, c.drawn, c.valid, c.all); math.Abs(got-c.want) > 1e-5 {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestMaskLeavesWhatTheServerSays(t *testing.T) {
	h := stranger.Host{Hello: "mail.a.test"}
	o := stranger.Outcome{Reply: stranger.Reply{Code: 451, Text: "4.7.1 <x@b.test> from me@a.test: wait 7 s (ref K3XQ2A)"}}
	if got, want := mask(o, h, "me@a.test", "x@b.test"), "451 4.7.1 <TO> from FROM: wait 7 s (ref *)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHonestMail judges a log written by hand.
func TestHonestMail(t *testing.T) {
	p := standard()
	at := p.begins(attack)
	line := func(message, try int, valid, last bool, c class, when float64) attempt {
		return attempt{Kind: knownMTA, Message: message, Try: try, Valid: valid, Last: last, Class: c, At: at + when, Answered: at + when}
	}
	s := judgeService(&p, perMessage([]attempt{
		line(1, 1, true, true, taken, 0),
		line(2, 2, true, true, taken, 600), line(2, 1, true, false, deferred, 0), // a log is not in order
		line(3, 1, true, true, deferred, 0),
		line(4, 1, true, true, refused, 0),
		line(5, 1, false, true, unknown, 0),
		line(6, 1, false, false, failed, 0), line(6, 2, false, true, unknown, 1200),
		line(7, 1, true, false, deferred, 0),
	}), knownMTA, attack)
	want := service{Kind: knownMTA, Phase: attack, Messages: 7, Delayed: 4, Share: 4.0 / 7, Median: 20, P95: 20, Max: 20,
		Waiting: 1, Lost: 2, Unknown: 2, Told: 2, FirstHand: 1}
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}
