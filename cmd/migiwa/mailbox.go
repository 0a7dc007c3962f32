package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/migiwa/migiwa/internal/store/body"
)

// mailboxCmd looks at mailboxes.
type mailboxCmd struct {
	List    mailboxListCmd    `cmd:"" help:"List the folders of an account."`
	Check   mailboxCheckCmd   `cmd:"" help:"Count everything again and tell what is not right; exit status 1 when something is."`
	Recount mailboxRecountCmd `cmd:"" help:"Mend what check finds in counters and quotas."`
	Reindex mailboxReindexCmd `cmd:"" help:"Make anew what SEARCH finds texts by; it makes the first search of an account quick, too."`
}

type mailboxListCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (m *mailboxListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	acct, err := rooms.Admin.Account(ctx, m.Address)
	if err != nil {
		return err
	}
	folders, err := rooms.Mailboxes.Folders(ctx, acct.ID)
	if err != nil {
		return err
	}
	t := out.table("FOLDER", "USE", "MESSAGES", "UNSEEN", "OCTETS")
	for _, f := range folders {
		if out.json {
			if err := out.object(map[string]any{
				"folder": f.Name, "use": f.Role, "messages": f.Messages, "unseen": f.Unseen, "octets": f.Size,
			}); err != nil {
				return err
			}
			continue
		}
		t.row(f.Name, f.Role, strconv.FormatInt(f.Messages, 10), strconv.FormatInt(f.Unseen, 10), strconv.FormatInt(f.Size, 10))
	}
	if out.json {
		return nil
	}
	return t.end()
}

type mailboxCheckCmd struct {
	Fast bool `help:"Leave out the bodies."`
}

func (m *mailboxCheckCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	found, err := rooms.Mailboxes.Check(ctx)
	if err != nil {
		return err
	}
	var texts []string
	for _, p := range found {
		texts = append(texts, p.String())
	}
	if !m.Fast {
		err = rooms.Bodies.Check(ctx, func(p body.Problem) error { texts = append(texts, p.String()); return nil })
		if err != nil {
			return err
		}
	}
	for _, text := range texts {
		if out.json {
			err = out.object(map[string]string{"problem": text})
		} else {
			_, err = fmt.Fprintln(out.w, text)
		}
		if err != nil {
			return err
		}
	}
	if len(texts) > 0 {
		return fmt.Errorf("%d inconsistencies", len(texts))
	}
	if out.json {
		return nil
	}
	_, err = fmt.Fprintln(out.w, "everything is as it must be")
	return err
}

type mailboxRecountCmd struct{}

func (mailboxRecountCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	if err := rooms.Mailboxes.Repair(ctx); err != nil {
		return err
	}
	return out.done("counters", "mended")
}

type mailboxReindexCmd struct {
	Address string `arg:"" help:"Address of the account."`
}

func (m *mailboxReindexCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	n, err := rooms.Admin.ReindexMail(ctx, actor, m.Address)
	if err != nil {
		return err
	}
	return out.done(fmt.Sprintf("%d messages of %s", n, m.Address), "indexed")
}
