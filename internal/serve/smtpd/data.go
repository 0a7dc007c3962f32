package smtpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// doData answers DATA and reads the message.
func (c *conn) doData(arg []byte) {
	switch {
	case len(arg) > 0:
		c.fault(BadSyntax, replyNoArg)
	case c.env == nil:
		c.outOfTurn(replyNeedMail)
	case c.env.Body == mail.BodyBinary:
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "BINARYMIME needs BDAT"})
	case len(c.env.Recipients) == 0:
		// Usual behind a pipelined RCPT that was refused, so no fault.
		c.noRecipients()
	case c.in.buffered() > 0:
	case !c.answer(c.sess.Data(c.srv.ctx, c.env), mail.Reply{Code: 354, Text: "End with CR LF . CR LF"}):
		c.forget()
	case c.in.buffered() == 0 && !c.over:
		c.message()
		return
	}
	if c.in.buffered() > 0 && !c.over {
		// It may be the text of a message, and is never read as commands.
		c.broken(&breach{Pipelining, replySync})
	}
}

// noRecipients refuses a message for nobody.
func (c *conn) noRecipients() {
	v := c.sess.Data(c.srv.ctx, c.env)
	if v.Reply != nil && v.Reply.Positive() {
		v.Reply = nil
	}
	c.answer(v, replyNoRcpt)
}

// message lets the Session read what follows DATA and gives the final reply.
func (c *conn) message() {
	c.setBusy(true)
	d := &c.dots
	*d = dotReader{pace: newPace(c), bol: true}
	v := c.sess.Body(c.srv.ctx, c.env, d)
	err := d.drain()
	c.setBusy(false)
	c.settle(v, err)
}

// settle ends a transaction: with err the message is dropped, else v tells.
func (c *conn) settle(v Verdict, err error) {
	// The envelope stays for the reply, which may hold UTF-8.
	v.stands = true
	if err != nil {
		c.dropMessage(err)
	} else if c.answer(v, mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Message accepted"}) {
		c.messages++
		c.srv.count.messages.Add(1)
	}
	c.forget()
}

// dropMessage tells why a message could not be read.
func (c *conn) dropMessage(err error) {
	var b *breach
	if errors.As(err, &b) {
		c.broken(b)
		return
	}
	r := mail.AsReply(err)
	if r.Cause != nil {
		c.lost(r.Cause)
	}
	c.answer(Verdict{Reply: r}, *r)
}

// errTooBig is the read error of a message over its limit. Its rest is read
// and thrown away, so that the dialogue can go on.
var errTooBig error = &replyTooBig

// pace reads from the peer while a message comes, with its limits of time. The
// time the Session takes does not count against the peer.
type pace struct {
	c      *conn
	waited time.Duration // for the peer
	from   int64         // c.in.total at the start
	err    error         // why the message ended: io.EOF, or what the reader gets for good
}

func newPace(c *conn) pace { return pace{c: c, from: c.in.total} }

// fill reads more. It waits for the idle time, or until the average falls
// below the least rate, whichever is sooner.
func (p *pace) fill() error {
	c, l := p.c, &p.c.srv.limits
	if !c.flush() {
		return p.fail(c.cause)
	}
	wait := l.Idle
	if l.ByteRate > 0 {
		due := time.Duration((c.in.total-p.from)/int64(l.ByteRate)) * time.Second
		wait = min(wait, l.Grace+due-p.waited)
	}
	now := time.Now()
	c.in.grow()
	c.readBy(now.Add(wait))
	err := c.in.fill(c.nc)
	p.waited += time.Since(now)
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return p.breach(TooSlow, replyTooSlow)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return p.fail(err)
}

// fail remembers a lost connection as the reader's error.
func (p *pace) fail(err error) error {
	if p.c.srv.ctx.Err() != nil {
		err = context.Cause(p.c.srv.ctx)
	}
	p.err = replyLost.Because(err)
	return p.err
}

// breach remembers a fault of protocol as the reader's error. The reader's
// caller finds a *mail.Reply in it.
func (p *pace) breach(f Fault, r mail.Reply) error {
	p.err = &breach{f, r}
	return p.err
}

