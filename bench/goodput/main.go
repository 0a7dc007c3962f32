// Goodput measures how much honest mail a server takes while a botnet hammers
// it: migiwa, Postfix with Debian's defaults, and Postfix with postscreen, in
// turns, on this machine.
//
//	go run ./bench/goodput -migiwa bin/migiwa
//
// Each of -bots connections guesses one recipient, quits and comes again at
// once, from another address. Beside them -clients honest servers send one
// message after the other, as fast as they are let. README.md shows figures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/bench/stranger"
)

// load is what every contestant is put to.
type load struct {
	Bots    int           // connections at once
	Pool    int           // addresses they come from
	Clients int           // honest servers sending at once
	Honest  int           // addresses they send from
	Users   int           // mailboxes
	Head    time.Duration // the bots' head start
	Round   time.Duration // measured
}

// warmup is how long honest servers are known before. migiwa's edge keeps time
// at timeScale meanwhile, so that it has known them for some hours; then it is
// restarted and keeps the world's time.
const (
	timeScale = 600
	warmup    = 20 * time.Second
	letters   = 4 // from each address in that time
)

func main() {
	l := load{}
	flag.IntVar(&l.Bots, "bots", 2000, "bot connections at once")
	flag.IntVar(&l.Pool, "pool", 20000, "addresses they come from")
	flag.IntVar(&l.Clients, "clients", 8, "honest servers sending at once")
	flag.IntVar(&l.Honest, "honest", 200, "addresses they send from")
	flag.IntVar(&l.Users, "users", 2000, "mailboxes")
	flag.DurationVar(&l.Head, "head", 5*time.Second, "head start of the bots")
	flag.DurationVar(&l.Round, "round", 20*time.Second, "time measured")
	rounds := flag.Int("rounds", 3, "rounds of each contestant, in turns")
	binary := flag.String("migiwa", "", "the migiwa binary")
	only := flag.String("only", "migiwa,postfix,postscreen,postscreen-deep", "the contestants")
	asJSON := flag.Bool("json", false, "print one JSON object a round")
	flag.Parse()
	if err := run(l, *rounds, *binary, *only, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "goodput:", err)
		os.Exit(1)
	}
}

func run(l load, rounds int, binary, only string, asJSON bool) error {
	names := strings.Split(only, ",")
	if !asJSON {
		fmt.Println(contestant.Machine())
	}
	results := make(map[string][]result)
	for n := range rounds {
		for _, name := range names {
			r, err := round(l, name, binary)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			results[name] = append(results[name], r)
			if asJSON {
				if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
					return err
				}
				continue
			}
			fmt.Printf("  round %d  %s\n", n+1, r)
		}
	}
	if asJSON {
		return nil
	}
	fmt.Printf("medians of %d rounds of %v, %d bot connections:\n", rounds, l.Round, l.Bots)
	for _, name := range names {
		fmt.Printf("           %s\n", medians(results[name]))
	}
	return nil
}

// deep are the tests of postscreen that are off by default.
var deep = map[string]string{
	"postscreen_greet_action":            "enforce",
	"postscreen_pipelining_enable":       "yes",
	"postscreen_non_smtp_command_enable": "yes",
	"postscreen_bare_newline_enable":     "yes",
}

// server is a running contestant.
type server struct {
	addr  string
	way   stranger.Way // how it is told addresses
	close func() error
	begin func() error // called between the warm-up and the attack; may be nil
}

// start starts a contestant. Postfix does not look up names: that would measure
// the resolver of this machine.
func start(name, binary string, l load) (server, error) {
	parameters := map[string]string{"smtpd_peername_lookup": "no"}
	way := stranger.Proxy2
	switch name {
	case "migiwa":
		edge := fmt.Sprintf("time_scale = %d", timeScale)
		m, err := contestant.MigiwaForCrowd(binary, contestant.Crowd{Users: l.Users, Zone: zone(l), Edge: edge})
		if err != nil {
			return server{}, err
		}
		return server{m.ProxyAddr(), way, m.Close, func() error { return m.Restart("") }}, nil
	case "postfix":
		way = stranger.Bind
	case "postscreen":
	case "postscreen-deep":
		for key, value := range deep {
			parameters[key] = value
		}
	default:
		return server{}, fmt.Errorf("there is no contestant %q", name)
	}
	p, err := contestant.PostfixForCrowd(l.Users, way, parameters)
	if err != nil {
		return server{}, err
	}
	return server{p.Addr, way, p.Close, nil}, nil
}

// result is what one round showed, or the medians of some.
type result struct {
	Name       string  `json:"name"`
	PerSecond  float64 `json:"honest_per_second"`
	P50        float64 `json:"delay_p50_ms"`
	P99        float64 `json:"delay_p99_ms"`
	Max        float64 `json:"delay_max_ms"`
	Retries    float64 `json:"retries"` // of honest messages that were not taken at once
	Unfinished float64 `json:"unfinished"`
	Guesses    float64 `json:"bot_sessions_per_second"`
	Answered   float64 `json:"guesses_answered_share"`
}

func (r result) String() string {
	return fmt.Sprintf("%-16s %7.1f messages/s, delay p50 %7.1f p99 %8.1f max %8.1f ms, %4.0f retries, %2.0f unfinished; bots %6.0f sessions/s, %5.1f %% answered",
		r.Name, r.PerSecond, r.P50, r.P99, r.Max, r.Retries, r.Unfinished, r.Guesses, 100*r.Answered)
}

func medians(rs []result) result {
	of := func(f func(result) float64) float64 {
		var s []float64
		for _, r := range rs {
			s = append(s, f(r))
		}
		slices.Sort(s)
		return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	}
	return result{
		Name:       rs[0].Name,
		PerSecond:  of(func(r result) float64 { return r.PerSecond }),
		P50:        of(func(r result) float64 { return r.P50 }),
		P99:        of(func(r result) float64 { return r.P99 }),
		Max:        of(func(r result) float64 { return r.Max }),
		Retries:    of(func(r result) float64 { return r.Retries }),
		Unfinished: of(func(r result) float64 { return r.Unfinished }),
		Guesses:    of(func(r result) float64 { return r.Guesses }),
		Answered:   of(func(r result) float64 { return r.Answered }),
	}
}
