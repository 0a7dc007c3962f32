package main

import (
	"context"
	"fmt"
	"time"
)

// reportCmd holds the commands of reports on mail.
type reportCmd struct {
	List    reportListCmd    `cmd:"" help:"Show what other sites have reported on mail of our domains."`
	Sources reportSourcesCmd `cmd:"" help:"Show which hosts send mail of a domain, as others have seen it."`
	Send    reportSendCmd    `cmd:"" help:"Send what was counted so far to the domains that ask for it, without waiting for the end of the day."`
}

type reportListCmd struct {
	Domain string `arg:"" optional:"" help:"The domain; without it all."`
	Days   int    `help:"How far back." default:"30"`
}

func (r *reportListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	reports, err := rooms.Admin.Reports(ctx, r.Domain, r.Days)
	if err != nil {
		return err
	}
	t := out.table("DOMAIN", "FROM", "TO", "BY", "MESSAGES", "NOT PROVEN")
	for _, r := range reports {
		if out.json {
			if err := out.object(r); err != nil {
				return err
			}
			continue
		}
		t.row(r.Domain, r.Begin.Format(time.DateTime), r.End.Format(time.DateTime), r.Org, fmt.Sprint(r.Messages), fmt.Sprint(r.Failed))
	}
	if out.json {
		return nil
	}
	return t.end()
}

type reportSourcesCmd struct {
	Domain string `arg:"" help:"The domain."`
	Days   int    `help:"How far back." default:"30"`
}

func (r *reportSourcesCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	sources, err := rooms.Admin.ReportedSources(ctx, r.Domain, r.Days)
	if err != nil {
		return err
	}
	t := out.table("SOURCE", "MESSAGES", "NOT PROVEN", "REPORTERS", "SPF AND DKIM")
	for _, s := range sources {
		if out.json {
			if err := out.object(s); err != nil {
				return err
			}
			continue
		}
		t.row(s.Address, fmt.Sprint(s.Messages), fmt.Sprint(s.Failed), fmt.Sprint(s.Reporters), s.Proof)
	}
	if out.json {
		return nil
	}
	return t.end()
}

type reportSendCmd struct{}

func (*reportSendCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	rooms.Admin.SendReports()
	return out.done("reports", "asked to be sent")
}
