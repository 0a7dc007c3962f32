package imapd

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// pusher tells an idle client what is new. Its zero value pushes nothing.
type pusher struct {
	idling  atomic.Bool // the client is in IDLE
	pending atomic.Bool // a goroutine is on its way
}

// wake is called by the store for every change of the selected mailbox. It does
// not block.
func (c *conn) wake(mailbox.Change) {
	if c.push.idling.Load() && c.push.pending.CompareAndSwap(false, true) {
		go c.pushNews()
	}
}

// pushNews tells an idle client all that is new.
func (c *conn) pushNews() {
	c.work.Lock()
	defer c.work.Unlock()
	c.push.pending.Store(false)
	if !c.push.idling.Load() || c.sel == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.srv.ctx, time.Minute)
	defer cancel()
	if err := c.sel.tell(ctx, c, true); err != nil {
		c.srv.Logger.Error("telling an idle client", "account", c.name, "err", err)
	}
	c.out.flush()
}

// parseIdle is RFC 2177. While the client idles its reader waits for DONE
// and holds no lock.
func (c *conn) parseIdle(d *wire.Decoder) task {
	d.End()
	return task{run: func(context.Context) (string, error) {
		c.push.idling.Store(true)
		c.wake(mailbox.Change{}) // what came before
		err := c.proceed("idling")
		c.work.Unlock()
		var line string
		if err == nil {
			c.dec.Next()
			line = c.dec.Text()
			err = c.dec.Err()
		}
		c.work.Lock()
		c.push.idling.Store(false)
		switch {
		case err != nil:
			return "", &broken{c.why(err)}
		case line != "DONE" && line != "done":
			return "", bad("Expected DONE")
		}
		return "", nil
	}}
}
