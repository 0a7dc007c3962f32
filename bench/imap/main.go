// Imap measures migiwa's IMAP server beside Dovecot, in turns, with one client
// program and TLS for both.
//
//	go run ./bench/imap -migiwa bin/migiwa
//
// README.md says what is measured and with which settings.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/bench/contestant"
)

// sizes are how much is done.
type sizes struct {
	Append   int // messages over one connection; ten times as many over 20
	Messages int // in the mailbox that is read
	Store    int // single STORE commands over one connection
	Large    int // messages of the mailbox that is only selected
	Sync     int // messages that mbsync fetches
	Idle     int // connections in IDLE
}

func main() {
	var z sizes
	flag.IntVar(&z.Append, "append", 500, "messages appended over one connection")
	flag.IntVar(&z.Messages, "messages", 10000, "messages read, which 20 connections append")
	flag.IntVar(&z.Store, "store", 1000, "single STORE commands over one connection; five times as many over 20")
	flag.IntVar(&z.Large, "large", 100000, "messages of the mailbox that is selected; 0: leave out")
	flag.IntVar(&z.Sync, "sync", 5000, "messages that mbsync fetches; 0: leave out")
	flag.IntVar(&z.Idle, "idle", 1000, "connections in IDLE")
	rounds := flag.Int("rounds", 3, "rounds of each contestant, in turns")
	binary := flag.String("migiwa", "", "the migiwa binary; empty: only Dovecot")
	location := flag.String("location", "maildir:~/Maildir", "Dovecot's mail_location")
	fsync := flag.String("fsync", "always", "Dovecot's mail_fsync")
	flag.Parse()
	starts := []func() (contestant.MailboxServer, error){
		func() (contestant.MailboxServer, error) { return contestant.Dovecot(*location, *fsync) },
	}
	if *binary != "" {
		starts = append(starts, func() (contestant.MailboxServer, error) { return contestant.MigiwaForIMAP(*binary) })
	}
	if err := run(starts, *rounds, z); err != nil {
		fmt.Fprintln(os.Stderr, "imap:", err)
		os.Exit(1)
	}
}

func run(starts []func() (contestant.MailboxServer, error), rounds int, z sizes) error {
	fmt.Println(contestant.Machine())
	all := &results{}
	for round := range rounds {
		for _, start := range starts {
			server, err := start()
			if err != nil {
				return err
			}
			fmt.Printf("  round %d %s\n", round+1, server.Name())
			err = errors.Join(measure(server, z, all), server.Close())
			if err != nil {
				return fmt.Errorf("%s: %w", server.Name(), err)
			}
		}
		slices.Reverse(starts) // who was last is next: neither always runs on a warmer machine
	}
	all.print()
	return nil
}

// results are the values of all rounds, by measure and server.
type results struct {
	measures []measureOf
	values   map[string]map[string][]float64
}

// measureOf says how a value reads.
type measureOf struct {
	name, unit string
	less       bool // less is better
}

func (r *results) add(m measureOf, server string, value float64) {
	if r.values == nil {
		r.values = map[string]map[string][]float64{}
	}
	if r.values[m.name] == nil {
		r.values[m.name] = map[string][]float64{}
		r.measures = append(r.measures, m)
	}
	r.values[m.name][server] = append(r.values[m.name][server], value)
	fmt.Printf("    %-34s %12.2f %s\n", m.name, value, m.unit)
}

// print writes medians, and how many times better migiwa's is.
func (r *results) print() {
	fmt.Printf("\n%-34s %-6s %24s %24s %7s\n", "median (min to max)", "", "dovecot", "migiwa", "ratio")
	for _, m := range r.measures {
		d, ours := r.values[m.name]["dovecot"], r.values[m.name]["migiwa"]
		ratio := "-"
		if len(d) > 0 && len(ours) > 0 {
			n := median(ours) / median(d)
			if m.less {
				n = 1 / n
			}
			ratio = fmt.Sprintf("%.2f", n)
		}
		fmt.Printf("%-34s %-6s %24s %24s %7s\n", m.name, m.unit, spread(d), spread(ours), ratio)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func spread(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	f := func(v float64) string {
		if v < 10 {
			return fmt.Sprintf("%.3f", v)
		}
		return fmt.Sprintf("%.0f", v)
	}
	return strings.Join([]string{f(median(values)), " (", f(slices.Min(values)), " to ", f(slices.Max(values)), ")"}, "")
}
