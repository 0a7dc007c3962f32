package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/serve/listen"
)

// Why a connection ends before LOGOUT.
var (
	errDraining = errors.New("server is shutting down")
	errEnd      = errors.New("session ended")
	errFaults   = errors.New("too many wrong commands")
	errPanic    = errors.New("internal error")
	errDeleted  = errors.New("selected mailbox was deleted")
	errStartTLS = errors.New("begin TLS")
	errIdling   = errors.New("begin to idle")
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
	trace  mail.TraceID
	state  *tls.ConnectionState // nil without TLS
	start  time.Time

	nap *nap // below TLS; nil: none
	in  input
	dec wire.Decoder
	out output

	mu       sync.Mutex // orders deadlines for reading with drain
	draining bool
	within   bool // a command has begun and is not read to its end

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
	who      string // the address of its account, for events
	guest    bool   // known to Shelf.enter
	id       string // what the client said of itself (ID)
	enabled  enabled
	// compressed is set by COMPRESS.
	compressed bool
	sel        *view // nil when no mailbox is selected; changed under work only
	push       pusher
	watching   *watching // by NOTIFY; nil: it was not used. Changed under work only
	idle       string    // the tag of IDLE while it lasts
}

// maxStranger is how much of a command is kept in memory before login, in octets.
const maxStranger = 64 << 10

// maxBeside is how many commands of a connection run side by side.
const maxBeside = 4

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{srv: s, raw: nc, nc: nc, trace: mail.NewTraceID(), start: time.Now(), remote: listen.Remote(nc.RemoteAddr())}
}

// Run serves the connection and closes it.
func (c *conn) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		c.running.Wait()
		c.work.Lock() // a push may be under way
		c.unselect()
		c.notifyAs(nil)
		c.work.Unlock()
		if c.guest {
			c.srv.Shelf.exit(c, c.account)
		}
		c.nc.Close()
		e := c.event(event.Close)
		e.Millis = time.Since(c.start).Milliseconds()
		c.srv.Events.Record(e)
	}()
	c.srv.Events.Record(c.event(event.Connect))
	if c.srv.Implicit && !c.handshake(ctx) {
		return
	}
	c.transport()
	c.greet()
	for {
		// Where a connection spends its life: few frames lie on the stack.
		err := c.await()
		if err == nil {
			err = c.next(ctx)
		}
		if err != nil {
			if left(err) {
				cancel() // nobody waits for what still runs
			}
			c.running.Wait()
			c.farewell(err)
			return
		}
	}
}

// left tells whether an error of reading means that the peer is there no more.
func left(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET)
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

// farewell says why the connection is closed, where that helps.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errDraining):
		c.line("* BYE Shutting down, try again later")
	case errors.Is(err, errFaults):
		c.line("* BYE Too many wrong commands")
	case errors.Is(err, wire.ErrTooMuch):
		c.line("* BYE [TOOBIG] Too much to read over")
	case errors.Is(err, errPanic):
		c.line("* BYE [SERVERBUG] Internal error")
	case errors.Is(err, errDismissed):
		c.line("* BYE This account is not in use any more")
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
	below := c.raw
	if c.nap = newNap(c.raw); c.nap != nil {
		below = c.nap
	}
	t := tls.Server(below, c.srv.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		e := c.event(event.Refuse)
		e.Verb, e.Reason = "TLS", err.Error()
		c.srv.Events.Record(e)
		return false
	}
	state := t.ConnectionState()
	c.mu.Lock()
	c.nc, c.state = t, &state
	c.mu.Unlock()
	return true
}

// event begins an event of this connection.
func (c *conn) event(kind event.Kind) event.Event {
	e := event.Event{Time: time.Now(), Kind: kind, Trace: c.trace, Role: "imap", Account: c.who, Helo: c.id}
	e = e.Peer(c.remote)
	if c.state != nil {
		e.TLS = tls.VersionName(c.state.Version) + " " + tls.CipherSuiteName(c.state.CipherSuite)
	}
	return e
}
