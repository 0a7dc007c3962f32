package main

import (
	"context"
	"fmt"
	"time"
)

type filterListCmd struct {
	Subject string `arg:"" help:"Address of an account, or a domain for its default."`
}

func (f *filterListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	modes, err := rooms.Admin.Filters(ctx, f.Subject)
	if err != nil {
		return err
	}
	t := out.table("FILTER", "MODE", "FROM", "WHAT IT DOES")
	for _, m := range modes {
		if out.json {
			if err := out.object(m); err != nil {
				return err
			}
			continue
		}
		t.row(m.Filter, m.Mode, m.From, m.Doc)
	}
	if out.json {
		return nil
	}
	return t.end()
}

type filterSetCmd struct {
	Subject  string   `arg:"" help:"Address of an account, or a domain for its default."`
	Settings []string `arg:"" name:"filter=mode" help:"Mode off, nothing, label, junk, quarantine, tempfail or default; filter all for all of them."`
}

func (f *filterSetCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.SetFilters(ctx, actor, "command", f.Subject, f.Settings); err != nil {
		return err
	}
	return out.done(f.Subject, "set")
}

type filterHistoryCmd struct {
	Subject string `arg:"" optional:"" help:"Address of an account, or a domain; without it all changes."`
}

// consentLine is a change as it is printed.
type consentLine struct {
	At      time.Time `json:"at"`
	Subject string    `json:"subject"`
	Filter  string    `json:"filter"`
	Old     string    `json:"old"`
	New     string    `json:"new"`
	By      string    `json:"by"`
	Via     string    `json:"via"`
}

func (f *filterHistoryCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	changes, err := rooms.Admin.FilterHistory(ctx, f.Subject)
	if err != nil {
		return err
	}
	t := out.table("WHEN", "WHOSE", "FILTER", "FROM", "TO", "BY", "VIA")
	for _, c := range changes {
		l := consentLine{c.At.UTC(), c.Subject, c.Filter, orDefault(c.Old), orDefault(c.New), c.By, c.Via}
		if out.json {
			if err := out.object(l); err != nil {
				return err
			}
			continue
		}
		t.row(l.At.Format(time.DateTime), l.Subject, l.Filter, l.Old, l.New, l.By, l.Via)
	}
	if out.json {
		return nil
	}
	return t.end()
}

func orDefault(mode string) string {
	if mode == "" {
		return "default"
	}
	return mode
}

type filterChannelCmd struct {
	Address string `arg:"" help:"Address of an account."`
	Domain  string `arg:"" help:"Whose mail shall come to the new address."`
}

func (f *filterChannelCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	a, err := rooms.Admin.Channel(ctx, f.Address, f.Domain)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(map[string]string{"address": a.String()})
	}
	_, err = fmt.Fprintln(out.w, a)
	return err
}
