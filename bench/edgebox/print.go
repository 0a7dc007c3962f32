package main

import (
	"fmt"
	"io"
	"strings"
)

// style names the bots' manner.
func (p *plan) style() string {
	words := []string{fmt.Sprintf("retry %.2g", p.Retry)}
	if p.Mimic {
		words[0] = "mimic"
	}
	if p.Camouflage {
		words = append(words, "camouflage")
	}
	if p.Hits > 0 {
		words = append(words, fmt.Sprintf("hits %.2g", p.Hits))
	}
	return strings.Join(append(words, fmt.Sprintf("named %.2g, SPF %.2g", p.Named, p.SPF)), ", ")
}

// print prints the report for people.
func (r *report) print(w io.Writer) {
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	say("%s: seed %d, scale %g, %d bots (%s), attack of %g h, %.0f s", r.Server, r.Seed, r.Scale, r.Bots, r.Style, r.Hours, r.Seconds)
	l := &r.Guesses
	say("  guesses            %8d, answered %d: %.2f %%, %.2f %% of capacity; addresses found %d",
		l.Guesses, l.Answered, 100*l.Share, 100*float64(l.Answered)/l.Capacity, l.Found)
	say("  information        %8.5f bits an attempt, %.1f in all (chance alone shows %.1f)", l.BitsEach, l.BitsAll, l.Bias)
	say("  answered           %.4f of the valid, %.4f of the unknown guesses: %.1f standard deviations apart", l.AnsweredValid, l.AnsweredUnknown, l.Z)
	say("    after a retry    %d of %d valid, %d of %d unknown guesses: %.1f standard deviations apart", l.Relented[1], l.Retried[1], l.Relented[0], l.Retried[0], l.RetryZ)
	say("  replies to attempts%8s %8s", "unknown", "valid")
	for _, name := range classNames {
		if n := l.Classes[name]; n[0]+n[1] > 0 {
			say("    %-16s %8d %8d", name, n[0], n[1])
		}
	}
	for _, t := range l.Texts {
		say("                      %8d %8d  %q (so uneven by chance: p = %.2g)", t.Unknown, t.Valid, t.Text, t.Chance)
	}
	if t, e := l.Timing, l.Ending; t.Critical > 0 {
		say("  4xx reply          D %.4f (5 %% critical %.4f), medians %d and %d µs of %d and %d", t.D, t.Critical, t.MedianUs[0], t.MedianUs[1], t.Unknown, t.Valid)
		say("  session's end      D %.4f (5 %% critical %.4f), medians %d and %d µs", e.D, e.Critical, e.MedianUs[0], e.MedianUs[1])
	}
	say("  %-11s %-9s %8s %15s %21s %7s %5s %15s", "honest mail", "phase", "messages", "delayed", "min median/p95/max", "waiting", "lost", "unknown told")
	for _, s := range r.Honest {
		say("  %-11s %-9s %8d %6d %6.2f %% %6.0f/%6.0f/%6.0f %8d %5d %8d of %d", s.Kind, s.Phase, s.Messages, s.Delayed, 100*s.Share,
			s.Median, s.P95, s.Max, s.Waiting, s.Lost, s.Told, s.Unknown)
	}
	for _, t := range r.Refusals {
		say("    %8d  %q", t.Unknown+t.Valid, t.Text)
	}
	if r.Probes != nil {
		r.Probes.print(say)
	}
	say("  driver late        %.2f ms median, %.2f p99, %.1f most; p99 is %.2f %% of the shortest retry", r.Lateness.P50, r.Lateness.P99, r.Lateness.Max, 100*r.Lateness.Share)
	for _, f := range r.Findings {
		say("  TELLS: %s", f)
	}
}

func (a *adversary) print(say func(string, ...any)) {
	c, p, h := &a.Control, &a.Penalty, &a.Hammer
	say("  control bots       %d tests, %d guesses answered; the known address after the others (unknown, valid): %v; %.2f bits in all (chance %.2f)",
		c.Tests, c.Answered, c.After, c.Bits, c.Bias)
	say("  penalty probe      %v tests (unknown, valid), %v ended after %.0f min median (-1: not); D %.3f (critical %.3f)", p.Tests, p.Ended, p.MedianMin, p.D, p.Critical)
	say("  one address        %d attempts at %.0f/s: %d answered, %v", h.Attempts, h.PerSecond, h.Answered, h.Classes)
}
