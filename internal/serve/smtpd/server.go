package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("smtpd: server closed")

// Server speaks SMTP on any number of listeners of one kind. Its exported
// fields are set before the first Serve and not changed after.
type Server struct {
	Handler  Handler     // required
	Hostname string      // our name in the banner and in EHLO's answer; required
	Greeting string      // the banner's text behind the name, default "ESMTP"
	TLS      *tls.Config // nil: no STARTTLS
	Implicit bool        // TLS from the first octet (RFC 8314); needs TLS
	Proxy    *Proxy      // nil: PROXY headers are neither expected nor understood
	Limits   Limits
	Logger   *slog.Logger // nil: nothing is logged. Gets what is wrong with us, not with peers

	start  sync.Once
	limits Limits
	ctx    context.Context // given to the Handler, ended by Close
	cancel context.CancelFunc
	drain  chan struct{} // closed by Shutdown and Close

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	addresses map[netip.Addr]int // connections by address or /64
	idle      chan struct{}      // closed when the last connection goes after the drain began
	count     counters
	held      atomic.Int64
}

// Stats counts since the start, but for Open.
type Stats struct {
	Open        int   // connections now
	Held        int   // of them those that wait for a Delay or Tarpit of a second or more
	Connections int64 // accepted from listeners
	Shed        int64 // answered 421 for a limit of connections, or of those held
	Commands    int64
	Messages    int64 // answered 2xx
	Faults      int64 // of protocol
	Panics      int64 // of the Handler
}

type counters struct{ connections, shed, commands, messages, faults, panics atomic.Int64 }

// Stats gives the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Open:        open,
		Held:        int(s.held.Load()),
		Connections: s.count.connections.Load(),
		Shed:        s.count.shed.Load(),
		Commands:    s.count.commands.Load(),
		Messages:    s.count.messages.Load(),
		Faults:      s.count.faults.Load(),
		Panics:      s.count.panics.Load(),
	}
}

func (s *Server) init() {
	s.start.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.drain = make(chan struct{})
		s.idle = make(chan struct{})
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[*conn]struct{})
		s.addresses = make(map[netip.Addr]int)
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
		if s.Greeting == "" {
			s.Greeting = "ESMTP"
		}
	})
}

// Serve accepts connections from l until Shutdown or Close, and closes l. It
// may be called for several listeners side by side.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if s.Implicit && s.TLS == nil {
		return errors.New("smtpd: Implicit without TLS")
	}
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.accept(nc)
			continue
		}
		select {
		case <-s.drain:
			return ErrServerClosed
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Most likely out of file descriptors: wait until some are free again.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.Logger.Error("accepting a connection", "listener", l.Addr().String(), "err", err)
		select {
		case <-time.After(pause):
		case <-s.drain:
			return ErrServerClosed
		}
	}
}

// accept starts the goroutine of a connection, or sheds it.
func (s *Server) accept(nc net.Conn) {
	s.count.connections.Add(1)
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		shed(nc, replyClosing)
		return
	case s.full() && (s.Proxy != nil || !addrPort(nc.RemoteAddr()).Addr().IsLoopback()):
		s.mu.Unlock()
		s.count.shed.Add(1)
		shed(nc, replyCrowded)
		return
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	go c.run()
}

func (s *Server) full() bool {
	return s.limits.Connections > 0 && len(s.conns) >= s.limits.Connections
}

// shed says r and closes. A fresh socket has room for one line, so this does
// not block; the deadline is for whatever does.
func shed(nc net.Conn, r mail.Reply) {
	nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	nc.Write(appendReply(make([]byte, 0, 128), r, false))
	nc.Close()
}

// enter counts c for its address and tells whether there is room for it.
func (s *Server) enter(c *conn) bool {
	if s.limits.PerAddress < 0 || c.info.Exempt() {
		return true
	}
	key := addressKey(c.info.Remote.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addresses[key] >= s.limits.PerAddress {
		return false
	}
	s.addresses[key]++
	c.counted = true
	return true
}

// addressKey gives what one site is taken to have: an IPv4 address, or an IPv6
// /64.
func addressKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// leave forgets c.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.counted {
		key := addressKey(c.info.Remote.Addr())
		if s.addresses[key]--; s.addresses[key] <= 0 {
			delete(s.addresses, key)
		}
	}
	if s.closed && len(s.conns) == 0 {
		s.finish()
	}
}

// finish tells Shutdown that no connection is left. It needs s.mu.
func (s *Server) finish() {
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// stop closes the listeners and gives the connections open at this moment.
func (s *Server) stop() []*conn {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.drain)
	}
	for l := range s.listeners {
		l.Close()
	}
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	if len(open) == 0 {
		s.finish()
	}
	return open
}

// Shutdown closes the listeners and tells every peer 421 4.3.2: at once where
// a command is awaited, behind the reply to its message where one is being
// read. When ctx ends first, the connections left are closed as by Close, and
// ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.stop()
	}
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// Close closes listeners and connections, ends the Handler's context, and
// waits until every Session has ended.
func (s *Server) Close() error {
	open := s.stop()
	s.cancel()
	for _, c := range open {
		c.raw.Close()
	}
	<-s.idle
	return nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
