package main

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// The adversaries know one valid address and watch how the server treats it
// after a guess that was not answered: does the treatment tell what the guess
// was? One of them only hammers.
const (
	controls     = 40
	controlPause = 5 * 60.0  // between a guess and the known address after it
	controlCycle = 30 * 60.0 // from one test to the next
	probers      = 60
	provocations = 6       // unknown recipients by which a prober gets itself a penalty
	pollEvery    = 10 * 60 // until the known address is answered again
	hammerBlows  = 2000
	hammerHands  = 4
)

// The roles in a test.
const (
	theGuess = "guess"
	theKnown = "known"
)

// adversary is what the probing was worth.
type adversary struct {
	Control alternation `json:"control"`
	Penalty penalty     `json:"penalty_probe"`
	Hammer  hammer      `json:"hammer"`
}

// alternation is of sources that alternate guesses and a known address.
type alternation struct {
	Tests    int               `json:"tests"`
	Answered int               `json:"answered"`          // guesses answered outright
	After    map[string][2]int `json:"known_after_guess"` // replies to the known address after an unanswered guess: unknown, valid
	Bits     float64           `json:"bits_all"`          // about the guess, from these
	Bias     float64           `json:"bits_bias"`
}

// penalty compares how long the known address stays deferred after one more
// guess within a penalty, in scaled minutes. What stays deferred to the end
// counts as longest.
type penalty struct {
	Tests     [2]int     `json:"tests"` // unknown, valid
	Ended     [2]int     `json:"ended"`
	MedianMin [2]float64 `json:"median_min"`
	D         float64    `json:"d"`
	Critical  float64    `json:"critical"`
}

// hammer is one source that guesses as fast as it can.
type hammer struct {
	Attempts  int            `json:"attempts"`
	Answered  int            `json:"answered"`
	Classes   map[string]int `json:"classes"`
	PerSecond float64        `json:"per_second"` // real
}

// adversaries adds them to the world.
func (w *world) adversaries() {
	add := func(k kind, i int, named bool) {
		p := w.add(k, fmt.Sprintf("%s%d.test", k, i))
		p.named = named
		p.host(w.address(w.bots[w.rand.IntN(len(w.bots))], w.rand.IntN(256)), fmt.Sprintf("%s%d.bots.test", k, i))
		p.first = w.plan.begins(attack) + w.rand.Float64()*hour/2
	}
	for i := range controls {
		add(control, i, i%2 == 0)
	}
	for i := range probers {
		add(prober, i, i%2 == 0)
	}
	add(hammerer, 0, false)
}

// adversaries starts them.
func (g *game) adversaries() {
	for _, p := range g.world.parties {
		switch p.kind {
		case control:
			g.agenda.at(p.first, func(at float64) { g.alternate(p, at) })
		case prober:
			g.agenda.at(p.first, func(at float64) { g.probe(p, at) })
		case hammerer:
			g.agenda.at(g.plan.begins(recovery)-1, func(at float64) { g.hammer(p, at) })
		}
	}
}

// coin gives a guess that is right half of the time.
func (g *game) coin(p *party) recipient { return g.world.recipient(p.rand, 0.5) }

// theOne is the address that the adversary knows.
func (g *game) theOne() recipient { return recipient{"u0", true} }

// test makes one attempt of a test.
func (g *game) test(p *party, to recipient, test int, role string, at float64, then func(attempt)) {
	m := g.message(p, to)
	m.from, m.role, m.settled = "me@"+p.domain, role, then
	if m.test = test; test == 0 {
		m.test = m.id
	}
	g.try(m, at)
}

func (g *game) alternate(p *party, at float64) {
	if at >= g.plan.begins(recovery) {
		return
	}
	g.test(p, g.coin(p), 0, theGuess, at, func(a attempt) {
		g.agenda.at(at+controlPause, func(at float64) { g.test(p, g.theOne(), a.Test, theKnown, at, nil) })
	})
	g.agenda.at(at+controlCycle, func(at float64) { g.alternate(p, at) })
}

