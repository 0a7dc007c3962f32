package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/chain"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/query"
	"github.com/migiwa/migiwa/internal/event/story"
	"github.com/migiwa/migiwa/internal/node"
)

// logCmd reads the events of all nodes.
type logCmd struct {
	Search logSearchCmd `cmd:"" help:"Find events: from:ADDR to:ADDR ip:NET subject:WORD id:ID code:550 kind:rcpt since:2h … words."`
	Top    logTopCmd    `cmd:"" help:"Count the values of a field, such as ip, in events."`
	Export logExportCmd `cmd:"" help:"Write events to a file that shows later tampering."`
	Verify logVerifyCmd `cmd:"" help:"Tell whether an exported file is as it was written."`
	Status logStatusCmd `cmd:"" help:"Where the events are, how many, and whether any wait to be sent."`
	Fields logFieldsCmd `cmd:"" help:"Print the kinds of events and their fields as Markdown."`
}

// logQuery is what all that read events have in common.
type logQuery struct {
	Query  []string `arg:"" optional:"" help:"Words that must all be met; docs/log.md has the language." placeholder:"QUERY"`
	Since  string   `help:"From when on: 2h, 3d, today, 14:00, 2026-11-25." placeholder:"TIME"`
	Until  string   `help:"Until when." placeholder:"TIME"`
	Reason string   `help:"Why you look; it is recorded." placeholder:"TEXT"`
}

// parse reads the query; within is how far back it goes where that is not said.
func (l *logQuery) parse(within time.Duration) (*query.Query, error) {
	now := time.Now()
	q, err := query.Parse(strings.Join(l.Query, " "), now)
	if err != nil {
		return nil, misuseError(err.Error())
	}
	var span logstore.Span
	if l.Since != "" {
		if span.From, _, err = query.ParseTime(l.Since, now); err != nil {
			return nil, misuseError("--since: " + err.Error())
		}
	} else if within > 0 {
		span.From = now.Add(-within)
	}
	if l.Until != "" {
		if _, span.To, err = query.ParseTime(l.Until, now); err != nil {
			return nil, misuseError("--until: " + err.Error())
		}
	}
	return q.Within(span), nil
}

// openLog opens what reading events needs.
func (c *cli) openLog() (*admin.Admin, func() error, error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return nil, nil, err
	}
	return node.OpenLog(cfg)
}

// readLog has fn read events, and tells what was not read.
func (l *logQuery) readLog(c *cli, out *output, within time.Duration, fn func(a *admin.Admin, by admin.LogReader, q *query.Query) (archive.Result, error)) error {
	q, err := l.parse(within)
	if err != nil {
		return err
	}
	a, closeLog, err := c.openLog()
	if err != nil {
		return err
	}
	r, err := fn(a, admin.LogReader{Actor: actor, Reason: l.Reason}, q)
	err = errors.Join(err, closeLog())
	if errors.Is(err, admin.ErrLogReason) {
		return misuseError("give --reason: " + err.Error())
	}
	if err != nil {
		return err
	}
	if r.Journal != nil {
		fmt.Fprintf(out.err, "migiwa: only this node's journal was searched: %v\n", r.Journal)
	}
	if r.Torn > 0 {
		fmt.Fprintf(out.err, "migiwa: %d lines or files of the journal could not be read\n", r.Torn)
	}
	return nil
}

type logSearchCmd struct {
	logQuery `embed:""`
	Limit    int  `help:"So many events, the newest." default:"100"`
	Follow   bool `help:"Show what comes from now on, until interrupted." short:"f"`
}

func (l *logSearchCmd) Run(ctx context.Context, c *cli, out *output) error {
	within := 24 * time.Hour
	if len(l.Query) > 0 && strings.Contains(strings.Join(l.Query, " "), "since:") {
		within = 0
	}
	return l.readLog(c, out, within, func(a *admin.Admin, by admin.LogReader, q *query.Query) (archive.Result, error) {
		if l.Follow {
			return a.FollowLog(ctx, by, q, func(e event.Event) error { return printEvent(out, &e) })
		}
		var found []event.Event
		r, err := a.SearchLog(ctx, by, q, l.Limit, func(e event.Event) error {
			found = append(found, e)
			return nil
		})
		if err != nil {
			return r, err
		}
		for i := len(found) - 1; i >= 0; i-- { // the newest stands last, beside the prompt
			if err := printEvent(out, &found[i]); err != nil {
				return r, err
			}
		}
		l.sum(out, r)
		return r, nil
	})
}

