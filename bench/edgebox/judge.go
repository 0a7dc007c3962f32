package main

import (
	"math"
	"slices"
	"time"
)

// report is what the judge makes of a log. Shares are of 1, times of honest
// mail in scaled minutes.
type report struct {
	Server  string  `json:"server"`
	Seed    uint64  `json:"seed"`
	Scale   float64 `json:"scale"`
	Bots    int     `json:"bots"`
	Style   string  `json:"style"`
	Hours   float64 `json:"attack_hours"`
	Seconds float64 `json:"seconds"` // how long the play took

	Guesses  leak        `json:"guesses"`
	Honest   []service   `json:"honest"`
	Refusals []textCount `json:"honest_deferral_texts"` // what honest senders heard that was no answer
	Lateness lateness    `json:"lateness"`
	Probes   *adversary  `json:"adversary,omitempty"`
	Findings []string    `json:"findings"` // what tells validity, in words
}

// leak is what the guesses of bots were worth.
type leak struct {
	Attempts int               `json:"attempts"`
	Guesses  int               `json:"guesses"`
	Classes  map[string][2]int `json:"classes"` // attempts by reply class: to unknown, to valid recipients
	Answered int               `json:"answered"`
	Share    float64           `json:"answered_share"`
	Capacity float64           `json:"capacity"` // guesses that the bots had time for, had each been answered at once
	Found    int               `json:"found"`    // different addresses that a guess hit and the server confirmed

	BitsEach float64 `json:"bits_each"` // I(validity; reply class), an attempt
	BitsAll  float64 `json:"bits_all"`
	Bias     float64 `json:"bits_bias"` // of BitsAll, what chance alone would show

	AnsweredValid   float64 `json:"answered_given_valid"` // of the guesses
	AnsweredUnknown float64 `json:"answered_given_unknown"`
	Z               float64 `json:"answered_z"` // how many standard deviations these lie apart

	Retried  [2]int  `json:"retried"`          // guesses tried again: unknown, valid
	Relented [2]int  `json:"retried_answered"` // of those, answered in the end
	RetryZ   float64 `json:"retried_z"`

	Texts  []textCount `json:"deferral_texts"`
	Timing timing      `json:"deferral_timing"` // of the reply
	Ending timing      `json:"ending_timing"`   // of the end of the session behind it
}

// textCount is how often a 4xx text came, to whom.
type textCount struct {
	Text    string  `json:"text"`
	Unknown int     `json:"unknown"`
	Valid   int     `json:"valid"`
	Chance  float64 `json:"chance"` // that it would be spread so unevenly by chance
}

// timing compares times after RCPT was answered 4xx, by validity.
type timing struct {
	Unknown  int     `json:"unknown"`
	Valid    int     `json:"valid"`
	D        float64 `json:"d"`        // Kolmogorov-Smirnov distance
	Critical float64 `json:"critical"` // at 5 %
	MedianUs [2]int  `json:"median_us"`
}

// service is what one population of honest senders met in one phase.
type service struct {
	Kind      kind    `json:"kind"`
	Phase     phase   `json:"phase"`
	Messages  int     `json:"messages"`
	Delayed   int     `json:"delayed"` // their first attempt was deferred or failed
	Share     float64 `json:"delayed_share"`
	Median    float64 `json:"delay_median_min"` // of those delayed and settled
	P95       float64 `json:"delay_p95_min"`
	Max       float64 `json:"delay_max_min"`
	Waiting   int     `json:"waiting"` // neither settled nor given up at the end
	Lost      int     `json:"lost"`    // given up, or refused though the recipient exists
	Unknown   int     `json:"unknown"` // to unknown recipients
	Told      int     `json:"told"`    // of those, answered 550 5.1.1
	FirstHand int     `json:"told_at_once"`
}

// lateness tells how well the driver kept its times: real milliseconds.
type lateness struct {
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	Shortest float64 `json:"shortest_retry_ms"`
	Share    float64 `json:"share"` // P99 of the shortest retry; the protocol wants less than 0.01
}

// judge judges a log.
func judge(p *plan, log []attempt) report {
	r := report{Seed: p.Seed, Scale: p.Scale, Bots: p.Bots, Style: p.style(), Hours: p.Attack}
	r.Guesses = judgeGuesses(log)
	r.Guesses.Capacity = float64(p.Bots) * p.Rate * p.Attack
	byMessage := perMessage(log)
	for _, k := range honest {
		for _, ph := range []phase{warmup, peace, attack, recovery} {
			if s := judgeService(p, byMessage, k, ph); s.Messages > 0 {
				r.Honest = append(r.Honest, s)
			}
		}
	}
	r.Refusals = judgeRefusals(log)
	r.Lateness = judgeLateness(p, log)
	if p.Adversary {
		r.Probes = judgeAdversary(log)
	}
	r.Findings = r.Guesses.findings()
	return r
}

