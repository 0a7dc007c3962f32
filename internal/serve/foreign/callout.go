package foreign

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

// The limits of a Callout.
const (
	calloutLines = 4 // connections at once
	calloutCache = 20000
	calloutKeep  = 10 * time.Minute
	calloutLimit = 10 * time.Second
)

// Callout finds out whether a recipient exists by asking a mail server that
// does not ask us: MAIL FROM:<>, RCPT TO, and no message. What it hears is
// remembered for ten minutes, unknown ones as long as others.
type Callout struct {
	Addr  string // host:port
	Hello string // our name in EHLO

	once sync.Once
	idle chan *smtpc.Client // as many as there are lines; nil: not open

	mu       sync.Mutex
	now, old map[string]answer // two generations, so that the whole is bounded
}

// Recipients tells what a recipient is to the edge, and with which reply it is
// refused, nil where mail for it is taken. An error says nothing of either.
type Recipients func(ctx context.Context, rcpt mail.Address) (edge.Truth, *mail.Reply, error)

type answer struct {
	truth   edge.Truth
	refusal *mail.Reply
	until   time.Time
}

// Find is the Recipients of the server.
func (c *Callout) Find(ctx context.Context, rcpt mail.Address) (edge.Truth, *mail.Reply, error) {
	if a, ok := c.known(rcpt.Key()); ok {
		return a.truth, a.refusal, nil
	}
	c.once.Do(func() {
		c.idle = make(chan *smtpc.Client, calloutLines)
		for range calloutLines {
			c.idle <- nil
		}
	})
	ctx, cancel := context.WithTimeout(ctx, calloutLimit)
	defer cancel()
	var line *smtpc.Client
	select {
	case line = <-c.idle:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	line, reply, err := c.ask(ctx, line, rcpt)
	c.idle <- line
	if err == nil && reply != nil && reply.Temporary() {
		err = reply
	}
	if err != nil {
		return 0, nil, err
	}
	c.remember(rcpt.Key(), answer{truth(reply), reply, time.Now().Add(calloutKeep)})
	return truth(reply), reply, nil
}

// ask asks on an open connection, or on a new one where there is none or the
// old one turns out to be gone.
func (c *Callout) ask(ctx context.Context, line *smtpc.Client, rcpt mail.Address) (*smtpc.Client, *mail.Reply, error) {
	if line != nil {
		if reply, err := line.Ask(ctx, rcpt); err == nil {
			return keep(line, reply), reply, nil
		}
		line.Close()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, nil, err
	}
	line = smtpc.New(conn, c.Hello, false, smtpc.DefaultTimeouts)
	err = line.Start(ctx)
	var reply *mail.Reply
	if err == nil {
		reply, err = line.Ask(ctx, rcpt)
	}
	if err != nil {
		line.Close()
		return nil, nil, err
	}
	return keep(line, reply), reply, nil
}

// keep gives the connection back for the next question, unless it heard a
// refusal: servers slow down whoever hears many.
func keep(line *smtpc.Client, reply *mail.Reply) *smtpc.Client {
	if reply == nil && !line.Broken {
		return line
	}
	line.Quit()
	return nil
}

// truth reads the final reply to RCPT. Other refusals than "no such mailbox" say
// nothing of who asks.
func truth(r *mail.Reply) edge.Truth {
	switch {
	case r == nil:
		return edge.Exists
	case r.Enhanced == "5.1.1", r.Enhanced == "" && r.Code == 550:
		return edge.Unknown
	}
	return edge.Former
}

func (c *Callout) known(key string) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.now[key]
	if !ok {
		a, ok = c.old[key]
	}
	return a, ok && time.Now().Before(a.until)
}

func (c *Callout) remember(key string, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || len(c.now) >= calloutCache/2 {
		c.now, c.old = map[string]answer{}, c.now
	}
	c.now[key] = a
}