// probe gets itself a penalty, guesses once more, and asks for the known
// address until that is answered; then again.
func (g *game) probe(p *party, at float64) {
	for i := range provocations {
		g.agenda.at(at+float64(i)*60, func(at float64) {
			g.test(p, g.world.recipient(p.rand, 1), 0, "", at, nil)
		})
	}
	g.agenda.at(at+(provocations+1)*60, func(at float64) {
		g.test(p, g.coin(p), 0, theGuess, at, func(a attempt) {
			if a.Class.truthful() {
				g.agenda.at(at+pollEvery, func(at float64) { g.probe(p, at) }) // no penalty yet
				return
			}
			g.agenda.at(at+pollEvery, func(at float64) { g.poll(p, a.Test, at) })
		})
	})
}

func (g *game) poll(p *party, test int, at float64) {
	g.test(p, g.theOne(), test, theKnown, at, func(a attempt) {
		g.agenda.at(at+pollEvery, func(at float64) {
			if a.Class == taken {
				g.probe(p, at)
				return
			}
			g.poll(p, test, at)
		})
	})
}

func (g *game) hammer(p *party, at float64) {
	var hands sync.WaitGroup
	for range hammerHands {
		hands.Go(func() {
			for n := 0; n < hammerBlows/hammerHands && g.agenda.now() < g.plan.ends(); n++ {
				g.test(p, g.coin(p), 0, theGuess, max(at, g.agenda.now()), nil)
			}
		})
	}
	hands.Wait()
}

// judgeAdversary judges what the adversaries saw.
func judgeAdversary(log []attempt) *adversary {
	tests := make(map[int][]attempt)
	a := &adversary{Hammer: judgeHammer(log)}
	for _, x := range log {
		if x.Test != 0 && x.Role != "" && x.Kind != hammerer {
			tests[x.Test] = append(tests[x.Test], x)
		}
	}
	var after [classes][2]int
	var waits [2][]time.Duration
	a.Control.After = make(map[string][2]int)
	for _, t := range tests {
		guess, knowns := t[0], t[1:]
		switch {
		case guess.Role != theGuess:
		case guess.Kind == prober && len(knowns) > 0:
			v := side(guess.Valid)
			wait, ended := waited(guess, knowns)
			waits[v] = append(waits[v], wait)
			a.Penalty.Tests[v]++
			if ended {
				a.Penalty.Ended[v]++
			}
		case guess.Kind == control:
			a.Control.Tests++
			if guess.Class.truthful() {
				a.Control.Answered++
			} else if len(knowns) > 0 {
				after[knowns[0].Class][side(guess.Valid)]++
			}
		}
	}
	n := 0
	for c, x := range after {
		if n += x[0] + x[1]; x[0]+x[1] > 0 {
			a.Control.After[class(c).String()] = x
		}
	}
	a.Control.Bits, a.Control.Bias = information(after[:])
	a.Control.Bits *= float64(n)
	a.Penalty.compare(waits)
	return a
}

// waited is how long the known address was deferred, in scaled time, and
// whether that ended.
func waited(guess attempt, knowns []attempt) (time.Duration, bool) {
	for _, k := range knowns {
		if k.Class == taken {
			return time.Duration((k.At - guess.At) * 1e9), true
		}
	}
	return math.MaxInt64, false
}

func (p *penalty) compare(waits [2][]time.Duration) {
	t := compare(waits)
	p.D, p.Critical = t.D, t.Critical
	for v, s := range waits {
		if m := quantile(s, 0.5); m != math.MaxInt64 {
			p.MedianMin[v] = m.Minutes()
		} else {
			p.MedianMin[v] = -1
		}
	}
}

func judgeHammer(log []attempt) hammer {
	h := hammer{Classes: make(map[string]int)}
	var spent time.Duration
	for _, a := range log {
		if a.Kind != hammerer {
			continue
		}
		h.Attempts++
		h.Classes[a.Class.String()]++
		spent += a.Spent
		if a.Class.truthful() {
			h.Answered++
		}
	}
	if spent > 0 {
		h.PerSecond = float64(h.Attempts) / spent.Seconds() * hammerHands
	}
	return h
}
