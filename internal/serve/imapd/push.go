package imapd

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// pushPause is the least time between two pushes to one client: what happens
// meanwhile is told at once then. After one that took longer it is twice as
// long as that, up to maxPause more.
const (
	pushPause = 50 * time.Millisecond
	maxPause  = time.Second
)

// pusher tells a client what is new while it gives no command: one that idles,
// or that has asked for it by NOTIFY. Its zero value pushes nothing.
type pusher struct {
	idling    atomic.Bool  // the client is in IDLE
	notifying atomic.Bool  // it is to hear of something at any time
	pending   atomic.Bool  // a push is on its way
	modseq    atomic.Int64 // the largest that a notice of the selected mailbox told of
	pause     atomic.Int64 // nanoseconds since the Unix epoch before which nothing more is pushed
}

// wake is called by the store for every change of the selected mailbox. It does
// not block.
func (c *conn) wake(change mailbox.Change) {
	for known := c.push.modseq.Load(); known < change.ModSeq; known = c.push.modseq.Load() {
		if c.push.modseq.CompareAndSwap(known, change.ModSeq) {
			break
		}
	}
	c.stir()
}

// stir sees to it that what is new is told soon. It does not block.
func (c *conn) stir() {
	if !c.push.idling.Load() && !c.push.notifying.Load() || !c.push.pending.CompareAndSwap(false, true) {
		return
	}
	if !c.pushLater() {
		go c.pushNews()
	}
}

// pushLater puts a push off until the pause is over, if there is one.
func (c *conn) pushLater() bool {
	wait := time.Until(time.Unix(0, c.push.pause.Load()))
	if wait > 0 {
		time.AfterFunc(wait, c.pushNews)
	}
	return wait > 0
}

// pushNews tells the client all that is new, once its commands have ended.
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
	if c.pushLater() { // another has been made meanwhile
		return
	}
	c.push.pending.Store(false)
	if !c.push.idling.Load() && !c.push.notifying.Load() {
		return
	}
	start := time.Now()
	defer func() {
		took := time.Since(start)
		c.push.pause.Store(time.Now().Add(max(pushPause-took, min(took, maxPause))).UnixNano())
	}()
	ctx, cancel := context.WithTimeout(c.srv.door.Context(), time.Minute)
	defer cancel()
	switch e := c.pushAll(ctx); {
	case errors.Is(e, errDeleted):
		err = e
	case e != nil:
		c.srv.Logger.Error("telling a client what is new", "account", c.name, "err", e)
		fallthrough // what could be told is
	default:
		c.out.flush()
	}
}

// pushAll tells what is new of the selected mailbox, then of others. Which
// messages are gone is told in IDLE, and at any time to who does not use
// numbers (RFC 5465 sections 4 and 6.1.2).
func (c *conn) pushAll(ctx context.Context) error {
	idling, w := c.push.idling.Load(), c.watching
	if c.sel != nil && (idling || c.heard() != 0) {
		switch err := c.sel.tell(ctx, c, idling || w != nil && w.immediate, c.push.modseq.Load()); {
		case errors.Is(err, mailbox.ErrNoFolder):
			return errDeleted
		case err != nil:
			return err
		}
	}
	if w == nil {
		return nil
	}
	return w.look(ctx, c)
}
