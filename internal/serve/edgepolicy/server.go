// Package edgepolicy lets another mail server ask the edge before it looks a
// recipient up. It speaks two small languages on one port and tells them apart
// by the first octet: the policy delegation protocol of Postfix (request.go)
// and the socket map of sendmail (socketmap.go).
//
// Both come before the other server's own look-up; this is what a milter cannot
// do: both servers show a milter their refusal of an unknown recipient, and let
// it change nothing of it.
//
// The port is for the mail server beside us. It has no password: keep it on
// loopback or behind a firewall. Each connection has one goroutine, which ends
// with it; a request is bounded in octets and attributes.
package edgepolicy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/serve/foreign"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("edgepolicy: server closed")

// The limits of a connection.
const (
	maxConnections = 2000
	idleTime       = 15 * time.Minute // Postfix leaves a connection idle for 5 min
	writeTime      = 10 * time.Second
)

// Role is what events call this service.
const Role = "edge-policy"

// Server answers on any number of listeners. Its exported fields are set before
// the first Serve.
type Server struct {
	Desk   *foreign.Desk
	Logger *slog.Logger // nil: nothing is logged

	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	wg        sync.WaitGroup
}

func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.listeners, s.conns = map[net.Listener]struct{}{}, map[net.Conn]struct{}{}
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Serve accepts connections from l until Shutdown, and closes l.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			s.accept(c)
		case s.ctx.Err() != nil:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // most likely out of file descriptors
			s.Logger.Error("accepting a connection", "listener", l.Addr().String(), "err", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (s *Server) accept(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConnections {
		c.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Go(func() {
		defer func() {
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		err := s.talk(c)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			s.Logger.Warn("the mail server's request", "from", c.RemoteAddr().String(), "err", err)
		}
	})
}

// talk answers requests until the other side ends.
func (s *Server) talk(c net.Conn) error {
	r := bufio.NewReaderSize(c, 4096)
	for {
		c.SetReadDeadline(time.Now().Add(idleTime))
		first, err := r.Peek(1)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				return nil
			}
			return err
		}
		answer := s.policy
		if first[0] >= '0' && first[0] <= '9' {
			answer = s.socketmap
		}
		text, after, err := answer(r)
		if err != nil {
			return err
		}
		c.SetWriteDeadline(time.Now().Add(writeTime))
		_, err = io.WriteString(c, text)
		after()
		if err != nil {
			return err
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// Shutdown closes the listeners and all connections: a request takes no time,
// and a mail server whose connection is gone opens another or goes on without.
func (s *Server) Shutdown(context.Context) error {
	s.init()
	s.mu.Lock()
	s.closed = true
	s.cancel()
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// until waits for the point of the grid on which a reply leaves.
func (s *Server) until(at time.Time) {
	select {
	case <-time.After(time.Until(at)):
	case <-s.ctx.Done():
	}
}
