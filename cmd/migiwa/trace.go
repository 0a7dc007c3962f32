package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/query"
	"github.com/migiwa/migiwa/internal/event/story"
)

type traceCmd struct {
	What   []string `arg:"" help:"A trace, Message-ID, queue number, reference, or words: from ADDR to ADDR subject WORD yesterday, today, 2026-11-25." placeholder:"WHAT"`
	Reason string   `help:"Why you look; it is recorded." placeholder:"TEXT"`
}

func (t *traceCmd) Run(ctx context.Context, c *cli, out *output) error {
	a, closeLog, err := c.openLog()
	if err != nil {
		return err
	}
	stories, r, err := a.Trace(ctx, admin.LogReader{Actor: actor, Reason: t.Reason}, strings.Join(t.What, " "), time.Now())
	err = errors.Join(err, closeLog())
	t.sayRead(out, r)
	var wrong *query.Error
	switch {
	case errors.Is(err, admin.ErrLogReason):
		return misuseError("give --reason: " + err.Error())
	case errors.As(err, &wrong):
		return misuseError(err.Error())
	case err != nil:
		return err
	case out.json:
		for _, s := range stories {
			err = errors.Join(err, out.object(s))
		}
		return err
	case len(stories) == 1:
		return out.story(stories[0])
	}
	return t.choose(out, stories)
}

func (t *traceCmd) sayRead(out *output, r archive.Result) {
	if r.Journal != nil {
		fmt.Fprintf(out.err, "migiwa: only this node's journal was searched: %v\n", r.Journal)
	}
}

// choose lists several messages, to be asked for one by one.
func (t *traceCmd) choose(out *output, stories []*story.Story) error {
	fmt.Fprintf(out.w, "%d messages; ask for one by its trace:\n\n", len(stories))
	list := out.table("TRACE", "TIME", "FROM", "TO", "SUBJECT", "STATE")
	for _, s := range stories {
		name := string(s.Trace)
		if s.Of > 1 && s.Number > 0 {
			name += "#" + strconv.Itoa(s.Number)
		}
		to, state := "", ""
		if n := len(s.Recipients); n > 0 {
			to, state = s.Recipients[0].Address, string(s.Recipients[0].State)
			if n > 1 {
				to += fmt.Sprintf(" and %d more", n-1)
			}
		}
		list.row(name, s.Sentences[0].Time.Local().Format(time.DateTime), s.From, to, s.Subject, state)
	}
	return list.end()
}

// story prints the story of one message.
func (o *output) story(s *story.Story) error {
	title := "Message"
	if s.MessageID != "" {
		title += " <" + s.MessageID + ">"
	}
	if s.Subject != "" {
		title += " “" + s.Subject + "”"
	}
	fmt.Fprintf(o.w, "%s from %s\n", title, s.From)
	for _, r := range s.Recipients {
		fmt.Fprintf(o.w, "  to <%s>: %s\n", r.Address, r.Text)
	}
	fmt.Fprintln(o.w)
	day := ""
	for i, t := range s.Sentences {
		at := t.Time.Local()
		if d := at.Format("Mon 2 Jan 2006 -07:00"); d != day {
			day = d
			fmt.Fprintln(o.w, day)
		}
		if s.Left > 0 && i == len(s.Sentences)/2 {
			fmt.Fprintf(o.w, "  … %d more …\n", s.Left)
		}
		if _, err := fmt.Fprintf(o.w, "  %s  %-8s %s\n", at.Format("15:04:05"), shortName(t.Node), t.Text); err != nil {
			return err
		}
	}
	return nil
}
