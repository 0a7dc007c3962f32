package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/node"
)

type edgeReplayCmd struct {
	Events []string          `arg:"" help:"Files of the journal, of one node or of several: sessions-* and messages-*." type:"existingfile" placeholder:"EVENTS"`
	Set    map[string]string `help:"A rule to try, such as disclosure=300 or strict=true; repeat it for more. A wrong name lists all there are." placeholder:"KEY=VALUE" mapsep:"none"`
	Limit  int               `help:"So many senders." default:"50"`
}

func (r *edgeReplayCmd) Run(ctx context.Context, c *cli, out *output) error {
	rules, err := r.rules(c)
	if err != nil {
		return err
	}
	report, err := (&edge.Replay{Rules: rules, Files: r.Events}).Run(ctx)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(struct {
			Set map[string]string `json:"set"`
			*edge.Report
		}{r.Set, report})
	}
	return r.print(out, report)
}

// rules gives those in force here, or the usual ones where there is no
// configuration, with what is to be tried.
func (r *edgeReplayCmd) rules(c *cli) (edge.Rules, error) {
	rules := edge.DefaultRules()
	cfg, err := config.Load(c.Config)
	switch {
	case err == nil:
		rules = node.EdgeRules(cfg)
	case !errors.Is(err, fs.ErrNotExist):
		return rules, err
	}
	for key, value := range r.Set {
		if err := rules.Set(key, value); err != nil {
			return rules, misuseError("--set: " + err.Error())
		}
	}
	return rules, nil
}

func (r *edgeReplayCmd) print(out *output, p *edge.Report) error {
	fmt.Fprintf(out.w, "%d events, %s to %s; %d torn lines, %d misdated events\n", p.Events,
		p.From.UTC().Format(time.DateTime), p.To.UTC().Format(time.DateTime), p.Torn, p.Misdated)
	var tried []string
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		tried = append(tried, key+"="+r.Set[key])
	}
	fmt.Fprintf(out.w, "Proposed: %s\n", cmp.Or(strings.Join(tried, " "), "the rules in force"))
	fmt.Fprintf(out.w, "%s\n", p.Classes)
	fmt.Fprintf(out.w, "A delay is at least so long (≥) where the sender had no reason to try again in these files.\n\n")
	t := out.table("", "IN ALL", "HAPPENED", "PROPOSED")
	row := func(name string, all int, n edge.Count) {
		t.row(name, strconv.Itoa(all), strconv.Itoa(n.Then), strconv.Itoa(n.Now))
	}
	row(fmt.Sprintf("guesses of %d attackers, answered", p.Attackers.Sources), p.Attackers.Attempts, p.Attackers.Answered)
	t.row("valid addresses they were told of", "", strconv.Itoa(p.Found.Then), strconv.Itoa(p.Found.Now))
	row(fmt.Sprintf("attempts of %d unclear sources, answered", p.Unclear.Sources), p.Unclear.Attempts, p.Unclear.Answered)
	s := p.Senders
	row(fmt.Sprintf("recipients of %d senders, delayed", s.Sources), s.Recipients, s.Delayed)
	row("their unknown recipients, told at once", s.Unknown, s.Told)
	t.row("delay, median", "", s.SpansThen.Median.String(), s.SpansNow.Median.String())
	t.row("delay, 95 %", "", s.SpansThen.P95.String(), s.SpansNow.P95.String())
	t.row("delay, longest", "", s.SpansThen.Longest.String(), s.SpansNow.Longest.String())
	t.row("delay known as a least only (≥)", "", "", strconv.Itoa(s.Assumed))
	t.row("not let in within five days", "", "", strconv.Itoa(s.GivenUp))
	t.row("not tried again, or too early", "", "", strconv.Itoa(s.Open))
	if err := t.end(); err != nil {
		return err
	}
	return r.printSenders(out, p.Delayed)
}

func (r *edgeReplayCmd) printSenders(out *output, delayed []edge.SenderReport) error {
	if len(delayed) == 0 {
		_, err := fmt.Fprintln(out.w, "\nNo sender was delayed, and none would have been.")
		return err
	}
	fmt.Fprintln(out.w)
	t := out.table("SENDER", "NAME", "IDENTITY", "DELAYED", "PROPOSED", "LONGEST", "PROPOSED")
	for _, s := range delayed[:min(len(delayed), max(r.Limit, 0))] {
		now := s.Longest.Now.String()
		switch {
		case s.GivenUp > 0:
			now = "over 5 d"
		case s.Open > 0 && s.Longest.Now == 0:
			now = "open"
		case s.Assumed > 0:
			now = "≥ " + now
		}
		t.row(s.Source, s.Name, s.Identity, strconv.Itoa(s.Delayed.Then), strconv.Itoa(s.Delayed.Now), s.Longest.Then.String(), now)
	}
	if more := len(delayed) - r.Limit; more > 0 {
		t.row(fmt.Sprint("and ", more, " more"))
	}
	return t.end()
}