func judgeGuesses(log []attempt) leak {
	l := leak{Classes: make(map[string][2]int)}
	var counts [classes][2]int
	var guesses, answered [2]int
	texts := make(map[string]*textCount)
	found := make(map[string]bool)
	var times, ends [2][]time.Duration
	for _, a := range log {
		if !a.Guess {
			continue
		}
		v := side(a.Valid)
		l.Attempts++
		counts[a.Class][v]++
		guesses[v] += side(a.Try == 1)
		answered[v] += side(a.Class.truthful())
		l.Retried[v] += side(a.Try == 2)
		l.Relented[v] += side(a.Try > 1 && a.Class.truthful())
		if a.Class == taken && a.Valid {
			found[a.To] = true
		}
		if a.Class != deferred {
			continue
		}
		count(texts, a.Text, a.Valid)
		if a.Took > 0 {
			times[v] = append(times[v], a.Took)
			ends[v] = append(ends[v], a.Quit)
		}
	}
	for c, n := range counts {
		l.Classes[class(c).String()] = n
	}
	l.Found = len(found)
	l.Guesses, l.Answered = guesses[0]+guesses[1], answered[0]+answered[1]
	l.Share = ratio(l.Answered, l.Guesses)
	l.AnsweredUnknown, l.AnsweredValid = ratio(answered[0], guesses[0]), ratio(answered[1], guesses[1])
	l.Z, l.RetryZ = twoShares(answered, guesses), twoShares(l.Relented, l.Retried)
	l.BitsEach, l.Bias = information(counts[:])
	l.BitsAll = l.BitsEach * float64(l.Attempts)
	l.Texts = judgeTexts(texts)
	l.Timing, l.Ending = compare(times), compare(ends)
	return l
}

// side is the place of a validity in pairs: 0 or 1.
func side(valid bool) int {
	if valid {
		return 1
	}
	return 0
}

func ratio(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// perMessage gives the attempts of each honest message, in order.
func perMessage(log []attempt) map[int][]attempt {
	m := make(map[int][]attempt)
	for _, a := range log {
		if slices.Contains(honest, a.Kind) {
			m[a.Message] = append(m[a.Message], a)
		}
	}
	for _, tries := range m {
		slices.SortFunc(tries, func(a, b attempt) int { return a.Try - b.Try })
	}
	return m
}

func judgeService(p *plan, messages map[int][]attempt, k kind, ph phase) service {
	s := service{Kind: k, Phase: ph}
	var delays []float64
	for _, tries := range messages {
		first, last := tries[0], tries[len(tries)-1]
		if first.Kind != k || p.phaseAt(first.At) != ph {
			continue
		}
		s.Messages++
		settled := last.Class == taken || last.Class == unknown || last.Class == refused
		if first.Class == deferred || first.Class == failed {
			s.Delayed++
			if settled {
				delays = append(delays, (last.Answered-first.At)/60)
			}
		}
		switch {
		case !last.Last:
			s.Waiting++
		case !settled, first.Valid && last.Class != taken:
			s.Lost++
		}
		if !first.Valid {
			s.Unknown++
			if last.Class == unknown {
				s.Told++
			}
			if first.Class == unknown {
				s.FirstHand++
			}
		}
	}
	s.Share = ratio(s.Delayed, s.Messages)
	slices.Sort(delays)
	s.Median, s.P95, s.Max = quantile(delays, 0.5), quantile(delays, 0.95), quantile(delays, 1)
	return s
}

// judgeRefusals counts what honest senders heard that was no answer.
func judgeRefusals(log []attempt) []textCount {
	texts := make(map[string]*textCount)
	for _, a := range log {
		if slices.Contains(honest, a.Kind) && (a.Class == deferred || a.Class == failed) {
			count(texts, a.Text, a.Valid)
		}
	}
	return judgeTexts(texts)
}

// quantile of sorted values; 0 of none.
func quantile[T float64 | time.Duration](sorted []T, q float64) T {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func judgeLateness(p *plan, log []attempt) lateness {
	late := make([]time.Duration, 0, len(log))
	for _, a := range log {
		late = append(late, a.Late)
	}
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }
	l := lateness{P50: ms(quantile(late, 0.5)), P99: ms(quantile(late, 0.99)), Max: ms(quantile(late, 1))}
	l.Shortest = shortestRetry / p.Scale * 1000
	l.Share = l.P99 / l.Shortest
	return l
}
