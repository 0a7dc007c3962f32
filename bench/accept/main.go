// Accept measures how many messages a second a server takes from strangers and
// lays into a mailbox: Postfix with Debian's defaults and a Maildir, and beside
// it migiwa, in turns, under Postfix's own smtp-source.
//
//	go run ./bench/accept -sessions 20,100 -messages 5000 -rounds 5 -migiwa bin/migiwa
//
// The clock runs from the start of smtp-source until every message lies in the
// mailbox: a file in the Maildir, a message that POP3 counts.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/test/peers"
)

const patience = 10 * time.Minute // for one round

func main() {
	sessions := flag.String("sessions", "20,100", "parallel sessions, each number a run of its own")
	messages := flag.Int("messages", 5000, "messages a round")
	rounds := flag.Int("rounds", 3, "rounds of each contestant")
	size := flag.Int("size", 4096, "bytes a message")
	keep := flag.Bool("d", false, "keep connections open: many messages over each")
	binary := flag.String("migiwa", "", "the migiwa binary; empty: only Postfix")
	postgres := flag.Bool("postgres", false, "migiwa keeps its rows in a PostgreSQL of its own, with fsync as by default")
	events := flag.String("events", "", "a migiwa built with -tags noevents: it, and migiwa with events but no log store, take part instead of Postfix")
	flag.Parse()
	load := contestant.Load{Messages: *messages, Size: *size, Keep: *keep}
	if err := run(*sessions, *rounds, load, *binary, *events, *postgres); err != nil {
		fmt.Fprintln(os.Stderr, "accept:", err)
		os.Exit(1)
	}
}

func run(sessions string, rounds int, load contestant.Load, binary, events string, postgres bool) (err error) {
	starts := []contestant.Start{contestant.Postfix}
	if events != "" {
		off := "\n[log.store]\nurl = \"off\"\n"
		starts = []contestant.Start{contestant.MigiwaAs("events off", events, off), contestant.MigiwaAs("journal only", binary, off)}
	}
	var cluster *peers.PostgresServer
	if postgres {
		if cluster, err = peers.StartPostgres(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Close()) }()
	}
	if binary != "" {
		starts = append(starts, contestant.Migiwa(binary, cluster))
	}
	for s := range strings.SplitSeq(sessions, ",") {
		if load.Sessions, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("-sessions: %w", err)
		}
		fmt.Println(contestant.Machine())
		rates := make(contestant.Rates)
		for round := range rounds {
			for _, start := range starts {
				if err := oneRound(start, load, rates, round); err != nil {
					return err
				}
			}
		}
		rates.Report(fmt.Sprintf("%d messages of %d bytes, %d sessions, connections kept: %t", load.Messages, load.Size, load.Sessions, load.Keep))
	}
	return nil
}

// oneRound starts a fresh server, fills its mailbox and adds the rate.
func oneRound(start contestant.Start, load contestant.Load, rates contestant.Rates, round int) (err error) {
	server, err := start(nil)
	if err != nil {
		return err
	}
	defer func() {
		if e := server.Close(); err == nil && e != nil {
			err = fmt.Errorf("closing %s: %w", server.Name(), e)
		}
	}()
	load.Addr, load.To = server.Addr(), contestant.Recipient
	begin := time.Now()
	if err := contestant.Send(load); err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	accepted := time.Since(begin)
	end, err := contestant.WaitFor(load.Messages, server.Delivered, patience)
	if err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	rate := rates.Add(server.Name(), load.Messages, end.Sub(begin))
	fmt.Printf("  round %d %-8s accepted in %6.2f s, in the mailbox after %6.2f s: %7.0f/s\n",
		round+1, server.Name(), accepted.Seconds(), end.Sub(begin).Seconds(), rate)
	return nil
}