// dotReader reads the message behind DATA: it removes dots, checks line ends,
// and ends at CR LF . CR LF and nothing else.
type dotReader struct {
	pace
	bol  bool  // at the beginning of a line
	cr   bool  // the octet before was CR
	line int   // octets of the line so far
	size int64 // octets of the message so far
}

// Read implements io.Reader. It gives as much as is buffered and p has room
// for.
func (d *dotReader) Read(p []byte) (int, error) {
	if d.size > d.c.srv.limits.MessageSize {
		return 0, errTooBig
	}
	n, err := d.next(p)
	if d.size > d.c.srv.limits.MessageSize && (err == nil || errors.Is(err, io.EOF)) {
		err = errTooBig
	}
	return n, err
}

// next is Read without the size limit.
func (d *dotReader) next(p []byte) (int, error) {
	n := 0
	for n < len(p) && d.err == nil {
		used, gave := 0, 0
		if b := d.c.in.bytes(); len(b) > 0 {
			used, gave = d.scan(p[n:], b)
		}
		d.c.in.skip(used)
		n += gave
		if used > 0 || d.err != nil {
			continue
		}
		if n > 0 {
			break
		}
		d.fill()
	}
	d.size += int64(n)
	if bytes.IndexByte(p[:n], 0) >= 0 {
		d.breach(OtherTraffic, replyNUL)
	}
	if n > 0 && (d.err == nil || errors.Is(d.err, io.EOF)) {
		return n, nil
	}
	return n, d.err
}

// scan moves one line of b, or as much of it as is there, to p. It tells how
// many octets of b it used and how many it gave; none used and no error say
// that it must see more.
func (d *dotReader) scan(p, b []byte) (used, gave int) {
	if d.bol && b[0] == '.' {
		return d.dot(b), 0
	}
	if d.cr {
		if b[0] != '\n' {
			d.breach(BareNewline, replyBareNewline)
			return 0, 0
		}
		p[0] = '\n'
		d.cr, d.bol, d.line = false, true, 0
		return 1, 1
	}
	b = b[:min(len(b), len(p))]
	end := bytes.IndexByte(b, '\n') + 1
	if end > 0 {
		b = b[:end]
	}
	cr := bytes.IndexByte(b, '\r')
	if end > 0 && (cr < 0 || cr != end-2) || end == 0 && cr >= 0 && cr != len(b)-1 {
		d.breach(BareNewline, replyBareNewline)
		return 0, 0
	}
	d.line += len(b)
	if d.line > d.c.srv.limits.TextLine {
		d.breach(LongLine, replyLongText)
		return 0, 0
	}
	copy(p, b)
	d.bol, d.cr = end > 0, end == 0 && cr >= 0
	if d.bol {
		d.line = 0
	}
	return len(b), len(b)
}

// dot decides on a dot at the beginning of a line: the end of the message, or
// one to be removed (RFC 5321 section 4.5.2). It gives the octets used.
func (d *dotReader) dot(b []byte) int {
	switch {
	case len(b) >= 2 && b[1] != '\r':
		d.bol = false
		return 1
	case len(b) < 3:
		return 0
	case b[2] == '\n':
		d.err = io.EOF
		return 3
	}
	d.breach(BareNewline, replyBareNewline)
	return 0
}

// drain reads what the Session left, and gives the error for which the message
// must be dropped. A message over its size is followed to its end, unless that
// is absurdly far.
func (d *dotReader) drain() error {
	limit := d.c.srv.limits.MessageSize
	if d.err == nil {
		scrap := bigBuffers.Get().(*[bigSize]byte)
		defer bigBuffers.Put(scrap)
		for d.err == nil && d.size <= 2*limit+bigSize {
			d.next(scrap[:])
		}
	}
	switch {
	case d.err == nil:
		r := replyTooBig
		r.Close = true
		return &r
	case !errors.Is(d.err, io.EOF):
		return d.err
	case d.size > limit:
		return errTooBig
	}
	return nil
}
