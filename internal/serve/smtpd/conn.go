package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// conn is one connection and its dialogue. All of it but raw, mu and what mu
// guards belongs to the connection's goroutine.
type conn struct {
	srv  *Server
	raw  net.Conn // the socket: deadlines, and Close from outside
	nc   net.Conn // raw, or TLS over it
	info Conn
	sess Session
	auth Authenticator // nil when sess is none

	in  input
	out *[]byte // replies not yet sent, borrowed; nil when there are none

	env        *mail.Envelope // the open transaction
	dots       dotReader      // of the message being read
	refused    bool           // the newest MAIL or BDAT was refused: what was pipelined behind it is no fault
	hello      bool           // HELO or EHLO was accepted since the start or STARTTLS
	loggedIn   bool
	responding bool          // inside AUTH: lines are responses
	pending    []byte        // a command read while a BDAT stream was waiting for a chunk
	over       bool          // no more commands
	gone       bool          // the peer takes no more replies
	patience   time.Duration // for a peer that may still be sending to read our last words
	counted    bool          // in Server.addresses
	cause      error         // why it ended
	last       time.Time
	writeBy    time.Time // the write deadline in force
	commands   int
	errors     int
	messages   int
	overdrawn  bool // TooManyBad was reported
	ahead      bool // commands sent ahead of a greeting's reply were

	mu       sync.Mutex
	stopping bool // told to stop by Shutdown
	busy     bool // reading a message, which Shutdown lets finish
}

func newConn(s *Server, nc net.Conn) *conn {
	now := time.Now()
	return &conn{
		srv: s, raw: nc, nc: nc, last: now.Add(s.limits.Total),
		info: Conn{
			Remote: addrPort(nc.RemoteAddr()),
			Local:  addrPort(nc.LocalAddr()),
			Server: s.Hostname,
			Start:  now,
		},
	}
}

// errStopped ends a connection that Shutdown was called on.
var errStopped = errors.New("server shutting down")

// run is the connection's goroutine.
func (c *conn) run() {
	defer c.srv.leave(c)
	defer func() { c.nc.Close() }() // the newest nc: TLS says goodbye
	defer c.end()
	defer c.guard()
	if c.arrive() {
		for !c.over {
			c.step()
		}
	}
	c.hangUp()
}

