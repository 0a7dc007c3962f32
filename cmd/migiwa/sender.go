package main

import (
	"context"
	"time"

	"github.com/migiwa/migiwa/internal/filter/access"
)

type filterSendersCmd struct {
	Address string `arg:"" help:"Address of an account."`
}

// senderLine is an entry as it is printed.
type senderLine struct {
	Sender string    `json:"sender"`
	Action string    `json:"action"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}

func (f *filterSendersCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	senders, err := rooms.Admin.Senders(ctx, f.Address)
	if err != nil {
		return err
	}
	t := out.table("SENDER", "ACTION", "SINCE", "BY")
	for _, s := range senders {
		l := senderLine{s.Pattern, s.Action, s.At.UTC(), s.By}
		if out.json {
			if err := out.object(l); err != nil {
				return err
			}
			continue
		}
		t.row(l.Sender, l.Action, l.At.Format(time.DateTime), l.By)
	}
	if out.json {
		return nil
	}
	return t.end()
}

// senderArgs are those of the commands that change the list of an account.
type senderArgs struct {
	Address string `arg:"" help:"Address of an account."`
	Sender  string `arg:"" help:"An address, a domain with all below it, or a network such as 192.0.2.0/24."`
}

type filterAllowCmd struct{ senderArgs }

func (f *filterAllowCmd) Run(ctx context.Context, c *cli, out *output) error {
	return f.list(ctx, c, out, access.Allow, "allowed")
}

type filterBlockCmd struct{ senderArgs }

func (f *filterBlockCmd) Run(ctx context.Context, c *cli, out *output) error {
	return f.list(ctx, c, out, access.Block, "blocked")
}

func (f *senderArgs) list(ctx context.Context, c *cli, out *output, action access.Action, done string) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.ListSender(ctx, actor, f.Address, f.Sender, action); err != nil {
		return err
	}
	return out.done(f.Sender, done)
}

type filterForgetCmd struct{ senderArgs }

func (f *filterForgetCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Admin.ForgetSender(ctx, actor, f.Address, f.Sender); err != nil {
		return err
	}
	return out.done(f.Sender, "forgotten")
}
