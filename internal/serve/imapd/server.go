// Package imapd is the IMAP server: IMAP4rev1 (RFC 3501) and IMAP4rev2
// (RFC 9051) with the extensions that capability.go lists.
//
// # Where to look
//
// conn.go has the connection, command.go the commands and how they run,
// view.go the selected mailbox as the client knows it. Each family of commands
// has a file of its own. Package wire has the syntax.
//
// # Goroutines
//
// One goroutine reads the commands of a connection. Commands that change
// nothing (task.shared) run in goroutines of their own, side by side; all
// others wait until those have ended, and run in the reader's. A notice of the
// store starts a goroutine that tells an idle client what is new. conn.work
// orders them, view.mu guards what the client knows.
//
// # Slow clients
//
// What is written is bounded by a buffer, then by the client's own speed: no
// database transaction and no lock of the store is held while writing.
package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("imapd: server closed")

// Server speaks IMAP on any number of listeners of one kind. Its exported
// fields are set before the first Serve and not changed after.
type Server struct {
	Hostname  string         // our name in the greeting
	TLS       *tls.Config    // required: without it nobody can log in
	Implicit  bool           // TLS from the first octet (RFC 8314)
	Mailboxes *mailbox.Store // required
	SASL      *sasl.Server   // required; LOGIN goes through its PLAIN
	// Account gives the number of the account that SASL named. Required.
	Account func(ctx context.Context, name string) (int64, error)
	// Owner gives the number of the account that has this address, 0 when
	// there is none, and Address gives the address of an account. Without
	// them nobody sees what others share. Set both or none.
	Owner   func(ctx context.Context, a mail.Address) (int64, error)
	Address func(ctx context.Context, account int64) (string, error)
	// Contact is a URI to reach who runs the server (RFC 5464 section
	// 6.2.1.2); empty: none is told.
	Contact string
	Shelf   *Shelf // one for all servers of a process; nil: one of its own
	// Fulltext finds texts in bodies. Nil: SEARCH reads the bodies.
	Fulltext *fulltext.Index
	Events   *event.Recorder // nil: nothing is recorded
	Limits   Limits
	Logger   *slog.Logger // nil: nothing is logged. Gets what is wrong with us, not with peers

	start  sync.Once
	limits Limits
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	addresses map[netip.Addr]int
	wg        sync.WaitGroup
}

// Limits bound what a peer may take. Zero fields get the defaults.
type Limits struct {
	Connections int           // at the same time; default 20,000
	PerAddress  int           // of one IPv4 address or IPv6 /64, this machine excepted; default 200
	Idle        time.Duration // between commands of who is logged in; default 30 min, the least of RFC 9051
	Stall       time.Duration // for more of a command that has begun; default 5 min
	Login       time.Duration // from the connection to the login; default 3 min
	Handshake   time.Duration // of TLS; default 30 s
	Write       time.Duration // for a buffer to leave; default 2 min
	Failures    int           // logins that fail before the connection is closed; default 3
	FailDelay   time.Duration // from an attempt to the answer that it failed, longer each time; default 2 s
	Faults      int           // commands unknown or wrong, one after the other, before the connection is closed; default 20
	Append      int64         // octets of one message of APPEND; default 100 MiB (APPENDLIMIT, RFC 7889)
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	wait := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	set(&l.Connections, 20_000)
	set(&l.PerAddress, 200)
	set(&l.Failures, 3)
	set(&l.Faults, 20)
	wait(&l.Idle, 30*time.Minute)
	wait(&l.Stall, 5*time.Minute)
	wait(&l.Login, 3*time.Minute)
	wait(&l.Handshake, 30*time.Second)
	wait(&l.Write, 2*time.Minute)
	wait(&l.FailDelay, 2*time.Second)
	if l.Append == 0 {
		l.Append = 100 << 20
	}
	return l
}

func (s *Server) init() {
	s.start.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.listeners = map[net.Listener]struct{}{}
		s.conns = map[*conn]struct{}{}
		s.addresses = map[netip.Addr]int{}
		if s.Shelf == nil {
			s.Shelf = &Shelf{}
		}
		s.Shelf.begin()
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Serve accepts connections from l until Shutdown, and closes l. It may be
// called for several listeners side by side.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	defer l.Close()
	if s.TLS == nil {
		return errors.New("imapd: no TLS configuration")
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.accept(nc)
			continue
		}
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Most likely out of file descriptors: wait until some are free again.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.Logger.Error("accepting a connection", "listener", l.Addr().String(), "err", err)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

// accept starts the goroutine of a connection, or turns it away.
func (s *Server) accept(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	full := len(s.conns) >= s.limits.Connections || c.group.IsValid() && s.addresses[c.group] >= s.limits.PerAddress
	if s.closed || full {
		s.mu.Unlock()
		if !s.Implicit { // a handshake would cost what is to be saved
			nc.SetWriteDeadline(time.Now().Add(time.Second))
			nc.Write([]byte("* BYE [UNAVAILABLE] Too busy, try again later\r\n"))
		}
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.addresses[c.group]++
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer s.forget(c)
		c.run(s.ctx)
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.addresses[c.group]--; s.addresses[c.group] <= 0 {
		delete(s.addresses, c.group)
	}
}

// Shutdown closes the listeners and ends each session after the command that
// it is at. When ctx ends first, it closes the connections and gives ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.raw.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// group gives what connections are counted by, invalid for this machine.
func group(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return netip.Addr{}
	}
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}
