package smtpd

import (
	"errors"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// heldFrom is the wait from which a connection counts as held back.
const heldFrom = time.Second

// hold counts a connection that is to be held back, and tells whether it may
// be. It needs release.
func (s *Server) hold() bool {
	if n := s.held.Add(1); s.limits.Held < 0 || n <= int64(s.limits.Held) {
		return true
	}
	s.held.Add(-1)
	s.count.shed.Add(1)
	return false
}

func (s *Server) release() { s.held.Add(-1) }

// greetPause holds the banner back and tells whether the peer did, too.
func (c *conn) greetPause(d time.Duration) bool {
	if d >= heldFrom {
		if !c.srv.hold() {
			c.answer(Verdict{}, replyCrowded)
			return false
		}
		defer c.srv.release()
	}
	alive := c.pause(d)
	switch {
	case c.in.buffered() > 0: // and has perhaps left since
		c.fault(EarlyTalk, replyEarly)
		return !c.over
	case !alive:
		return false
	case c.isStopping():
		c.cause = errStopped
		c.answer(Verdict{}, replyClosing)
		return false
	}
	return true
}

// pause lets d pass without holding borrowed buffers. What the peer sends
// meanwhile is kept; when it leaves, pause ends early and gives false. Shutdown
// ends it early too.
func (c *conn) pause(d time.Duration) bool {
	if !c.flush() {
		return false
	}
	end := time.Now().Add(d)
	c.readBy(end)
	for c.in.err == nil {
		if c.in.shrink(); c.in.big != nil || c.in.buffered() == len(c.in.small) {
			break
		}
		err := c.in.fill(c.nc)
		if err != nil && isTimeout(err) {
			return true
		}
	}
	if c.in.err != nil && (c.in.buffered() == 0 || !errors.Is(c.in.err, io.EOF)) {
		c.lost(c.in.err)
		return false
	}
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.srv.drain:
	case <-c.srv.ctx.Done():
	}
	return true
}

// drip says r's first line again and again over d, as lines that are not the
// last, and tells whether the peer stayed for the last.
func (c *conn) drip(r mail.Reply, d time.Duration) bool {
	every := min(max(d/8, time.Second), 20*time.Second)
	for d > every && !c.isStopping() {
		if !c.pause(every) {
			return false
		}
		d -= every
		b := c.outBuffer()
		*b = appendReplyLine(*b, r, firstLine(r.Text), false, false)
	}
	return c.pause(d)
}
