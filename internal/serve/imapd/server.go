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
// store starts a goroutine that tells what is new to a client that idles or has
// asked for it by NOTIFY (push.go), one at a time for each connection.
// conn.work orders them, view.mu guards what the client knows.
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
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/listen"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = listen.ErrClosed

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
	door   listen.Door
}

// Limits bound what a peer may take. Zero fields get the defaults.
type Limits struct {
	Connections int           // at the same time; default 20,000
	PerAddress  int           // of one IPv4 address or IPv6 /64, this machine excepted; default 200
	PerAccount  int           // logged in to one account, from other machines; default 200
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
	set(&l.PerAccount, 200)
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
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
		if s.Shelf == nil {
			s.Shelf = &Shelf{}
		}
		s.Shelf.begin()
		s.door = listen.Door{
			Connections: s.limits.Connections, PerAddress: s.limits.PerAddress, Logger: s.Logger,
			Open: func(nc net.Conn) listen.Session { return newConn(s, nc) },
		}
		if !s.Implicit { // a handshake would cost what is to be saved
			s.door.Busy = "* BYE [UNAVAILABLE] Too busy, try again later\r\n"
		}
	})
}

// Serve accepts connections from l until Shutdown, and closes l. It may be
// called for several listeners side by side.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if s.TLS == nil {
		l.Close()
		return errors.New("imapd: no TLS configuration")
	}
	return s.door.Serve(l)
}

// Shutdown closes the listeners and ends each session after the command that
// it is at. When ctx ends first, it closes the connections and gives ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	return s.door.Shutdown(ctx)
}
