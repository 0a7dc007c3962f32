package contestant

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// Load is what smtp-source sends.
type Load struct {
	Addr     string // host:port of the server
	To       string // the recipient of every message
	Sessions int    // parallel sessions
	Messages int    // in all
	Size     int    // bytes of each message
	Keep     bool   // send many messages over each connection (smtp-source -d)
}

// Send runs Postfix's smtp-source until every message is answered with 250.
func Send(l Load) error {
	args := []string{
		"-s", strconv.Itoa(l.Sessions), "-m", strconv.Itoa(l.Messages), "-l", strconv.Itoa(l.Size),
		"-f", "source@client.test", "-t", l.To, "-M", "client.test",
	}
	if l.Keep {
		args = append(args, "-d")
	}
	cmd, err := peers.PostfixTool("smtp-source", append(args, l.Addr)...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	return nil
}

// WaitFor polls count until it reaches n, and returns when that was.
func WaitFor(n int, count func() (int, error), limit time.Duration) (time.Time, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(25 * time.Millisecond) {
		have, err := count()
		now := time.Now()
		switch {
		case err != nil:
			return now, err
		case have == n:
			return now, nil
		case have > n:
			return now, fmt.Errorf("%d messages have arrived, though %d were sent", have, n)
		case now.After(deadline):
			return now, fmt.Errorf("only %d messages of %d have arrived within %v", have, n, limit)
		}
	}
}

// Rates collects the messages per second of each contestant's rounds.
type Rates map[string][]float64

// Add records one round.
func (r Rates) Add(name string, messages int, took time.Duration) float64 {
	rate := float64(messages) / took.Seconds()
	r[name] = append(r[name], rate)
	return rate
}

// Report prints min, median and max of each contestant, and how many times
// Postfix's rate migiwa's is: that of the medians, and round by round, which a
// machine whose speed drifts disturbs less.
func (r Rates) Report(title string) {
	fmt.Printf("%s, messages/s:\n", title)
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(r))) {
		s := slices.Sorted(slices.Values(r[name]))
		fmt.Printf("  %-12s min %8.0f   median %8.0f   max %8.0f   (%d rounds)\n", name, s[0], median(s), s[len(s)-1], len(s))
	}
	p, m := r["postfix"], r["migiwa"]
	if len(p) == 0 || len(p) != len(m) {
		return
	}
	pairs := make([]float64, len(p))
	for i := range p {
		pairs[i] = m[i] / p[i]
	}
	slices.Sort(pairs)
	fmt.Printf("  migiwa / postfix: %.2f (medians); round by round min %.2f   median %.2f   max %.2f\n",
		median(slices.Sorted(slices.Values(m)))/median(slices.Sorted(slices.Values(p))), pairs[0], median(pairs), pairs[len(pairs)-1])
}

// median of sorted values.
func median(s []float64) float64 {
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Machine describes the conditions of a run: a figure without them says little.
func Machine() string {
	load, _ := os.ReadFile("/proc/loadavg") // absent elsewhere than on Linux
	cpu := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	cores := 0
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			cpu, cores = strings.TrimSpace(value), cores+1
		}
	}
	return fmt.Sprintf("%s, %d x %s, load average %s", time.Now().UTC().Format(time.RFC3339), cores, cpu, strings.TrimSpace(string(load)))
}
