// Package listen is the door of servers whose clients stay for long: it accepts
// connections, counts them, in all and by address, turns away what is too
// many, and lets those that are there finish when the server stops.
//
// Each connection has one goroutine, which ends with it.
package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("server closed")

// Session is one connection as its protocol sees it.
type Session interface {
	// Run serves the connection and closes it. ctx ends when Shutdown waits no
	// longer.
	Run(ctx context.Context)
	// Drain has Run end after the command that it is at. It is called from
	// another goroutine, at any time, and does not block.
	Drain()
}

// Door accepts connections on any number of listeners. Its exported fields are
// set before the first Serve and not changed after.
type Door struct {
	Connections int // at the same time
	PerAddress  int // of one IPv4 address or IPv6 /64, this machine excepted
	// Open gives the session of a new connection. It does not block.
	Open func(nc net.Conn) Session
	// Busy are the last words to a connection that is too many; empty: none.
	Busy   string
	Logger *slog.Logger // required

	start  sync.Once
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sessions  map[Session]net.Conn
	addresses map[netip.Addr]int
	running   sync.WaitGroup
}

func (d *Door) init() {
	d.start.Do(func() {
		d.ctx, d.cancel = context.WithCancel(context.Background())
		d.listeners = map[net.Listener]struct{}{}
		d.sessions = map[Session]net.Conn{}
		d.addresses = map[netip.Addr]int{}
	})
}

// Context is what sessions run with.
func (d *Door) Context() context.Context {
	d.init()
	return d.ctx
}

// Serve accepts connections from l until Shutdown, and closes l. It may be
// called for several listeners side by side.
func (d *Door) Serve(l net.Listener) error {
	d.init()
	defer l.Close()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.listeners[l] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.listeners, l)
	}()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			d.Enter(nc)
			continue
		}
		if d.isClosed() {
			return ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Most likely out of file descriptors: wait until some are free again.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		d.Logger.Error("accepting a connection", "listener", l.Addr().String(), "err", err)
		select {
		case <-time.After(pause):
		case <-d.ctx.Done():
		}
	}
}

func (d *Door) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Enter starts the goroutine of a connection, or turns it away.
func (d *Door) Enter(nc net.Conn) {
	d.init()
	from := Group(nc.RemoteAddr())
	d.mu.Lock()
	full := len(d.sessions) >= d.Connections || from.IsValid() && d.addresses[from] >= d.PerAddress
	if d.closed || full {
		d.mu.Unlock()
		if d.Busy != "" {
			// A fresh socket has room for a line: this does not block. The deadline is
			// for whatever does.
			nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			nc.Write([]byte(d.Busy))
		}
		nc.Close()
		return
	}
	s := d.Open(nc)
	d.sessions[s] = nc
	d.addresses[from]++
	d.running.Add(1)
	d.mu.Unlock()
	go func() {
		defer d.running.Done()
		defer d.leave(s, from)
		s.Run(d.ctx)
	}()
}

func (d *Door) leave(s Session, from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, s)
	if d.addresses[from]--; d.addresses[from] <= 0 {
		delete(d.addresses, from)
	}
}

// Shutdown closes the listeners and ends each session after the command that
// it is at. When ctx ends first, it closes the connections and gives ctx's
// error.
func (d *Door) Shutdown(ctx context.Context) error {
	d.init()
	d.mu.Lock()
	d.closed = true
	for l := range d.listeners {
		l.Close()
	}
	for s := range d.sessions {
		s.Drain()
	}
	d.mu.Unlock()
	done := make(chan struct{})
	go func() { d.Wait(); close(done) }()
	defer d.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	d.cancel()
	d.mu.Lock()
	for _, nc := range d.sessions {
		nc.Close()
	}
	d.mu.Unlock()
	<-done
	return ctx.Err()
}

// Wait waits until no connection is left.
func (d *Door) Wait() { d.running.Wait() }

// Remote gives the address of a peer, IPv4 as such; invalid where there is none.
func Remote(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Group gives what connections are counted by: an IPv4 address, or an IPv6
// /64. It is invalid for this machine.
func Group(a net.Addr) netip.Addr {
	from := Remote(a).Addr().WithZone("")
	if !from.IsValid() || from.IsLoopback() {
		return netip.Addr{}
	}
	if from.Is6() {
		p, err := from.Prefix(64)
		if err != nil {
			return from
		}
		return p.Addr()
	}
	return from
}
