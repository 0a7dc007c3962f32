package main

import (
	"fmt"
	"io"
)

// print writes all of one run.
func (r *result) print(w io.Writer, detail bool) {
	fmt.Fprintf(w, "guesses: %d made in %d tries, %d answered (%.4f %% of the %.0f an open server would get); %d of %d addresses found (%.3f %%)\n",
		r.guesses, r.tries, r.answered, r.answeredShare(), r.capacity, r.foundCount, len(r.found), r.foundShare())
	v, u := r.sides()
	fmt.Fprintf(w, "answered when valid %.4f %%, when unknown %.4f %%; valid ones among the answered, to expected: %.3f\n", v, u, r.lean())
	for ph := inPeace; ph < phases; ph++ {
		all := r.total(ph)
		name := "peace"
		if ph == underAttack {
			name = "attack"
		}
		line(w, name, &all)
		fmt.Fprintf(w, "  newcomers with name or SPF: median %.0f, 95 %% within %.0f min; told %.2f %%\n",
			quantile(all.newcomers, 0.5), quantile(all.newcomers, 0.95), all.toldShare())
		for c := range classes {
			line(w, "  "+c.String(), &r.honest[ph][c])
		}
	}
	if detail {
		fmt.Fprintln(w, "answered by hour:", r.byHour)
		fmt.Fprintln(w, "answered by reason:", r.whyAnswered)
		fmt.Fprintln(w, "delayed by reason:", r.whyDelayed)
	}
	fmt.Fprintf(w, "%d events in %.1f s\n", r.events, r.took.Seconds())
}

func line(w io.Writer, name string, t *tally) {
	fmt.Fprintf(w, "%-20s %8d messages, %.4f %% delayed, median %.0f, 95 %% %.0f, max %.0f min; lost %d, unfinished %d; sources deferred %d, held %d\n",
		name, t.messages, t.delayedShare(), quantile(t.delays, 0.5), quantile(t.delays, 0.95), quantile(t.delays, 1),
		t.lost, t.unfinished, len(t.touched), len(t.held))
}

// contender is a defence by name.
type contender struct {
	name  string
	title string
	make  func() defence
}

var baselines = []contender{
	{"none", "none", func() defence { return none{} }},
	{"session", "per session: over half of four or more unknown", func() defence { return &perSession{} }},
	{"hour", "25 an hour by the clock, per address (appliances)", func() defence { return &perHour{limit: 25} }},
	{"exim", "Exim's average, 10 an hour", func() defence { return &average{limit: 10, period: hour} }},
	{"exim-day", "Exim's average, 10 a day", func() defence { return &average{limit: 10, period: day} }},
	{"fail2ban", "fail2ban: 5 in 10 min, ban 10 min", func() defence { return &ban{retries: 5, find: 600, length: 600} }},
	{"fail2ban-day", "fail2ban: 5 in a day, ban a day", func() defence { return &ban{retries: 5, find: day, length: day} }},
	{"day", "35 a day, ban a day", func() defence { return &ban{retries: 35, find: day, length: day} }},
	{"greylist", "greylisting everybody, 5 min", func() defence { return &greylist{first: map[uint64]uint32{}} }},
	{"sequential", "sequential test per address, a day", func() defence { return &sequential{} }},
}

func baselineNames() (names []string) {
	for _, b := range baselines {
		names = append(names, b.name)
	}
	return names
}

// baseline gives the one of that name, or nil.
func baseline(name string) defence {
	for _, b := range baselines {
		if b.name == name {
			return b.make()
		}
	}
	return nil
}
