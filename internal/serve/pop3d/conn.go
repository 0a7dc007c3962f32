package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/listen"
)

// Longest lines with their end, in octets.
const (
	maxLine     = 1000  // RFC 2449 section 4 says 255; initial responses of AUTH are often longer
	maxAuthLine = 12288 // RFC 5034 section 4
)

// Why a connection ends before QUIT.
var (
	errDraining = errors.New("server is shutting down")
	errTooLong  = errors.New("line too long")
	errControl  = errors.New("control character in a line")
	errEnd      = errors.New("session ended")
)

// conn is one connection. Its goroutine alone uses it, but for drain.
type conn struct {
	srv    *Server
	raw    net.Conn // as accepted
	nc     net.Conn // raw or TLS over it
	in     *bufio.Reader
	out    *bufio.Writer
	remote netip.AddrPort
	trace  mail.TraceID
	state  *tls.ConnectionState // nil without TLS
	start  time.Time

	mu       sync.Mutex // orders deadlines for reading with drain
	draining bool

	user     string // of USER
	failures int    // logins
	faults   int
	session  *session // nil before login
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{srv: s, raw: nc, nc: nc, trace: mail.NewTraceID(), start: time.Now(), remote: listen.Remote(nc.RemoteAddr())}
}

// Run serves the connection and closes it.
func (c *conn) Run(ctx context.Context) {
	c.srv.Events.Record(c.event(event.Connect))
	who := ""
	defer func() {
		c.nc.Close()
		e := c.event(event.Close)
		e.Account, e.Millis = who, time.Since(c.start).Milliseconds()
		c.srv.Events.Record(e)
	}()
	if c.srv.Implicit && !c.handshake(ctx) {
		return
	}
	c.buffers()
	defer c.release()
	c.reply("+OK " + c.srv.Hostname + " ready")
	for {
		line, err := c.readLine(maxLine)
		switch {
		case err == nil:
			err = c.command(ctx, line)
		case errors.Is(err, errControl):
			err = c.fault("Control character in a command")
		}
		if c.session != nil {
			who = c.session.name
		}
		if err != nil {
			c.farewell(err)
			return
		}
	}
}

// release ends the session of a connection that is over.
func (c *conn) release() {
	if c.session != nil {
		// The connection may have gone because the server did, but what was
		// read stays read.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.srv.door.Context()), 10*time.Second)
		defer cancel()
		if err := c.session.markSeen(ctx); err != nil {
			c.srv.Logger.Error("marking messages as seen", "account", c.session.name, "err", err)
		}
		c.session.unlock()
		c.session = nil
	}
}

// farewell says why the connection is closed, where that helps.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errDraining):
		c.reply("-ERR [SYS/TEMP] Shutting down, try again later")
	case errors.Is(err, errTooLong):
		c.reply("-ERR Line too long")
	}
	c.flush() // after a timeout nothing is said (RFC 1939 section 3)
}

func (c *conn) buffers() {
	c.in = bufio.NewReaderSize(c.nc, 1024)
	c.out = bufio.NewWriterSize(deadlineWriter{c}, 4096)
}

// deadlineWriter gives each write its time.
type deadlineWriter struct{ c *conn }

func (w deadlineWriter) Write(p []byte) (int, error) {
	w.c.nc.SetWriteDeadline(time.Now().Add(w.c.srv.limits.Write))
	return w.c.nc.Write(p)
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

// Drain wakes a connection that waits for a command.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// readLine gives the next line of at most limit octets without its end, good
// until the next call. It takes a bare LF as an end. Replies leave before it
// waits.
func (c *conn) readLine(limit int) (string, error) {
	if !hasLine(c.in) {
		if err := c.flush(); err != nil {
			return "", err
		}
		if err := c.expect(); err != nil {
			return "", err
		}
	}
	var line []byte
	for {
		part, err := c.in.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", errTooLong
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", c.why(err)
		}
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	for _, b := range line {
		if b < ' ' || b == 0x7f {
			return "", errControl
		}
	}
	return string(line), nil
}

// hasLine tells whether the next line is there already.
func hasLine(r *bufio.Reader) bool {
	b, _ := r.Peek(r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// expect sets the time by which the next line must have come.
func (c *conn) expect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDraining
	}
	by := time.Now().Add(c.srv.limits.Idle)
	if end := c.start.Add(c.srv.limits.Login); c.session == nil && end.Before(by) {
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

func (c *conn) flush() error { return c.out.Flush() }

// reply queues a line. An error of the connection shows at the next flush.
func (c *conn) reply(text string) { fmt.Fprintf(c.out, "%s\r\n", text) }

// fault answers a command that is unknown or out of place.
func (c *conn) fault(text string) error {
	c.faults++
	c.reply("-ERR " + text)
	if c.faults >= c.srv.limits.Faults {
		return errEnd
	}
	return nil
}

// event begins an event of this connection.
func (c *conn) event(kind event.Kind) event.Event {
	e := event.Event{Time: time.Now(), Kind: kind, Trace: c.trace, Role: "pop3"}
	e = e.Peer(c.remote)
	if c.state != nil {
		e.TLS = tls.VersionName(c.state.Version) + " " + tls.CipherSuiteName(c.state.CipherSuite)
	}
	if c.session != nil {
		e.Account = c.session.name
	}
	return e
}

// split cuts a line into its keyword in capitals and the rest.
func split(line string) (verb, arg string) {
	verb, arg, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), arg
}
