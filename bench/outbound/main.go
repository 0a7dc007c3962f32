// Outbound measures how fast mail for another host leaves: through Postfix
// (relay_domains and a transport) and through migiwa (a route of the same
// kind), in turns, from smtp-source to smtp-sink.
//
//	go run ./bench/outbound -messages 20000 -rounds 3 -migiwa bin/migiwa
//
// In the shape "backlog" the destination is down while the mail comes in; then
// it is back and the operator has the queue tried at once. The clock runs from
// there until the last message is at the destination: this is the queue alone.
// In the shape "flow" the destination is up, and the clock runs from the first
// message in to the last one out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/test/peers"
)

const (
	domain   = "away.test"
	patience = 20 * time.Minute // for one round
	// settle is how long a full queue is left alone, until the last attempt
	// at the absent destination is over.
	settle = 3 * time.Second
)

func main() {
	messages := flag.Int("messages", 5000, "messages a round")
	sessions := flag.Int("sessions", 20, "parallel sessions that bring them")
	rounds := flag.Int("rounds", 3, "rounds of each contestant")
	size := flag.Int("size", 4096, "bytes a message")
	shape := flag.String("shape", "backlog", "backlog or flow")
	binary := flag.String("migiwa", "", "the migiwa binary; empty: only Postfix")
	flag.Parse()
	load := contestant.Load{To: "someone@" + domain, Messages: *messages, Sessions: *sessions, Size: *size}
	if err := run(load, *shape, *rounds, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "outbound:", err)
		os.Exit(1)
	}
}

func run(load contestant.Load, shape string, rounds int, binary string) error {
	measure, ok := map[string]func(contestant.Server, string, contestant.Load) (time.Duration, error){
		"backlog": backlog,
		"flow":    flow,
	}[shape]
	if !ok {
		return fmt.Errorf("-shape: %q is neither backlog nor flow", shape)
	}
	starts := []contestant.Start{contestant.Postfix}
	if binary != "" {
		starts = append(starts, contestant.Migiwa(binary, nil))
	}
	fmt.Println(contestant.Machine())
	rates := make(contestant.Rates)
	for round := range rounds {
		for _, start := range starts {
			name, took, err := oneRound(start, measure, load)
			if err != nil {
				return err
			}
			rate := rates.Add(name, load.Messages, took)
			fmt.Printf("  round %d %-8s %6.2f s: %7.0f/s\n", round+1, name, took.Seconds(), rate)
		}
	}
	rates.Report(fmt.Sprintf("outbound, %s, %d messages of %d bytes", shape, load.Messages, load.Size))
	return nil
}

func oneRound(start contestant.Start, measure func(contestant.Server, string, contestant.Load) (time.Duration, error), load contestant.Load) (name string, took time.Duration, err error) {
	port, err := peers.FreePort()
	if err != nil {
		return "", 0, err
	}
	sink := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	server, err := start(map[string]string{domain: sink})
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	load.Addr = server.Addr()
	took, err = measure(server, sink, load)
	if err != nil {
		err = fmt.Errorf("%s: %w", server.Name(), err)
	}
	return server.Name(), took, err
}

// backlog fills the queue while nobody listens at sink, then times its
// emptying.
func backlog(server contestant.Server, sink string, load contestant.Load) (took time.Duration, err error) {
	if err := contestant.Send(load); err != nil {
		return 0, err
	}
	time.Sleep(settle)
	s, err := peers.StartSMTPSinkAt(sink, peers.SMTPSinkOptions{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	begin := time.Now()
	if err := server.RetryNow(); err != nil {
		return 0, err
	}
	end, err := contestant.WaitFor(load.Messages, s.Count, patience)
	return end.Sub(begin), err
}

// flow times mail from its arrival here to its arrival at sink.
func flow(_ contestant.Server, sink string, load contestant.Load) (took time.Duration, err error) {
	s, err := peers.StartSMTPSinkAt(sink, peers.SMTPSinkOptions{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	begin := time.Now()
	if err := contestant.Send(load); err != nil {
		return 0, err
	}
	end, err := contestant.WaitFor(load.Messages, s.Count, patience)
	return end.Sub(begin), err
}
