package imapd

import (
	"context"
	"errors"
	"strings"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// parseIdle is RFC 2177. The reader waits for DONE where it waits for commands,
// and holds no lock meanwhile.
func (c *conn) parseIdle(d *wire.Decoder) task {
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		c.push.idling.Store(true)
		c.line("+ idling")
		if c.sel != nil {
			// What came before; a mailbox that is gone is told of afterwards.
			c.sel.tell(ctx, c, true, newest)
		}
		// In one write: with two, Thunderbird was seen to leave the second unread
		// until something else came.
		if err := c.out.flush(); err != nil {
			return "", &broken{err}
		}
		return "", errIdling
	}}
}

// endIdle reads what ends IDLE and answers that.
func (c *conn) endIdle(ctx context.Context) error {
	c.dec.Next()
	line := c.dec.Text()
	err := c.dec.Err()
	c.work.Lock()
	defer c.work.Unlock()
	tag := c.idle
	c.idle = ""
	c.push.idling.Store(false)
	switch syntax := new(wire.SyntaxError); {
	case errors.As(err, &syntax):
		return c.reject(tag, err)
	case err != nil:
		return c.why(err)
	case !strings.EqualFold(strings.TrimSpace(line), "DONE"):
		return c.finish(ctx, tag, "IDLE", syncAll, "", bad("Expected DONE"))
	}
	return c.finish(ctx, tag, "IDLE", syncAll, "", nil)
}
