package main

import (
	"slices"
	"time"
)

// result is what came out of a run.
type result struct {
	capacity     float64 // guesses that an open server would be asked
	guesses      int64   // made, deferred ones that are given up included
	tries        int64   // RCPTs of bots
	answered     int64   // guesses that heard the truth
	answeredHits int64   // of them valid
	expectedHits float64 // as many valid ones would be among them, if each bot's share held
	validGuesses int64
	found        []bool // of the directory
	foundCount   int
	byHour       [24]int64 // answered, by hour of the day

	whyAnswered map[string]int // guesses, by what speaks for the bot and the reason
	whyDelayed  map[string]int // honest messages under attack, likewise

	honest [phases][classes]tally
	events int64
	took   time.Duration
}

// botAnswered counts a guess that heard the truth.
func (r *result) botAnswered(b *bot, now uint32) {
	if uint64(b.kind) == befriended {
		return
	}
	r.answered++
	r.expectedHits += float64(b.hit) / 65536
	r.byHour[now%day/hour]++
	if uint64(b.kind) != valid {
		return
	}
	r.answeredHits++
	if !r.found[b.number] {
		r.found[b.number] = true
		r.foundCount++
	}
}

// tally counts the honest messages of a class and phase.
type tally struct {
	messages, delayed, lost int
	unknown, told           int
	unfinished              int
	delays                  []float32 // minutes, of the delayed
	newcomers               []float32 // minutes, of all from new senders with a name or SPF
	touched, held           map[int32]bool
}

func (t *tally) sent(p *probe) {
	t.messages++
	if p.unknown() {
		t.unknown++
	}
}

func (t *tally) answered(p *probe, attempt uint16, after uint32, vouched, newcomer bool) {
	if p.unknown() {
		t.told++
	}
	t.took(attempt > 0, after, vouched, newcomer)
}

func (t *tally) waiting(since uint32, vouched, newcomer bool) {
	t.unfinished++
	t.took(true, since, vouched, newcomer)
}

func (t *tally) took(delayed bool, seconds uint32, vouched, newcomer bool) {
	minutes := float32(seconds) / 60
	if delayed {
		t.delays = append(t.delays, minutes)
	} else {
		minutes = 0
	}
	if vouched && newcomer {
		t.newcomers = append(t.newcomers, minutes)
	}
}

func (t *tally) deferred(p *probe, attempt uint16, held bool) {
	if t.touched == nil {
		t.touched, t.held = map[int32]bool{}, map[int32]bool{}
	}
	if attempt == 0 {
		t.delayed++
	}
	t.touched[p.source] = true
	if held {
		t.held[p.source] = true
	}
}

// total adds up the classes of a phase.
func (r *result) total(ph phase) (all tally) {
	all.touched, all.held = map[int32]bool{}, map[int32]bool{}
	for c := range classes {
		t := &r.honest[ph][c]
		all.messages += t.messages
		all.delayed += t.delayed
		all.lost += t.lost
		all.unknown += t.unknown
		all.told += t.told
		all.unfinished += t.unfinished
		all.delays = append(all.delays, t.delays...)
		all.newcomers = append(all.newcomers, t.newcomers...)
		for s := range t.touched {
			all.touched[s] = true
		}
		for s := range t.held {
			all.held[s] = true
		}
	}
	return all
}

// The shares, in per cent.

func (r *result) answeredShare() float64 { return percent(float64(r.answered), r.capacity) }
func (r *result) foundShare() float64    { return percent(float64(r.foundCount), float64(len(r.found))) }
func (t *tally) delayedShare() float64   { return percent(float64(t.delayed), float64(t.messages)) }
func (t *tally) toldShare() float64      { return percent(float64(t.told), float64(t.unknown)) }

// sides gives how likely a guess was answered, when valid and when not.
func (r *result) sides() (ifValid, ifNot float64) {
	return percent(float64(r.answeredHits), float64(r.validGuesses)),
		percent(float64(r.answered-r.answeredHits), float64(r.guesses-r.validGuesses))
}

// lean tells by how much valid guesses were answered more often than each bot's
// own share of them explains. 1: the answer tells nothing before it is given.
func (r *result) lean() float64 {
	if r.expectedHits == 0 {
		return 1
	}
	return float64(r.answeredHits) / r.expectedHits
}

func percent(part, of float64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * part / of
}

// quantile gives the value below which the share q of v lies, 0 of nothing.
func quantile(v []float32, q float64) float32 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
