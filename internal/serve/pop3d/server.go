// Package pop3d is the POP3 server: RFC 1939 with CAPA and response codes
// (RFC 2449, RFC 3206), STLS (RFC 2595), SASL (RFC 5034) and UTF8 (RFC 6856).
//
// A session shows the INBOX as it was at login. Only one session at a time has
// it (Locks). DELE takes effect at QUIT, in one transaction; RETR marks \Seen.
// A unique id is UIDVALIDITY and UID in hexadecimal: it stays for good, and
// IMAP sees the same numbers.
//
// Nobody logs in outside of TLS, not even on this machine. All failures of a
// login sound the same and come a set time after the attempt, so that neither
// words nor time tell whether an account exists. APOP is not offered: it would
// need passwords in clear.
//
// UTF8 changes nothing in what is sent: messages with UTF-8 in their headers go
// to every client as they are, since the answer -ERR that RFC 6856 section 2
// also allows would hide mail from its owner.
//
// Each connection has one goroutine, which ends with it. Messages stream from
// the store; none is ever whole in memory.
package pop3d

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/listen"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = listen.ErrClosed

// Server speaks POP3 on any number of listeners of one kind. Its exported
// fields are set before the first Serve and not changed after.
type Server struct {
	Hostname  string         // our name in the banner
	TLS       *tls.Config    // required: without it nobody can log in
	Implicit  bool           // TLS from the first octet (RFC 8314)
	Mailboxes *mailbox.Store // required
	SASL      *sasl.Server   // required; USER and PASS go through its PLAIN
	// Account gives the number of the account that SASL named. Required.
	Account func(ctx context.Context, name string) (int64, error)
	// Address gives the address of an account, for events; nil: they have the
	// name that SASL gave.
	Address func(ctx context.Context, account int64) (string, error)
	Locks   *Locks          // required; one for all servers of a process
	Events  *event.Recorder // nil: nothing is recorded
	Limits  Limits
	Logger  *slog.Logger // nil: nothing is logged. Gets what is wrong with us, not with peers

	start  sync.Once
	limits Limits
	door   listen.Door
}

// Limits bound what a peer may take. Zero fields get the defaults.
type Limits struct {
	Connections int           // at the same time; default 4000
	PerAddress  int           // of one IPv4 address or IPv6 /64, this machine excepted; default 50
	Idle        time.Duration // between commands of who is logged in; default 10 min, the least of RFC 1939
	Login       time.Duration // from the connection to the login; default 3 min
	Handshake   time.Duration // of TLS; default 30 s
	Write       time.Duration // for 32 KiB to leave; default 2 min
	Failures    int           // logins that fail before the connection is closed; default 3
	FailDelay   time.Duration // from an attempt to the answer that it failed, longer each time; default 2 s
	Faults      int           // commands unknown or out of place before the connection is closed; default 20
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
	set(&l.Connections, 4000)
	set(&l.PerAddress, 50)
	set(&l.Failures, 3)
	set(&l.Faults, 20)
	wait(&l.Idle, 10*time.Minute)
	wait(&l.Login, 3*time.Minute)
	wait(&l.Handshake, 30*time.Second)
	wait(&l.Write, 2*time.Minute)
	wait(&l.FailDelay, 2*time.Second)
	return l
}

func (s *Server) init() {
	s.start.Do(func() {
		s.limits = s.Limits.withDefaults()
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
		s.door = listen.Door{
			Connections: s.limits.Connections, PerAddress: s.limits.PerAddress, Logger: s.Logger,
			Open: func(nc net.Conn) listen.Session { return newConn(s, nc) },
		}
		if !s.Implicit { // a handshake would cost what is to be saved
			s.door.Busy = "-ERR [SYS/TEMP] Too busy, try again later\r\n"
		}
	})
}

// Serve accepts connections from l until Shutdown, and closes l. It may be
// called for several listeners side by side.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if s.TLS == nil {
		l.Close()
		return errors.New("pop3d: no TLS configuration")
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
