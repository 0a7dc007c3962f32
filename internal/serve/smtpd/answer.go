package smtpd

import (
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Replies of the server's own. Those with 421, and those marked, close.
var (
	replyClosing  = mail.Reply{Code: 421, Enhanced: "4.3.2", Text: "Service closing, try again later"}
	replyCrowded  = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many connections, try again later"}
	replyNoProxy  = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Not served here"}
	replyInternal = mail.Reply{Code: 421, Enhanced: "4.3.0", Text: "Internal error, try again later"}
	replyIdle     = mail.Reply{Code: 421, Enhanced: "4.4.2", Text: "Idle for too long"}
	replyTooLong  = mail.Reply{Code: 421, Enhanced: "4.4.2", Text: "Connected for too long"}
	replyTooSlow  = mail.Reply{Code: 421, Enhanced: "4.4.2", Text: "Message comes too slowly"}
	replyLost     = mail.Reply{Code: 421, Enhanced: "4.4.2", Text: "Connection lost"}
	replyErrors   = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many errors"}
	replyCommands = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many commands on one connection"}
	replyMessages = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many messages on one connection"}
	replyEarly    = mail.Reply{Code: 421, Enhanced: "4.5.1", Text: "Wait for the greeting before you speak"}

	replyBareNewline = mail.Reply{Code: 554, Enhanced: "5.5.2", Text: "CR or LF alone; lines end in CR LF", Close: true}
	replyLongCommand = mail.Reply{Code: 500, Enhanced: "5.5.2", Text: "Line too long", Close: true}
	replyLongText    = mail.Reply{Code: 554, Enhanced: "5.6.0", Text: "Line of the message too long", Close: true}
	replyNUL         = mail.Reply{Code: 554, Enhanced: "5.6.0", Text: "NUL octet in the message", Close: true}
	replyTraffic     = mail.Reply{Code: 554, Enhanced: "5.5.1", Text: "This is an SMTP server", Close: true}
	replySync        = mail.Reply{Code: 554, Enhanced: "5.5.1", Text: "Sent ahead where a reply must be awaited", Close: true}
	replyBadChunk    = mail.Reply{Code: 501, Enhanced: "5.5.4", Text: "Say BDAT octets [LAST]", Close: true}
	replyTooBig      = mail.Reply{Code: 552, Enhanced: "5.3.4", Text: "Message exceeds the size limit"}

	replyOK       = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "OK"}
	replyBye      = mail.Reply{Code: 221, Enhanced: "2.0.0", Text: "Bye"}
	replyUnknown  = mail.Reply{Code: 500, Enhanced: "5.5.1", Text: "Command not known"}
	replyControl  = mail.Reply{Code: 500, Enhanced: "5.5.2", Text: "Commands are printable ASCII"}
	replyBadUTF8  = mail.Reply{Code: 501, Enhanced: "5.5.2", Text: "Not UTF-8"}
	replyNoArg    = mail.Reply{Code: 501, Enhanced: "5.5.4", Text: "No argument allowed"}
	replyNeedEHLO = mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Say EHLO first"}
	replyNeedMail = mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Say MAIL first"}
	replyNoRcpt   = mail.Reply{Code: 554, Enhanced: "5.5.1", Text: "No valid recipients"}
)

// breach is a fault of protocol found while reading. The connection is closed
// behind its reply.
type breach struct {
	fault Fault
	reply mail.Reply
}

func (b *breach) Error() string { return string(b.fault) + ": " + b.reply.Error() }

// Unwrap gives the reply, for a Session that meets b as a read error.
func (b *breach) Unwrap() error { return &b.reply }

// out gives the borrowed reply buffer.
func (c *conn) outBuffer() *[]byte {
	if c.out == nil {
		c.out = outBuffers.Get().(*[]byte)
	}
	return c.out
}

// dropOut gives the reply buffer back.
func (c *conn) dropOut() {
	if c.out == nil {
		return
	}
	*c.out = (*c.out)[:0]
	if cap(*c.out) <= 16<<10 {
		outBuffers.Put(c.out)
	}
	c.out = nil
}

// say puts r into the reply buffer. It leaves before the next wait.
func (c *conn) say(r mail.Reply) {
	b := c.outBuffer()
	*b = appendReply(*b, r, c.env != nil && c.env.SMTPUTF8)
	if len(*b) > 8<<10 {
		c.flush()
	}
}

// flush sends the replies buffered and tells whether the peer still takes
// them.
func (c *conn) flush() bool {
	if c.out == nil || c.gone {
		return !c.gone
	}
	limit := c.srv.limits.Write
	if now := time.Now(); c.writeBy.Sub(now) < limit/2 {
		c.writeBy = now.Add(limit)
		c.raw.SetWriteDeadline(c.writeBy)
	}
	_, err := c.nc.Write(*c.out)
	c.dropOut()
	if err != nil {
		c.gone = true
		if !c.over {
			c.lost(err)
		}
	}
	return !c.gone
}

// answer gives the reply of one step, v's or the usual one, in the way v
// wants, and tells whether it was positive.
func (c *conn) answer(v Verdict, usual mail.Reply) bool {
	r := usual
	if v.Reply != nil {
		r = *v.Reply
	}
	if v.Delay+v.Tarpit >= heldFrom {
		if c.srv.hold() {
			defer c.srv.release()
		} else {
			v.Delay, v.Tarpit = 0, 0
			if !v.stands {
				r = replyCrowded
			}
		}
	}
	if (v.Delay <= 0 || c.pause(v.Delay)) && (v.Tarpit <= 0 || c.drip(r, v.Tarpit)) {
		c.say(r)
	}
	if v.After != nil {
		c.flush()
		v.After()
	}
	if v.Close || r.Close || r.Code == 421 {
		c.over = true
		c.patience = max(c.patience, politeTime)
		if c.cause == nil {
			why := r // its own variable, so that r stays off the heap
			c.cause = &why
		}
	}
	return r.Positive()
}

// fault reports a fault of protocol and gives its answer, which the Session
// may make stronger. One fault too many is answered with 421.
func (c *conn) fault(f Fault, r mail.Reply) {
	c.srv.count.faults.Add(1)
	c.errors++
	v := c.ask(f, r)
	if c.errors >= c.srv.limits.Errors && !c.overdrawn && f != TooManyBad {
		c.overdrawn = true
		if t := c.ask(TooManyBad, replyErrors); !r.Close && r.Code != 421 {
			v = t
		}
	}
	c.answer(v, r)
}

// ask gives the Session's verdict on a fault, with r in place of a reply that
// is weaker than r.
func (c *conn) ask(f Fault, r mail.Reply) Verdict {
	if c.sess == nil {
		return Verdict{Reply: &r}
	}
	v := c.sess.Broken(c.srv.ctx, f)
	closes := r.Close || r.Code == 421
	switch {
	case v.Reply == nil, v.Reply.Positive(), v.Reply.Temporary() && !r.Temporary() && v.Reply.Code != 421:
		v.Reply = &r
	}
	v.Close = v.Close || closes
	return v
}

func firstLine(s string) string {
	for i := range len(s) {
		if s[i] == '\n' {
			return s[:i]
		}
	}
	return s
}