// guard turns a panic, of the Handler or ours, into a 421 and a log record.
func (c *conn) guard() {
	p := recover()
	if p == nil {
		return
	}
	c.srv.count.panics.Add(1)
	c.cause = fmt.Errorf("panic: %v", p)
	c.srv.Logger.Error("panic in an SMTP session", "trace", string(c.info.Trace),
		"remote", c.info.Remote.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	c.say(replyInternal)
	c.patience = lingerTime
	c.hangUp()
}

// end gives the buffers back and tells the Session.
func (c *conn) end() {
	c.in.release()
	c.dropOut()
	if c.sess == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			c.srv.count.panics.Add(1)
			c.srv.Logger.Error("panic at the end of an SMTP session", "trace", string(c.info.Trace),
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	c.sess.End(Ending{
		Cause:    c.cause,
		Bytes:    c.in.total,
		Commands: c.commands,
		Messages: c.messages,
		Duration: time.Since(c.info.Start),
	})
}

// arrive does everything before the first command: PROXY header, limits, TLS,
// the Handler's first verdict and the banner. It tells whether to go on.
func (c *conn) arrive() bool {
	if !c.proxy() {
		return false
	}
	c.info.Trace = mail.NewTraceID()
	if !c.srv.enter(c) {
		c.srv.count.shed.Add(1)
		shed(c.raw, replyCrowded)
		c.over = true
		return false
	}
	if c.srv.Implicit && !c.handshake() {
		return false
	}
	sess, v := c.srv.Handler.Connect(c.srv.ctx, &c.info)
	c.sess = sess
	c.auth, _ = sess.(Authenticator)
	if sess == nil || v.Reply != nil && !v.Reply.Positive() {
		if v.Reply == nil || v.Reply.Positive() {
			v.Reply = &mail.Reply{Code: 421, Enhanced: "4.3.0", Text: "Service not available"}
		}
		v.Close = true
		c.answer(v, replyClosing)
		c.cause = v.Reply
		if c.in.buffered() == 0 {
			c.patience = 0 // as cheap as shed: what was not sent yet needs no reading
		}
		return false
	}
	if v.Delay > 0 && !c.greetPause(v.Delay) {
		return false
	}
	v.Delay = 0
	c.answer(v, mail.Reply{Code: 220, Text: c.srv.Hostname + " " + c.srv.Greeting})
	return !c.over
}

// proxy reads the PROXY header where one is due.
func (c *conn) proxy() bool {
	p := c.srv.Proxy
	if p == nil {
		return true
	}
	if !p.trusts(c.info.Remote.Addr()) {
		if p.Required {
			shed(c.raw, replyNoProxy)
		}
		return !p.Required
	}
	c.readBy(time.Now().Add(c.srv.limits.Header))
	client, local, err := readProxy(c.raw)
	if err != nil {
		// Our own balancer is set up wrongly: that is for our log.
		c.srv.Logger.Warn("connection from a trusted balancer refused",
			"remote", c.info.Remote.String(), "err", err)
		return false
	}
	if client.IsValid() {
		c.info.Remote, c.info.Local, c.info.Proxied = client, local, true
	}
	return true
}

// handshake goes over to TLS on the raw connection.
func (c *conn) handshake() bool {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.limits.Handshake)
	defer cancel()
	c.readBy(time.Now().Add(c.srv.limits.Handshake))
	c.raw.SetWriteDeadline(time.Now().Add(c.srv.limits.Handshake))
	c.writeBy = time.Time{}
	t := tls.Server(c.raw, c.srv.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		c.lost(fmt.Errorf("TLS handshake: %w", err))
		return false
	}
	state := t.ConnectionState()
	c.nc, c.info.TLS = t, &state
	return true
}

// step reads and answers one command.
func (c *conn) step() {
	if c.pending != nil {
		line := c.pending
		c.pending = nil
		c.command(line)
		return
	}
	line, err := c.readLine()
	if err == nil {
		c.command(line)
		return
	}
	c.broken(err)
}

// broken ends the connection after a read error, saying why where that helps.
func (c *conn) broken(err error) {
	var b *breach
	if errors.As(err, &b) {
		c.patience = lingerTime
		c.cause = b
		c.fault(b.fault, b.reply)
		c.over = true
		return
	}
	c.lost(err)
	switch {
	case c.isStopping():
		c.cause = errStopped
		c.say(replyClosing)
	case !isTimeout(err):
	case !time.Now().Before(c.last):
		c.fault(TooSlow, replyTooLong)
	default:
		c.say(replyIdle)
	}
}

// lost ends the connection with nothing to say.
func (c *conn) lost(err error) {
	c.over = true
	c.cause = err
}

// isStopping tells whether Shutdown was called.
func (c *conn) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// stop is called by Shutdown: it wakes the goroutine, unless it reads a
// message.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if !c.busy {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// setBusy tells whether a message is being read.
func (c *conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// readBy sets the time by which the peer must have sent something.
func (c *conn) readBy(t time.Time) {
	if t.After(c.last) {
		t = c.last
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping && !c.busy {
		t = time.Unix(1, 0)
	}
	c.raw.SetReadDeadline(t)
}

// hangUp sends what is left to say. A peer that may still be sending is given
// time to read it: closing a socket with unread input makes the peer's kernel
// throw our reply away.
func (c *conn) hangUp() {
	if !c.flush() || c.patience == 0 || c.in.err != nil {
		return
	}
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.in.release()
	c.last = time.Now().Add(c.patience)
	c.readBy(c.last)
	for left := c.srv.limits.MessageSize; left > 0 && c.in.err == nil; {
		if c.in.fill(c.nc) != nil {
			return
		}
		n := c.in.buffered()
		left -= int64(n)
		c.in.skip(n)
		if n == len(c.in.small) { // there is more; most send nothing
			c.in.grow()
		}
	}
}

// How long a connection is kept behind its last reply for the peer to read it:
// one that was refused in the middle of a message or line, and any other.
const (
	lingerTime = 5 * time.Second
	politeTime = time.Second
)
