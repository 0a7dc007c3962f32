package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/node"
	"github.com/migiwa/migiwa/internal/queue"
)

// queueCmd looks after mail on its way to other hosts. The serving process
// sees a change at once.
type queueCmd struct {
	List    queueListCmd    `cmd:"" help:"List recipients that are waiting or held."`
	Show    queueShowCmd    `cmd:"" help:"Show one message: envelope, recipients with the other hosts' words, header."`
	Retry   queueRetryCmd   `cmd:"" help:"Try waiting recipients now."`
	Hold    queueHoldCmd    `cmd:"" help:"Stop waiting recipients until they are released."`
	Release queueReleaseCmd `cmd:"" help:"Let held recipients go, now."`
	Delete  queueDeleteCmd  `cmd:"" help:"Remove recipients for good; nobody gets a report."`
}

// selection narrows a command to some recipients.
type selection struct {
	ID      int64  `arg:"" optional:"" help:"Queue number of a message."`
	To      string `help:"Recipient address." placeholder:"ADDR"`
	Domain  string `help:"Domain of recipients." placeholder:"DOMAIN"`
	From    string `help:"Envelope sender." placeholder:"ADDR"`
	NextHop string `help:"Next hop." placeholder:"NAME"`
	Account string `help:"Account that submitted it." placeholder:"ADDR"`
	Suspect bool   `help:"Only what is held as suspect: from the time for which its account was held."`
	All     bool   `help:"Everything."`
}

func (s selection) queue(ctx context.Context, rooms *node.Rooms) (queue.Selection, error) {
	sel := queue.Selection{Message: s.ID, Address: s.To, Domain: s.Domain, Sender: s.From, Route: s.NextHop}
	if s.Suspect {
		sel.Holder = queue.Suspect
	}
	if s.Account != "" {
		acct, err := rooms.Admin.Account(ctx, s.Account)
		if err != nil {
			return sel, err
		}
		sel.Account = acct.ID
	}
	return sel, nil
}

// named refuses a change of everything that was not asked for by --all.
func (s selection) named() error {
	if s == (selection{}) {
		return misuseError("name a queue number, --to, --domain, --from, --next-hop, --account or --suspect, or give --all")
	}
	return nil
}

type queueListCmd struct {
	selection `embed:""`
	State     string `help:"Only waiting or held ones." enum:",waiting,held" default:""`
	Limit     int    `help:"At most so many recipients." default:"1000"`
}

func (q *queueListCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	sel, err := q.queue(ctx, rooms)
	if err != nil {
		return err
	}
	sel.State, sel.Open = queue.State(q.State), true
	items, err := rooms.Queue.List(ctx, sel, 0, q.Limit)
	if err != nil {
		return err
	}
	if out.json {
		for _, it := range items {
			if err := out.object(newQueueRow(it)); err != nil {
				return err
			}
		}
		return nil
	}
	t := out.table("NUMBER", "AGE", "SIZE", "STATE", "TRIES", "NEXT", "FROM", "TO", "LAST ANSWER")
	for _, it := range items {
		r := newQueueRow(it)
		t.row(strconv.FormatInt(r.Number, 10), age(r.Created), strconv.FormatInt(r.Size, 10), strings.TrimSpace(r.State+" "+r.HeldFor),
			strconv.Itoa(r.Attempts), in(it), r.From, r.To, r.Answer)
	}
	return t.end()
}

// queueRow is a recipient as the command prints it.
type queueRow struct {
	Number   int64     `json:"number"`
	Trace    string    `json:"trace"`
	Origin   string    `json:"origin"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Size     int64     `json:"size"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	State    string    `json:"state"`
	HeldFor  string    `json:"held_for,omitempty"` // account: its sending is held; suspect: from that time; else an operator
	NextHop  string    `json:"next_hop"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next"`
	Host     string    `json:"host,omitempty"`
	Answer   string    `json:"answer,omitempty"`
}

func newQueueRow(it queue.Item) queueRow {
	r := queueRow{
		Number: it.Message.ID, Trace: string(it.Message.Trace), Origin: string(it.Message.Origin),
		Created: it.Message.Created.UTC(), Expires: it.Message.Expires.UTC(), Size: it.Message.Size,
		From: it.Message.From.Path(), To: it.Address.Path(), State: string(it.State), HeldFor: string(it.Holder), NextHop: it.Route,
		Attempts: it.Attempts, Next: it.Next.UTC(), Host: it.Last.Host,
	}
	if it.Last.Code != 0 {
		r.Answer = fmt.Sprintf("%d %s %s", it.Last.Code, it.Last.Enhanced, it.Last.Text)
	}
	return r
}

func age(t time.Time) string { return time.Since(t).Round(time.Second).String() }

// in tells when a recipient is tried next.
func in(it queue.Item) string {
	if it.State != queue.Waiting {
		return "-"
	}
	if d := time.Until(it.Next).Round(time.Second); d > 0 {
		return "in " + d.String()
	}
	return "now"
}

type queueShowCmd struct {
	ID int64 `arg:"" help:"Queue number of the message."`
}

func (q *queueShowCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	items, err := rooms.Queue.List(ctx, queue.Selection{Message: q.ID}, 0, 1<<20)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return fmt.Errorf("no message %d in the queue", q.ID)
	}
	for _, it := range items {
		if err := out.object(newQueueRow(it)); err != nil {
			return err
		}
	}
	if out.json {
		return nil
	}
	m := items[0].Message
	fmt.Fprintf(out.w, "\n%s", m.Prefix)
	body, err := rooms.Bodies.Open(ctx, m.Body)
	if err != nil {
		return err
	}
	defer body.Close()
	return copyHeader(out.w, body)
}

// copyHeader prints the header section of a message.
func copyHeader(w io.Writer, r io.Reader) error {
	h, err := mail.ReadHeader(bufio.NewReader(r), mail.DefaultHeaderLimits())
	if err != nil {
		return err
	}
	_, err = h.WriteTo(w)
	return err
}

type queueRetryCmd struct {
	selection `embed:""`
}

func (q *queueRetryCmd) Run(ctx context.Context, c *cli, out *output) error {
	return q.change(ctx, c, out, "tried now", (*admin.Admin).RetryQueue)
}

type queueHoldCmd struct {
	selection `embed:""`
}

func (q *queueHoldCmd) Run(ctx context.Context, c *cli, out *output) error {
	return q.change(ctx, c, out, "held", (*admin.Admin).HoldQueue)
}

type queueReleaseCmd struct {
	selection `embed:""`
}

func (q *queueReleaseCmd) Run(ctx context.Context, c *cli, out *output) error {
	return q.change(ctx, c, out, "released", (*admin.Admin).ReleaseQueue)
}

type queueDeleteCmd struct {
	selection `embed:""`
}

func (q *queueDeleteCmd) Run(ctx context.Context, c *cli, out *output) error {
	return q.change(ctx, c, out, "deleted", (*admin.Admin).DeleteQueue)
}

// change runs one of the actions and tells how many recipients it met.
func (s selection) change(ctx context.Context, c *cli, out *output, done string,
	action func(*admin.Admin, context.Context, string, queue.Selection) (int64, error)) error {
	if err := s.named(); err != nil {
		return err
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	sel, err := s.queue(ctx, rooms)
	if err != nil {
		return err
	}
	n, err := action(rooms.Admin, ctx, actor, sel)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(map[string]int64{"recipients": n})
	}
	_, err = fmt.Fprintf(out.w, "%d recipients %s\n", n, done)
	return err
}
