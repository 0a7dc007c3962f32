package main

import (
	"fmt"
	"io"

	"github.com/migiwa/migiwa/internal/edge"
)

// campaigns are the attacks of a month: sizes, kinds and pauses of all sorts.
// from and to are hours since the start; what lies after the end is left out.
var campaigns = []attack{
	{name: "a third tries again", bots: 20_000, from: 48, to: 72, rate: 1, retry: -1, named: -1, spf: -1},
	{name: "ten times slower", bots: 20_000, from: 100, to: 150, rate: 0.1, retry: -1, named: -1, spf: -1},
	{name: "a third tries again", bots: 100_000, from: 200, to: 212, rate: 1, retry: -1, named: -1, spf: -1},
	{name: "mimics, names, SPF", bots: 20_000, from: 270, to: 294, rate: 1, retry: -1, mimic: 1, named: 0.5, spf: 0.5},
	{name: "camouflage", bots: 20_000, from: 350, to: 374, rate: 1, retry: -1, named: -1, spf: -1, camouflage: 0.5},
	{name: "a third tries again", bots: 2_000, from: 420, to: 424, rate: 5, retry: -1, named: -1, spf: -1},
	{name: "all try again", bots: 50_000, from: 480, to: 516, rate: 1, retry: 1, named: -1, spf: -1},
	{name: "mimics", bots: 20_000, from: 580, to: 604, rate: 1, retry: -1, mimic: 1, named: -1, spf: -1},
	{name: "a few", bots: 200, from: 650, to: 656, rate: 1, retry: -1, named: -1, spf: -1},
}

// diary follows a month from hour to hour.
type diary struct {
	w      io.Writer
	s      *sim
	e      *edge.Engine
	attack []int // hour at which each campaign's last source was free again; -1: not yet
	most   int   // held at once today
	before daily
}

// daily is what has been counted up to a midnight.
type daily struct {
	messages, delayed, answered int
}

// month plays the campaigns with an engine of the default size and nobody who
// looks after it, and prints each day.
func (o *options) month(w io.Writer) error {
	st := o.setting()
	st.attacks, st.days, st.warm, st.month = nil, o.days, o.days, true
	for _, a := range campaigns {
		a.from, a.to = a.from*hour, a.to*hour
		if a.to <= o.days*day {
			st.attacks = append(st.attacks, a)
		}
	}
	rules, err := o.set.rules()
	if err != nil {
		return err
	}
	g, err := newEngine(rules, edge.Sizes{Sources: o.sources}, o.seed, 1)
	if err != nil {
		return err
	}
	defer g.close()
	s := newSim(st)
	d := &diary{w: w, s: s, e: g.nodes[0], attack: make([]int, len(st.attacks))}
	for i := range d.attack {
		d.attack[i] = -1
	}
	s.everyHour = d.hour
	fmt.Fprintf(w, "| day | attack | guesses answered | honest messages | delayed, %% | sources in the table | identities | networks | had to make room | held at most | held at midnight |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	s.run(g)
	d.hour(uint32(len(s.heads)))
	fmt.Fprintf(w, "\n| attack | bots | hours | free again after it, h |\n|---|---|---|---|\n")
	for i, a := range st.attacks {
		free := "not yet"
		if d.attack[i] >= 0 {
			free = fmt.Sprint(d.attack[i] - a.to/hour)
		}
		fmt.Fprintf(w, "| %s | %d | %d | %s |\n", a.name, a.bots, (a.to-a.from)/hour, free)
	}
	fmt.Fprintf(w, "\n%d of %d addresses found in all\n", s.result.foundCount, len(s.result.found))
	return nil
}

func (d *diary) hour(now uint32) {
	held := d.e.Held(started + edge.Time(now))
	d.most = max(d.most, held)
	for i, a := range d.s.attacks {
		if d.attack[i] < 0 && int(now) > a.to && held == 0 {
			d.attack[i] = int(now / hour)
		}
	}
	if now%day == 0 && now > 0 {
		d.midnight(int(now/day), held)
	}
}

func (d *diary) midnight(number, held int) {
	all := d.s.result.total(underAttack)
	now := daily{all.messages, all.delayed, int(d.s.result.answered)}
	name := ""
	for _, a := range d.s.attacks {
		if a.from < number*day && a.to > (number-1)*day {
			name = fmt.Sprintf("%d: %s", a.bots, a.name)
		}
	}
	fills, evicted := d.e.Fills(), int64(0)
	for _, f := range fills {
		evicted += f.Evicted
	}
	fmt.Fprintf(d.w, "| %d | %s | %d | %d | %s | %d | %d | %d | %d | %d | %d |\n", number, name, now.answered-d.before.answered,
		now.messages-d.before.messages, short(percent(float64(now.delayed-d.before.delayed), float64(now.messages-d.before.messages))),
		fills[0].Live, fills[1].Live, fills[2].Live, evicted, d.most, held)
	d.before, d.most = now, held
}
