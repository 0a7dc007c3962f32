package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// scenario is one kind of attacker, or of days.
type scenario struct {
	name  string
	alter func(o *options)
}

// scenarios are the kinds of attackers that the rules must stand. -1 keeps a
// share of the world's.
var scenarios = []scenario{
	{"a third tries again", func(*options) {}},
	{"nobody tries again", func(o *options) { o.attack.retry = 0 }},
	{"all try again", func(o *options) { o.attack.retry = 1 }},
	{"ten times slower", func(o *options) { o.attack.rate = 0.1 }},
	{"valid hits deliver spam, 30 % pass for good", func(o *options) { o.attack.delivers = 0.3 }},
	{"camouflage: half goes to known addresses, good mail", func(o *options) { o.attack.camouflage = 0.5 }},
	{"mimics: as Postfix, for half a day", func(o *options) { o.attack.mimic = 1 }},
	{"mimics, half with names, half with SPF", strong},
	{"the same, strict", func(o *options) { strong(o); o.set = append(o.set, "strict=true") }},
	{"newsletters with 15 to 30 % dead addresses", func(o *options) { o.dead = 3 }},
	{"the same, 60 % of them known to have existed", func(o *options) { o.dead, o.former = 3, 0.6 }},
	{"three engines that know nothing of each other", func(o *options) { o.nodes = 3 }},
}

func strong(o *options) { o.attack.mimic, o.attack.named, o.attack.spf = 1, 0.5, 0.5 }

const tableHead = `| | guesses answered, % | directory found, % | honest delayed under attack, % | of these median / 95 %, min | newcomers with name or SPF: 95 % within, min | delayed in peace, % | told, % | sources deferred / held | answered when valid, to expected |
|---|---|---|---|---|---|---|---|---|---|
`

// row prints what came out as a line of the table.
func (r *result) row(w io.Writer, name string) {
	a, p := r.total(underAttack), r.total(inPeace)
	fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f / %.0f | %.0f | %s | %s | %d / %d | %.3f |\n", name,
		short(r.answeredShare()), short(r.foundShare()), short(a.delayedShare()), quantile(a.delays, 0.5), quantile(a.delays, 0.95),
		quantile(a.newcomers, 0.95), short(p.delayedShare()), short(a.toldShare()), len(a.touched), len(a.held), r.lean())
}

// short writes a share with three digits that say something.
func short(v float64) string {
	s := fmt.Sprintf("%.3g", v)
	if strings.Contains(s, "e") {
		return fmt.Sprintf("%.5f", v)
	}
	return s
}

// table prints all: the baselines and the engine against the largest attack, the
// engine at every size, and against every kind of attacker.
func (o *options) tables(w io.Writer) error {
	fmt.Fprintf(w, "World %s, seed %d, %d bots, a third of them tries again:\n\n%s", o.world, o.seed, o.most, tableHead)
	for _, b := range baselines {
		c := *o
		c.defence, c.bots = b.name, o.most
		if err := c.printRow(w, b.title); err != nil {
			return err
		}
	}
	for _, s := range []scenario{{"**migiwa**", func(*options) {}}, {"migiwa, strict", func(o *options) { o.set = append(o.set, "strict=true") }}} {
		if err := o.scenarioRow(w, s, o.most); err != nil {
			return err
		}
	}
	fmt.Fprint(w, "\nmigiwa at other sizes:\n\n"+tableHead)
	for n := 200; n <= o.most; n *= 10 {
		if err := o.scenarioRow(w, scenario{fmt.Sprintf("%d bots", n), func(*options) {}}, n); err != nil {
			return err
		}
	}
	for _, n := range []int{o.most / 10, o.most} {
		fmt.Fprintf(w, "\nmigiwa against %d bots of other kinds:\n\n%s", n, tableHead)
		for _, s := range scenarios {
			if err := o.scenarioRow(w, s, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// suite prints the engine against every kind of attacker at one size.
func (o *options) suite(w io.Writer) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	fmt.Fprint(w, tableHead)
	for _, s := range scenarios {
		if !only.MatchString(s.name) {
			continue
		}
		if err := o.scenarioRow(w, s, o.bots); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) scenarioRow(w io.Writer, s scenario, bots int) error {
	c := *o
	c.defence, c.bots = "engine", bots
	c.set = append(settings{}, o.set...)
	s.alter(&c)
	return c.printRow(w, s.name)
}

func (o *options) printRow(w io.Writer, name string) error {
	r, err := o.play(o.setting())
	if err != nil {
		return err
	}
	r.row(w, name)
	fmt.Fprintf(os.Stderr, "%s: %.0f s\n", name, r.took.Seconds())
	return nil
}