// sum says how much there was, to people.
func (l *logSearchCmd) sum(out *output, r archive.Result) {
	switch {
	case out.json:
	case r.Hits == 0:
		fmt.Fprintln(out.err, "Nothing was found.")
	case r.More:
		fmt.Fprintf(out.err, "The newest %d are shown; there are more (--limit).\n", r.Hits)
	}
}

// printEvent prints one event as a line.
func printEvent(out *output, e *event.Event) error {
	if out.json {
		return out.object(e)
	}
	_, err := fmt.Fprintf(out.w, "%s  %-10s %-16s %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), shortName(e.Node), e.Trace, story.Sentence(e))
	return err
}

// shortName is a host's name without its domain.
func shortName(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}

type logTopCmd struct {
	Field    string `arg:"" help:"Field whose values are counted: ip, from, to, host, reason …" placeholder:"FIELD"`
	logQuery `embed:""`
	Limit    int `help:"So many values." default:"20"`
}

func (l *logTopCmd) Run(ctx context.Context, c *cli, out *output) error {
	if !event.IsField(l.Field) {
		return misuseError(fmt.Sprintf("%q is no field; `migiwa log fields` lists them", l.Field))
	}
	return l.readLog(c, out, time.Hour, func(a *admin.Admin, by admin.LogReader, q *query.Query) (archive.Result, error) {
		top, r, err := a.TopLog(ctx, by, q, l.Field, l.Limit)
		if err != nil || out.json {
			for i := range top {
				err = errors.Join(err, out.object(top[i]))
			}
			return r, err
		}
		t := out.table("EVENTS", strings.ToUpper(l.Field))
		for _, n := range top {
			t.row(strconv.FormatInt(n.Count, 10), n.Value)
		}
		return r, t.end()
	})
}

type logExportCmd struct {
	logQuery `embed:""`
	Output   string `help:"File to write; it must be new." short:"o" required:"" type:"path" placeholder:"FILE"`
}

func (l *logExportCmd) Run(ctx context.Context, c *cli, out *output) error {
	return l.readLog(c, out, 0, func(a *admin.Admin, by admin.LogReader, q *query.Query) (r archive.Result, err error) {
		f, err := os.OpenFile(l.Output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return r, err
		}
		r, err = a.ExportLog(ctx, by, q, f)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			os.Remove(l.Output)
			return r, err
		}
		return r, out.exported(l.Output, chain.Report{Events: int64(r.Hits), Hash: r.Hash})
	})
}

func (o *output) exported(file string, r chain.Report) error {
	if o.json {
		return o.object(r)
	}
	_, err := fmt.Fprintf(o.w, "%s: %d events, last hash %s\n", file, r.Events, r.Hash)
	return err
}

type logVerifyCmd struct {
	File string `arg:"" help:"File of log export." type:"existingfile" placeholder:"FILE"`
}

func (l *logVerifyCmd) Run(out *output) error {
	f, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := chain.Verify(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("%s was tampered with: %w", l.File, err)
	}
	return out.exported(l.File, r)
}

type logFieldsCmd struct{}

func (logFieldsCmd) Run(out *output) error {
	_, err := io.WriteString(out.w, event.Reference())
	return err
}

type logStatusCmd struct{}

func (logStatusCmd) Run(ctx context.Context, c *cli, out *output) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	status, err := node.LogStatus(ctx, cfg)
	if err != nil || out.json {
		return errors.Join(err, out.object(status))
	}
	t := out.table("JOURNAL", "FILES", "SIZE", "SINCE", "NOT YET IN THE STORE")
	for _, s := range status.Journal {
		t.row(string(s.Shelf), strconv.Itoa(s.Files), octets(s.Size), s.Oldest.Local().Format(time.DateTime), octets(s.Unconfirmed))
	}
	if err := t.end(); err != nil {
		return err
	}
	switch u := status.Store; {
	case status.Error != "":
		_, err = fmt.Fprintf(out.w, "\nThe log store cannot be asked: %s\n", status.Error)
	case u != nil:
		_, err = fmt.Fprintf(out.w, "\nThe log store has %d events in %s, uses %s of memory; %s of its disk are free.\n", u.Rows, octets(u.Disk), octets(u.Memory), octets(u.Free))
		if u.ReadOnly {
			_, err = fmt.Fprintln(out.w, "It takes no more until log.store.min_free is free; events wait in the journal.")
		}
	}
	return err
}

func octets(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
