// Edgebox judges an SMTP server as its clients do, from outside: it is several
// thousand of them, honest ones and a botnet that guesses addresses, plays
// hours of their mail in minutes, and says what the botnet learned and what
// that cost the honest. README.md says how and shows figures.
//
//	go run ./bench/edgebox -migiwa bin/migiwa
//	go run ./bench/edgebox -peer postfix
//	go run ./bench/edgebox -server 127.0.0.1:2525 -present bind -scale 1
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/bench/stranger"
)

// target is the server that is judged.
type target struct {
	binary string // of migiwa
	peer   string // postfix
	server string // host:port of any other
	edge   string // lines of migiwa's [edge]
}

func main() {
	p, t := standard(), target{}
	flag.StringVar(&t.binary, "migiwa", "", "start this migiwa binary and judge it")
	flag.StringVar(&t.peer, "peer", "", "start this server and judge it: postfix (as root)")
	flag.StringVar(&t.server, "server", "", "judge the server at host:port; it has the mailboxes u0, u1, … of -domain and keeps time by itself")
	flag.StringVar(&t.edge, "edge", "", "further lines of migiwa's [edge], such as 'strict = true'")
	present := flag.String("present", "", "how addresses are claimed: proxy1, proxy2, xclient, bind (127.x.y.z), plain; default proxy2, with postfix xclient")
	seeds := flag.String("seeds", "1", "a play for each of these, with a fresh server")
	asJSON := flag.Bool("json", false, "print one JSON document a play")
	flag.Float64Var(&p.Scale, "scale", p.Scale, "scaled seconds in a second; at most 200 keeps a retry above 1.5 s")
	flag.Float64Var(&p.Warmup, "warmup", p.Warmup, "scaled hours with honest mail only, before anything counts")
	flag.Float64Var(&p.Peace, "peace", p.Peace, "scaled hours of peace")
	flag.Float64Var(&p.Attack, "attack", p.Attack, "scaled hours of attack")
	flag.Float64Var(&p.Recovery, "recovery", p.Recovery, "scaled hours afterwards")
	flag.IntVar(&p.Bots, "bots", p.Bots, "bots")
	flag.Float64Var(&p.Rate, "rate", p.Rate, "guesses of a bot an hour: each has between half and one and a half times this")
	flag.Float64Var(&p.Hits, "hits", p.Hits, "share of guesses that are right; 0: each bot its own, from 0.005 to 0.05")
	flag.Float64Var(&p.Retry, "retry", p.Retry, "share of deferred guesses that are tried again")
	flag.BoolVar(&p.Mimic, "mimic", false, "bots try again as mail servers do")
	flag.BoolVar(&p.Camouflage, "camouflage", false, "bots bring harmless mail to known addresses between their guesses")
	flag.Float64Var(&p.Named, "named", p.Named, "share of bots with a name that leads back")
	flag.Float64Var(&p.SPF, "spf", p.SPF, "share of bots with SPF")
	flag.BoolVar(&p.Adversary, "adversary", false, "also watch how a known address fares after a guess, and let one address hammer")
	flag.IntVar(&p.Users, "users", p.Users, "mailboxes")
	flag.StringVar(&p.Domain, "domain", p.Domain, "their domain")
	flag.Parse()
	if err := run(p, t, *present, *seeds, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "edgebox:", err)
		os.Exit(1)
	}
}

func run(p plan, t target, present, seeds string, asJSON bool) (err error) {
	if p.Way, err = t.way(present); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	for s := range strings.SplitSeq(seeds, ",") {
		if p.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("-seeds: %w", err)
		}
		r, err := t.judge(p)
		if err != nil {
			return err
		}
		if !asJSON {
			r.print(os.Stdout)
			continue
		}
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// way is how addresses are claimed to the target.
func (t *target) way(present string) (stranger.Way, error) {
	switch {
	case present != "":
		return stranger.ParseWay(present)
	case t.peer == "postfix":
		return stranger.XClient, nil
	}
	return stranger.Proxy2, nil
}

// judge plays p against the target and judges the log.
func (t *target) judge(p plan) (r report, err error) {
	w := newWorld(&p)
	server, name, stop, err := t.start(&p, w)
	if err != nil {
		return r, err
	}
	if stop != nil {
		defer func() { err = errors.Join(err, stop.Close()) }()
	}
	begin := time.Now()
	log := play(&p, w, server)
	r = judge(&p, log)
	r.Server, r.Seconds = name, time.Since(begin).Seconds()
	return r, nil
}

// start starts the target and gives its address, and what ends it.
func (t *target) start(p *plan, w *world) (addr, name string, stop io.Closer, err error) {
	switch {
	case t.server != "":
		return t.server, t.server, nil, nil
	case t.peer == "postfix":
		s, err := contestant.PostfixForCrowd(p.Users, p.Way, nil)
		if err != nil {
			return "", "", nil, err
		}
		return s.Addr, "postfix", s, nil
	case t.binary != "":
		edge := fmt.Sprintf("time_scale = %g\n%s", p.Scale, t.edge)
		s, err := contestant.MigiwaForCrowd(t.binary, contestant.Crowd{Users: p.Users, Zone: w.zone(), Edge: edge})
		if err != nil {
			return "", "", nil, err
		}
		return s.ProxyAddr(), "migiwa", s, nil
	}
	return "", "", nil, errors.New("give one of -migiwa, -peer postfix, -server")
}
