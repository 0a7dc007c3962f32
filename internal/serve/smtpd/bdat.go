package smtpd

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// doBdat answers the first BDAT of a message, and those that follow one that
// was refused (RFC 3030 section 2). The later ones of a message being read are
// answered by chunkReader.
func (c *conn) doBdat(arg []byte) {
	size, last, ok := parseBdat(arg)
	if !ok {
		// Where the next command begins is not known.
		c.broken(&breach{BadSyntax, replyBadChunk})
		return
	}
	switch {
	case c.env == nil:
		if c.swallow(size) {
			c.outOfTurn(replyNeedMail)
		}
	case len(c.env.Recipients) == 0:
		if c.swallow(size) {
			c.noRecipients()
		}
	default:
		c.chunks(size, last)
	}
}

// chunks lets the Session read a message that comes in chunks.
func (c *conn) chunks(size int64, last bool) {
	v := c.sess.Data(c.srv.ctx, c.env)
	r := chunkReader{pace: newPace(c), left: size, last: last, binary: c.env.Body == mail.BodyBinary}
	if v.Reply != nil && !v.Reply.Positive() {
		c.refuseChunks(v, &r)
		return
	}
	if v.Delay > 0 && !c.pause(v.Delay) {
		return
	}
	if v.After != nil {
		v.After()
	}
	c.setBusy(true)
	v = c.sess.Body(c.srv.ctx, c.env, &r)
	var err error
	if v.Reply == nil || v.Reply.Positive() || r.err != nil {
		err = r.drain()
	}
	c.setBusy(false)
	switch {
	case errors.Is(err, errAbandoned):
		c.forget()
	case errors.Is(err, errTooBig):
		c.refuseChunks(Verdict{Reply: &replyTooBig}, &r)
	case r.err == nil:
		c.refuseChunks(v, &r)
	default:
		c.settle(v, err)
	}
}

// refuseChunks refuses a message before its last chunk: with the rest of this
// chunk thrown away the dialogue goes on, and chunks already on their way are
// refused when they come.
func (c *conn) refuseChunks(v Verdict, r *chunkReader) {
	if !c.swallow(r.left) {
		return
	}
	c.answer(v, replyOK)
	c.forget()
	c.refused = !r.last
}

// swallow reads n octets and throws them away.
func (c *conn) swallow(n int64) bool {
	if n > 2*c.srv.limits.MessageSize+bigSize {
		r := replyTooBig
		r.Close = true
		c.answer(Verdict{}, r)
		return false
	}
	p := newPace(c)
	for n > 0 {
		if c.in.buffered() == 0 {
			if err := p.fill(); err != nil {
				c.settle(Verdict{}, err)
				return false
			}
		}
		k := min(n, int64(c.in.buffered()))
		c.in.skip(int(k))
		n -= k
	}
	return true
}

// parseBdat reads "chunk-size [LAST]".
func parseBdat(arg []byte) (size int64, last, ok bool) {
	number, end, has := strings.Cut(string(arg), " ")
	if has && !strings.EqualFold(end, "LAST") {
		return 0, false, false
	}
	size, ok = parseSize(number)
	return size, has, ok
}

// errAbandoned is why a Session cannot read on when its peer gave the
// transaction up between two chunks. The peer hears the reply to what it said
// instead.
var errAbandoned error = &mail.Reply{Code: 451, Enhanced: "4.5.0", Text: "Transaction abandoned"}

// chunkReader reads a message that comes in BDAT chunks. Between them it reads
// and answers commands.
type chunkReader struct {
	pace
	left   int64 // octets of the chunk not yet read
	last   bool  // it is the last chunk
	binary bool  // line ends are the message's own affair
	cr     bool  // the octet before was CR
	line   int
	size   int64
	chunk  int64 // octets read of this chunk, for its reply
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	for r.left == 0 {
		if r.last {
			return 0, r.finish()
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if r.size+r.left > r.c.srv.limits.MessageSize {
		r.err = errTooBig
		return 0, r.err
	}
	if r.c.in.buffered() == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	b := r.c.in.bytes()
	n := copy(p, b[:min(int64(len(b)), r.left)])
	r.c.in.skip(n)
	r.left -= int64(n)
	r.chunk += int64(n)
	r.size += int64(n)
	if !r.binary {
		if err := r.check(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// finish ends the message.
func (r *chunkReader) finish() error {
	if r.cr {
		return r.breach(BareNewline, replyBareNewline)
	}
	r.err = io.EOF
	return r.err
}

// check holds text to the rules of dotReader, without the dots.
func (r *chunkReader) check(p []byte) error {
	if bytes.IndexByte(p, 0) >= 0 {
		return r.breach(OtherTraffic, replyNUL)
	}
	for len(p) > 0 {
		if r.cr != (p[0] == '\n') {
			return r.breach(BareNewline, replyBareNewline)
		}
		if r.cr {
			r.cr, r.line = false, 0
			p = p[1:]
			continue
		}
		stop := bytes.IndexByte(p, '\r')
		text := p
		if stop >= 0 {
			text = p[:stop]
		}
		if bytes.IndexByte(text, '\n') >= 0 {
			return r.breach(BareNewline, replyBareNewline)
		}
		if r.line += len(text) + 1; r.line > r.c.srv.limits.TextLine {
			return r.breach(LongLine, replyLongText)
		}
		if stop < 0 {
			r.line--
			return nil
		}
		r.cr = true
		p = p[stop+1:]
	}
	return nil
}

// next acknowledges a chunk and reads commands up to the next one.
func (r *chunkReader) next() error {
	c := r.c
	c.say(mail.Reply{Code: 250, Enhanced: "2.0.0", Text: strconv.FormatInt(r.chunk, 10) + " octets received"})
	r.chunk = 0
	for {
		line, err := c.readLine()
		if err != nil {
			var b *breach
			if errors.As(err, &b) {
				r.err = b
				return b
			}
			if isTimeout(err) {
				return r.breach(TooSlow, replyTooSlow)
			}
			return r.fail(err)
		}
		if r.between(line) {
			return r.err
		}
	}
}

// between answers a command that comes where a chunk should, and tells whether
// the wait is over: with the next chunk, or with r.err. The Session is not
// asked, since it is in the middle of Body.
func (r *chunkReader) between(line []byte) bool {
	c, l := r.c, &r.c.srv.limits
	verb, arg := cutVerb(line)
	name := strings.ToUpper(string(verb))
	switch name {
	case "RSET", "QUIT", "EHLO", "HELO":
		c.pending = bytes.Clone(line)
		r.err = errAbandoned
		return true
	}
	c.commands++
	c.srv.count.commands.Add(1)
	if l.Commands > 0 && !c.info.Exempt() && int64(c.commands) > int64(l.Commands)+r.size/512 {
		r.breach(TooManyBad, replyCommands)
		return true
	}
	switch name {
	case "BDAT":
		size, last, ok := parseBdat(arg)
		if !ok {
			r.breach(BadSyntax, replyBadChunk)
			return true
		}
		r.left, r.last = size, last
		return true
	case "NOOP":
		c.say(replyOK)
		return false
	}
	c.srv.count.faults.Add(1)
	if c.errors++; c.errors >= l.Errors {
		r.breach(TooManyBad, replyErrors)
		return true
	}
	c.say(mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Say BDAT or RSET"})
	return false
}

// drain reads what the Session left, and gives the error for which the message
// must be dropped.
func (r *chunkReader) drain() error {
	if r.err == nil {
		scrap := bigBuffers.Get().(*[bigSize]byte)
		defer bigBuffers.Put(scrap)
		for r.err == nil {
			r.Read(scrap[:])
		}
	}
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}
