package imapd

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// pushPause is the least time between two pushes to one client: what happens
// meanwhile is told at once then.
const pushPause = 50 * time.Millisecond

// pusher tells an idle client what is new. Its zero value pushes nothing.
type pusher struct {
	idling  atomic.Bool  // the client is in IDLE
	pending atomic.Bool  // a push is on its way
	modseq  atomic.Int64 // the largest that a notice told of
	pause   atomic.Int64 // nanoseconds since the Unix epoch before which nothing is pushed
}

// wake is called by the store for every change of the selected mailbox. It does
// not block.
func (c *conn) wake(change mailbox.Change) {
	for known := c.push.modseq.Load(); known < change.ModSeq; known = c.push.modseq.Load() {
		if c.push.modseq.CompareAndSwap(known, change.ModSeq) {
			break
		}
	}
	if !c.push.idling.Load() || !c.push.pending.CompareAndSwap(false, true) {
		return
	}
	if wait := time.Until(time.Unix(0, c.push.pause.Load())); wait > 0 {
		time.AfterFunc(wait, c.pushNews)
		return
	}
	go c.pushNews()
}

// pushNews tells an idle client all that is new.
func (c *conn) pushNews() {
	c.work.Lock()
	defer c.work.Unlock()
	var err error
	defer func() {
		if err != nil {
			c.hangUp(err)
		}
	}()
	defer c.guard(&err)
	c.push.pending.Store(false)
	if !c.push.idling.Load() || c.sel == nil {
		return
	}
	c.push.pause.Store(time.Now().Add(pushPause).UnixNano())
	ctx, cancel := context.WithTimeout(c.srv.door.Context(), time.Minute)
	defer cancel()
	switch e := c.sel.tell(ctx, c, true, c.push.modseq.Load()); {
	case errors.Is(e, mailbox.ErrNoFolder):
		err = errDeleted
	case e != nil:
		c.srv.Logger.Error("telling an idle client", "account", c.name, "err", e)
	default:
		c.out.flush()
	}
}

// parseIdle is RFC 2177. The reader waits for DONE where it waits for commands,
// and holds no lock meanwhile.
func (c *conn) parseIdle(d *wire.Decoder) task {
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		c.push.idling.Store(true)
		if err := c.proceed("idling"); err != nil {
			return "", &broken{err}
		}
		if c.sel != nil {
			// What came before; a mailbox that is gone is told of afterwards.
			c.sel.tell(ctx, c, true, newest)
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
