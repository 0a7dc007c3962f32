// Package edgemilter brings the edge to sendmail and Postfix as a milter.
//
// # What a milter can and cannot do
//
// Both servers look a recipient up before they ask a milter about it. Of one
// that they refuse they tell the milter afterwards (SMFIP_RCPT_REJ, with the
// macro {rcpt_mailer} "error"), and its answer changes nothing. A deferral at
// RCPT would thus tell existing recipients from unknown ones: 451 here, 550
// there. So who asks the edge depends on what stands beside the milter (Mode).
package edgemilter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/serve/foreign"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("edgemilter: server closed")

// Mode says at which step of a transaction the edge is asked.
type Mode uint8

// The modes.
const (
	// Transactions: once for each transaction, at MAIL, when no recipient is
	// known yet. That is blind, but coarse: a transaction that may begin hears the
	// truth for all its recipients, and the recipients of others are never seen.
	Transactions Mode = iota
	// Outcomes: never; the policy service is asked before the server looks a
	// recipient up, and the milter tells what came of it.
	Outcomes
	// Recipients: for each recipient. The server must refuse no recipient by
	// itself; Server.Recipients knows them.
	Recipients
)

// The limits of a connection.
const (
	maxConnections = 2000
	idleTime       = 65 * time.Minute // sendmail lets its clients be idle for an hour
	writeTime      = 10 * time.Second
	drainTime      = 2 * time.Second // for messages that are being handed over when we stop
)

// Role is what events call this service.
const Role = "edge-milter"

// Server is a milter on any number of listeners. Its exported fields are set
// before the first Serve.
type Server struct {
	Desk       *foreign.Desk
	Mode       Mode
	Recipients foreign.Recipients // of Mode Recipients
	Logger     *slog.Logger       // nil: nothing is logged

	once   sync.Once
	milter *milter.Server
	open   atomic.Int64 // connections
	warned sync.Once
}

func (s *Server) init() {
	s.once.Do(func() {
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
		s.Desk.HearsEnds()
		s.milter = milter.NewServer(
			milter.WithMilter(func() milter.Milter { return &session{server: s} }),
			milter.WithProtocols(milter.OptNoHeaders|milter.OptNoEOH|milter.OptNoBody|milter.OptNoData|milter.OptNoUnknown|milter.OptRcptRej),
			milter.WithReadTimeout(idleTime), milter.WithWriteTimeout(writeTime),
		)
	})
}

// Serve accepts connections from l until Shutdown, and closes l.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if err := s.milter.Serve(&listener{l, s}); err != nil && !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	return ErrServerClosed
}

// Shutdown closes the listeners, gives messages that are being handed over a
// moment, and ends all connections.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := s.milter.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// listener gives the library connections on which only whole and bounded
// packets come in, and not too many of them.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.server.open.Add(1) > maxConnections {
			l.server.open.Add(-1)
			c.Close()
			continue
		}
		return &conn{Conn: c, server: l.server}, nil
	}
}
