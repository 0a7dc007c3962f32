package pop3d

import (
	"bytes"
	"context"
	"strconv"
	"strings"
)

// Where a command may be given.
type place int

const (
	anywhere place = iota
	before         // login: AUTHORIZATION state
	after          // login: TRANSACTION state
)

type command struct {
	place place
	run   func(c *conn, ctx context.Context, arg string) error
}

// commands by keyword. A command replies; its error ends the connection.
var commands = map[string]command{
	"CAPA": {anywhere, (*conn).capa},
	"QUIT": {anywhere, (*conn).quit},
	"STLS": {before, (*conn).stls},
	"USER": {before, (*conn).userName},
	"PASS": {before, (*conn).pass},
	"AUTH": {before, (*conn).auth},
	"UTF8": {before, (*conn).utf8},
	"STAT": {after, (*conn).stat},
	"LIST": {after, (*conn).list},
	"UIDL": {after, (*conn).uidl},
	"RETR": {after, (*conn).retr},
	"TOP":  {after, (*conn).top},
	"DELE": {after, (*conn).dele},
	"NOOP": {after, (*conn).noop},
	"RSET": {after, (*conn).rset},
}

func (c *conn) command(ctx context.Context, line string) error {
	verb, arg := split(line)
	cmd, ok := commands[verb]
	switch {
	case !ok:
		return c.fault("Unknown command")
	case cmd.place == before && c.session != nil:
		return c.fault("Already logged in")
	case cmd.place == after && c.session == nil:
		return c.fault("Log in first")
	}
	return cmd.run(c, ctx, arg)
}

// capa lists what there is in the present state (RFC 2449 section 5).
func (c *conn) capa(context.Context, string) error {
	c.reply("+OK Capability list follows")
	if c.state != nil {
		c.reply("USER")
		if names := c.srv.SASL.Mechanisms(c.state); len(names) > 0 {
			c.reply("SASL " + strings.Join(names, " "))
		}
	} else {
		c.reply("STLS")
	}
	for _, line := range []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER", "UTF8 USER", "IMPLEMENTATION migiwa", "."} {
		c.reply(line)
	}
	return nil
}

// utf8 is RFC 6856 section 2. What it turns on is on for everybody.
func (c *conn) utf8(_ context.Context, arg string) error {
	if arg != "" {
		return c.fault("UTF8 has no argument")
	}
	c.reply("+OK UTF8 enabled")
	return nil
}

// quit ends the session; after login it enters the UPDATE state.
func (c *conn) quit(ctx context.Context, _ string) error {
	if c.session != nil {
		tell := c.leaving(ctx)
		if err := c.session.update(ctx); err != nil {
			c.srv.Logger.Error("removing deleted messages", "account", c.session.name, "err", err)
			c.reply("-ERR [SYS/TEMP] Some deleted messages were not removed")
			return errEnd
		}
		tell()
		// The client did not ask for the marks, and hears nothing of them.
		if err := c.session.markSeen(ctx); err != nil {
			c.srv.Logger.Error("marking messages as seen", "account", c.session.name, "err", err)
		}
		c.release() // before the reply: who has heard it may log in again
	}
	c.reply("+OK Bye")
	return errEnd
}

func (c *conn) stat(context.Context, string) error {
	n, size := c.session.total()
	c.reply("+OK " + strconv.Itoa(n) + " " + strconv.FormatInt(size, 10))
	return nil
}

func (c *conn) list(_ context.Context, arg string) error {
	return c.listing(arg, func(b []byte, e *entry) []byte { return strconv.AppendInt(b, e.size, 10) })
}

func (c *conn) uidl(_ context.Context, arg string) error {
	return c.listing(arg, func(b []byte, e *entry) []byte { return c.session.appendID(b, e) })
}

// listing answers for one message or for all that are not deleted.
func (c *conn) listing(arg string, show func([]byte, *entry) []byte) error {
	var b []byte
	line := func(b []byte, i int) []byte {
		b = append(strconv.AppendInt(b, int64(i+1), 10), ' ')
		return append(show(b, &c.session.entries[i]), "\r\n"...)
	}
	if arg != "" {
		i, ok := c.number(arg)
		if ok {
			c.out.Write(line(append(b, "+OK "...), i))
		}
		return nil
	}
	c.reply("+OK")
	for i := range c.session.entries {
		if c.session.entries[i].deleted {
			continue
		}
		b = line(b[:0], i)
		if _, err := c.out.Write(b); err != nil {
			return err
		}
	}
	c.reply(".")
	return nil
}

// number reads a message number and gives its index, or answers that there is
// no such message.
func (c *conn) number(arg string) (int, bool) {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil || n == 0 || n > uint64(len(c.session.entries)) || c.session.entries[n-1].deleted {
		c.reply("-ERR No such message")
		return 0, false
	}
	return int(n - 1), true
}

func (c *conn) dele(_ context.Context, arg string) error {
	if i, ok := c.number(arg); ok {
		c.session.entries[i].deleted = true
		c.reply("+OK Message deleted")
	}
	return nil
}

func (c *conn) rset(context.Context, string) error {
	for i := range c.session.entries {
		c.session.entries[i].deleted = false
	}
	c.reply("+OK")
	return nil
}

func (c *conn) noop(context.Context, string) error {
	c.reply("+OK")
	return nil
}

func (c *conn) retr(ctx context.Context, arg string) error {
	i, ok := c.number(arg)
	if !ok {
		return nil
	}
	return c.send(ctx, i, -1)
}

func (c *conn) top(ctx context.Context, arg string) error {
	number, count, _ := strings.Cut(arg, " ")
	lines, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		return c.fault("TOP has a message number and a number of lines")
	}
	i, ok := c.number(number)
	if !ok {
		return nil
	}
	return c.send(ctx, i, int(lines))
}

// stls begins TLS (RFC 2595 section 4). Nothing that came in clear is taken
// over.
func (c *conn) stls(ctx context.Context, arg string) error {
	if c.state != nil || arg != "" {
		return c.fault("TLS is active or STLS has an argument")
	}
	if c.in.Buffered() > 0 {
		c.reply("-ERR Talk ahead of TLS")
		return errEnd
	}
	c.reply("+OK Begin TLS")
	if err := c.flush(); err != nil {
		return err
	}
	if !c.handshake(ctx) {
		c.out.Reset(&bytes.Buffer{}) // nothing may be said in clear any more
		return errEnd
	}
	c.user = ""
	c.buffers()
	return nil
}
