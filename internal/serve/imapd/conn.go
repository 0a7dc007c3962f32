package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Why a connection ends before LOGOUT.
var (
	errDraining = errors.New("server is shutting down")
	errEnd      = errors.New("session ended")
	errFaults   = errors.New("too many wrong commands")
	errDeleted  = errors.New("selected mailbox was deleted")
	errStartTLS = errors.New("begin TLS")
	errCompress = errors.New("begin compression")
)

// broken is an error of the connection in the middle of a command.
type broken struct{ error }

func (b *broken) Unwrap() error { return b.error }

// conn is one connection. Its reader's goroutine alone uses it, but for what is
// said otherwise.
type conn struct {
	srv    *Server
	raw    net.Conn // as accepted
	nc     net.Conn // raw or TLS over it
	remote netip.AddrPort
	group  netip.Addr
	trace  mail.TraceID
	state  *tls.ConnectionState // nil without TLS
	start  time.Time

	in  *bufio.Reader
	dec wire.Decoder
	out output

	mu       sync.Mutex // orders deadlines for reading with drain
	draining bool

	// work is held for reading by commands that run side by side, and for
	// writing by all others.
	work    sync.RWMutex
	running sync.WaitGroup
	slots   chan struct{} // one each for the commands that run side by side
	open    atomic.Int32  // commands that came and are not answered
	tag     string        // of the command that is being parsed: ESEARCH repeats it

	failures int // logins
	faults   int // wrong commands, one after the other
	account  int64
	name     string // of the account; "" before login
	id       string // what the client said of itself (ID)
	enabled  enabled
	// compressed is set by COMPRESS.
	compressed bool
	sel        *view // nil when no mailbox is selected; changed under work only
	push       pusher
}

// maxStranger is how much of a command is kept in memory before login, in octets.
const maxStranger = 64 << 10

// maxBeside is how many commands of a connection run side by side.
const maxBeside = 4

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, raw: nc, nc: nc, trace: mail.NewTraceID(), start: time.Now()}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		c.remote = netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	c.group = group(c.remote.Addr())
	return c
}

// run serves the connection and closes it.
func (c *conn) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		c.running.Wait()
		c.work.Lock() // a push may be under way
		c.unselect()
		c.work.Unlock()
		c.nc.Close()
	}()
	if c.srv.Implicit && !c.handshake(ctx) {
		return
	}
	c.transport(c.nc, c.nc)
	c.greet()
	for {
		if err := c.next(ctx); err != nil {
			c.running.Wait()
			c.farewell(err)
			return
		}
	}
}

// transport sets what commands are read from and responses written to.
func (c *conn) transport(r io.Reader, w io.Writer) {
	c.in = bufio.NewReaderSize(r, 2048)
	c.dec.R = c.in
	if c.name == "" {
		c.dec.Limit = maxStranger
	}
	c.dec.Continue = func() error { return c.proceed("OK") }
	c.out.init(&deadlineWriter{c: c, w: w})
}

// deadlineWriter gives each write its time.
type deadlineWriter struct {
	c *conn
	w io.Writer
}

func (w *deadlineWriter) Write(p []byte) (int, error) {
	w.c.nc.SetWriteDeadline(time.Now().Add(w.c.srv.limits.Write))
	return w.w.Write(p)
}

// output is the way to the client. Its methods may be called from many
// goroutines: each response is written whole.
type output struct {
	mu  sync.Mutex
	w   io.Writer
	enc wire.Encoder // its W is nil while nothing waits to be sent
	err error        // the first; nothing is written after it
}

// writers are the buffers of output: idle connections have none.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 16<<10) }}

func (o *output) init(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = w
}

// write runs f, which writes whole lines.
func (o *output) write(f func(e *wire.Encoder) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if o.enc.W == nil {
		o.enc.W = writers.Get().(*bufio.Writer)
		o.enc.W.Reset(o.w)
	}
	o.err = f(&o.enc)
	return o.err
}

// flush sends what waits.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.enc.W == nil {
		return o.err
	}
	if err := o.enc.W.Flush(); o.err == nil {
		o.err = err
	}
	o.enc.W.Reset(nil)
	writers.Put(o.enc.W)
	o.enc.W = nil
	return o.err
}

// respond writes one response line; its end is added.
func (c *conn) respond(f func(e *wire.Encoder) error) error {
	return c.out.write(func(e *wire.Encoder) error {
		if err := f(e); err != nil {
			return err
		}
		e.Raw("\r\n")
		return nil
	})
}

// line writes a response line that holds nothing of strangers.
func (c *conn) line(text string) {
	c.respond(func(e *wire.Encoder) error { e.Raw(text); return nil })
}

// proceed asks the client to go on, and sends all that waits.
func (c *conn) proceed(text string) error {
	c.line("+ " + text)
	if err := c.out.flush(); err != nil {
		return err
	}
	return c.expect()
}

// farewell says why the connection is closed, where that helps.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errDraining):
		c.line("* BYE Shutting down, try again later")
	case errors.Is(err, errFaults):
		c.line("* BYE Too many wrong commands")
	case errors.Is(err, wire.ErrTooMuch):
		c.line("* BYE [TOOBIG] Too much to read over")
	case errors.Is(err, errDeleted):
		c.line("* BYE The selected mailbox was deleted")
	case isTimeout(err):
		c.line("* BYE Idle for too long")
	}
	c.out.flush()
}

// hangUp ends the connection from another goroutine than its own.
func (c *conn) hangUp(err error) {
	c.farewell(err)
	c.nc.Close()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// handshake turns the connection into TLS.
func (c *conn) handshake(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.srv.limits.Handshake)
	defer cancel()
	t := tls.Server(c.raw, c.srv.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return false
	}
	state := t.ConnectionState()
	c.mu.Lock()
	c.nc, c.state = t, &state
	c.mu.Unlock()
	return true
}

// drain wakes a connection that waits for a command. Called by Shutdown.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// expect sets the time by which the next input must have come.
func (c *conn) expect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDraining
	}
	by := time.Now().Add(c.srv.limits.Idle)
	if end := c.start.Add(c.srv.limits.Login); c.name == "" && end.Before(by) {
		by = end
	}
	return c.nc.SetReadDeadline(by)
}

// why tells a deadline that drain has set from a peer's.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDraining
	}
	return err
}

// event begins an event of this connection.
func (c *conn) event(kind event.Kind) event.Event {
	e := event.Event{Time: time.Now(), Kind: kind, Trace: c.trace, Role: "imap", Account: c.name, Helo: c.id}
	if c.remote.IsValid() {
		e.Remote = c.remote.String()
	}
	if c.state != nil {
		e.TLS = tls.VersionName(c.state.Version) + " " + tls.CipherSuiteName(c.state.CipherSuite)
	}
	return e
}
