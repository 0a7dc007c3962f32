// Edge simulates directory harvest attacks: botnets that guess addresses at the
// pace of one or two an hour from each of up to millions of addresses, amid the
// mail of a day. It runs the engine of internal/edge as it is, and beside it what
// others do, and prints how many guesses were answered and how much honest mail
// was delayed.
//
//	go run ./bench/edge                      one run: 200,000 bots, the engine
//	go run ./bench/edge -bots 2000000 -mimic 1 -named 0.5 -spf 0.5 -set strict=true
//	go run ./bench/edge -defence greylist    what others do
//	go run ./bench/edge -table               the whole table
//	go run ./bench/edge -sweep               each constant, times 0.5 to 2
//	go run ./bench/edge -days 30             a month of attacks and pauses
//
// README.md has the assumptions and what came out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/migiwa/migiwa/internal/edge"
)

// options are the flags.
type options struct {
	world   string
	defence string
	bots    int
	seed    uint64
	warm    int
	stop    float64
	nodes   int
	sources int
	set     settings
	attack  attack
	dead    float64
	former  float64
	honest  float64
	table   bool
	kinds   bool
	only    string
	sweep   bool
	days    int
	most    int
	detail  bool
}

// settings are rules given as key=value, any number of times.
type settings []string

func (s *settings) String() string     { return strings.Join(*s, " ") }
func (s *settings) Set(v string) error { *s = append(*s, v); return nil }

func (s settings) rules() (r edge.Rules, err error) {
	r = edge.DefaultRules()
	for _, pair := range s {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return r, fmt.Errorf("-set %s: want key=value", pair)
		}
		if err := r.Set(key, value); err != nil {
			return r, fmt.Errorf("-set: %w", err)
		}
	}
	return r, nil
}

func main() {
	o := parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

func parse() *options {
	o := &options{}
	flag.StringVar(&o.world, "world", "a", "the generator: a, or b that nothing is tuned on")
	flag.StringVar(&o.defence, "defence", "engine", "engine, or one of "+strings.Join(baselineNames(), ", "))
	flag.IntVar(&o.bots, "bots", 200_000, "bots")
	flag.Uint64Var(&o.seed, "seed", 1, "of everything random")
	flag.IntVar(&o.warm, "warm", 4, "days of mail before the measured ones")
	flag.Float64Var(&o.stop, "stop", 24, "hours the attack lasts")
	flag.IntVar(&o.nodes, "nodes", 1, "engines that know nothing of each other")
	flag.IntVar(&o.sources, "sources", 0, "places for sources in the engine's table; 0: enough for all")
	flag.Var(&o.set, "set", "rule=value of the engine; may be repeated")
	flag.Float64Var(&o.attack.rate, "rate", 1, "times the one to three guesses an hour of each bot")
	flag.Float64Var(&o.attack.retry, "retry", -1, "share of bots that try again a few times; -1: the world's")
	flag.Float64Var(&o.attack.mimic, "mimic", 0, "share of bots that try again as mail servers do")
	flag.Float64Var(&o.attack.named, "named", -1, "share of bots with a name that leads back; -1: the world's")
	flag.Float64Var(&o.attack.spf, "spf", -1, "share of bots whose sender domain passes SPF; -1: the world's")
	flag.Float64Var(&o.attack.camouflage, "camouflage", 0, "share of bots' recipients that are known addresses, with good mail")
	flag.Float64Var(&o.attack.delivers, "delivers", 0, "share of valid hits whose mail passes for good")
	flag.Float64Var(&o.dead, "dead", 1, "times the newsletters' share of dead addresses")
	flag.Float64Var(&o.former, "former", 0, "share of the newsletters' dead addresses that the server knows to have existed")
	flag.Float64Var(&o.honest, "honest", 1, "times the honest senders and their mail")
	flag.BoolVar(&o.table, "table", false, "print the whole table")
	flag.BoolVar(&o.kinds, "kinds", false, "print the engine against every kind of attacker, at the size of -bots")
	flag.StringVar(&o.only, "only", "", "of these the ones whose name this regular expression matches")
	flag.BoolVar(&o.sweep, "sweep", false, "vary each constant")
	flag.IntVar(&o.days, "days", 0, "so many days of mixed attacks and pauses, with the engine")
	flag.IntVar(&o.most, "most", 2_000_000, "bots at most, in -table")
	flag.BoolVar(&o.detail, "detail", false, "also print the answered guesses of each hour, and all by reason")
	flag.Parse()
	return o
}

func (o *options) run() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case o.world != "a" && o.world != "b":
		return fmt.Errorf("no world %q", o.world)
	case o.bots < 0 || o.warm < 1 || o.nodes < 1 || o.days < 0:
		return errors.New("a number is too small")
	}
	switch {
	case o.table:
		return o.tables(os.Stdout)
	case o.kinds:
		return o.suite(os.Stdout)
	case o.sweep:
		return o.sweeps(os.Stdout)
	case o.days > 0:
		return o.month(os.Stdout)
	}
	return o.single()
}

// setting makes the world and the attack of a single run: days of mail, one of
// peace, one of attack.
func (o *options) setting() setting {
	w := worldA()
	if o.world == "b" {
		w = worldB()
	}
	w.honest.dead[0] *= o.dead
	w.honest.dead[1] *= o.dead
	w.honest.formerDead = o.former
	w.honest.shrink(o.honest)
	a := o.attack
	a.bots = o.bots
	a.from = (o.warm + 1) * day
	a.to = a.from + int(o.stop*hour)
	return setting{world: w, seed: o.seed, attacks: []attack{a}, warm: o.warm, days: o.warm + 2}
}

// play runs a setting against a defence.
func (o *options) play(st setting) (*result, error) {
	s := newSim(st)
	if b := baseline(o.defence); b != nil {
		return s.run(b), nil
	}
	if o.defence != "engine" {
		return nil, fmt.Errorf("no defence %q", o.defence)
	}
	rules, err := o.set.rules()
	if err != nil {
		return nil, err
	}
	e, err := newEngine(rules, o.sizes(len(s.sources)), o.seed, o.nodes)
	if err != nil {
		return nil, err
	}
	defer e.close()
	return s.run(e), nil
}

// sizes gives tables in which nobody has to make room for others, unless the
// flag says otherwise.
func (o *options) sizes(sources int) edge.Sizes {
	n := 2*sources + 1<<16
	if o.sources > 0 {
		return edge.Sizes{Sources: o.sources}
	}
	return edge.Sizes{Sources: n, Identities: n, Networks: 2 * n}
}

func (o *options) single() error {
	r, err := o.play(o.setting())
	if err != nil {
		return err
	}
	r.print(os.Stdout, o.detail)
	return nil
}
