// Package smtpc speaks SMTP (RFC 5321) and LMTP (RFC 2033) as a client, on a
// connection that is already open.
//
// A Client belongs to one goroutine. Every step has a deadline (Timeouts); the
// end of the context ends a step at once. After an error that is not a reply
// of the peer the connection is spent and Broken is true. What the peer says
// is bounded and made printable before anybody sees it.
//
// One Send is one mail transaction with any number of recipients, whose
// replies come back one by one. With PIPELINING (RFC 2920) the envelope and
// DATA travel in one flight.
package smtpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Timeouts of the steps of a dialogue (RFC 5321 section 4.5.3.2).
type Timeouts struct {
	Connect  time.Duration // one TCP connection; default 30 s
	Greeting time.Duration // default 5 min
	Command  time.Duration // EHLO, MAIL, RCPT, RSET, AUTH; default 5 min
	TLS      time.Duration // the handshake; default 1 min
	Data     time.Duration // until 354; default 2 min
	Block    time.Duration // each piece of the message; default 3 min
	End      time.Duration // the reply to the final dot; default 10 min
	Quit     time.Duration // default 5 s
}

// DefaultTimeouts are those of RFC 5321 where it has one.
var DefaultTimeouts = Timeouts{
	Connect: 30 * time.Second, Greeting: 5 * time.Minute, Command: 5 * time.Minute, TLS: time.Minute,
	Data: 2 * time.Minute, Block: 3 * time.Minute, End: 10 * time.Minute, Quit: 5 * time.Second,
}

// Extensions is what the peer's EHLO offered.
type Extensions struct {
	Pipelining, EightBit, UTF8, Chunking, Binary, DSN, StartTLS, Enhanced bool
	HasSize                                                               bool
	MaxSize                                                               int64 // octets, 0: no limit told
	Auth                                                                  []string
}

// Client is one dialogue.
type Client struct {
	Ext      Extensions
	Extended bool // the peer knows EHLO
	Broken   bool // the connection must not be used any more
	Sent     int  // transactions begun
	LMTP     bool

	raw   net.Conn        // for deadlines
	conn  net.Conn        // raw, or TLS on it
	ctx   context.Context // of the step at work
	br    *bufio.Reader
	bw    *bufio.Writer
	times Timeouts
	hello string
	dirty bool // a transaction is open: RSET first
	tls   *tls.ConnectionState
}

// New makes a Client of an open connection. hello is our name in EHLO.
func New(conn net.Conn, hello string, lmtp bool, t Timeouts) *Client {
	return &Client{
		raw: conn, conn: conn, ctx: context.Background(), br: bufio.NewReaderSize(conn, 4096), bw: bufio.NewWriterSize(conn, 16<<10),
		hello: hello, LMTP: lmtp, times: t,
	}
}

// TLS gives the state of the connection's TLS, nil without.
func (c *Client) TLS() *tls.ConnectionState { return c.tls }

// Start reads the greeting and says EHLO, or HELO to a peer that does not know
// it. A refusal is a *mail.Reply.
func (c *Client) Start(ctx context.Context) error {
	stop := c.watch(ctx)
	defer stop()
	r, err := c.read(c.times.Greeting)
	if err != nil {
		return c.broke("greeting", err)
	}
	if r.Class() != 2 {
		return r.Error()
	}
	return c.ehlo()
}

func (c *Client) ehlo() error {
	verb := "EHLO"
	if c.LMTP {
		verb = "LHLO"
	}
	r, err := c.command(c.times.Command, "%s %s", verb, c.hello)
	if err != nil {
		return c.broke(verb, err)
	}
	if r.Class() == 2 {
		c.Extended, c.Ext = true, parseExtensions(r.Lines)
		return nil
	}
	if c.LMTP || r.Class() != 5 || r.Code == 521 || r.Code == 554 {
		return r.Error()
	}
	c.Extended, c.Ext = false, Extensions{}
	if r, err = c.command(c.times.Command, "HELO %s", c.hello); err != nil {
		return c.broke("HELO", err)
	}
	if r.Class() != 2 {
		return r.Error()
	}
	return nil
}

func parseExtensions(lines []string) Extensions {
	var e Extensions
	for _, line := range lines[1:] {
		// "AUTH=LOGIN" is an old and still seen form.
		words := strings.Fields(strings.Replace(strings.ToUpper(line), "AUTH=", "AUTH ", 1))
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "PIPELINING":
			e.Pipelining = true
		case "8BITMIME":
			e.EightBit = true
		case "SMTPUTF8":
			e.UTF8 = true
		case "CHUNKING":
			e.Chunking = true
		case "BINARYMIME":
			e.Binary = true
		case "DSN":
			e.DSN = true
		case "STARTTLS":
			e.StartTLS = true
		case "ENHANCEDSTATUSCODES":
			e.Enhanced = true
		case "AUTH":
			e.Auth = append(e.Auth, words[1:]...)
		case "SIZE":
			e.HasSize = true
			if len(words) > 1 {
				if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
					e.MaxSize = n
				}
			}
		}
	}
	return e
}

// StartTLS turns TLS on and says EHLO again. An error of the handshake wraps
// ErrTLS.
func (c *Client) StartTLS(ctx context.Context, config *tls.Config) error {
	stop := c.watch(ctx)
	defer stop()
	r, err := c.command(c.times.Command, "STARTTLS")
	if err != nil {
		return c.broke("STARTTLS", err)
	}
	if r.Code != 220 {
		return fmt.Errorf("%w: STARTTLS refused: %w", ErrTLS, r.Error())
	}
	if c.br.Buffered() > 0 {
		c.Broken = true
		return fmt.Errorf("%w: the peer sent plain text behind STARTTLS", ErrTLS)
	}
	if err := c.handshake(ctx, config); err != nil {
		return err
	}
	return c.ehlo()
}

// Handshake begins TLS at once, before the greeting (RFC 8314).
func (c *Client) Handshake(ctx context.Context, config *tls.Config) error {
	stop := c.watch(ctx)
	defer stop()
	return c.handshake(ctx, config)
}

// ErrTLS is wrapped by failures to begin TLS.
var ErrTLS = errors.New("TLS failed")

func (c *Client) handshake(ctx context.Context, config *tls.Config) error {
	c.deadline(c.times.TLS)
	t := tls.Client(c.conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Broken = true
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	state := t.ConnectionState()
	c.conn, c.tls = t, &state
	c.br.Reset(t)
	c.bw.Reset(t)
	return nil
}

// Quit says goodbye, shortly, and closes the connection.
func (c *Client) Quit() {
	if !c.Broken {
		c.ctx = context.Background()
		c.command(c.times.Quit, "QUIT")
	}
	c.Close()
}

// Close closes the connection without a word.
func (c *Client) Close() {
	c.Broken = true
	c.conn.Close()
}

// watch ends a step when ctx ends.
func (c *Client) watch(ctx context.Context) func() bool {
	c.ctx = ctx
	return context.AfterFunc(ctx, func() { c.raw.SetDeadline(time.Unix(1, 0)) })
}

// deadline gives the next reads and writes d. A context that ended meanwhile
// wins.
func (c *Client) deadline(d time.Duration) {
	c.raw.SetDeadline(time.Now().Add(d))
	if c.ctx.Err() != nil {
		c.raw.SetDeadline(time.Unix(1, 0))
	}
}

// command writes one command and reads its reply.
func (c *Client) command(d time.Duration, format string, args ...any) (*Reply, error) {
	c.deadline(d)
	fmt.Fprintf(c.bw, format+"\r\n", args...)
	if err := c.bw.Flush(); err != nil {
		return nil, err
	}
	return c.read(d)
}

func (c *Client) read(d time.Duration) (*Reply, error) {
	c.deadline(d)
	r, err := ReadReply(c.br)
	if err == nil && r.Code == 421 {
		c.Broken = true
	}
	return r, err
}

// LostError says that the dialogue broke off, by no reply of the peer.
type LostError struct {
	Step string // what was being done
	Err  error
}

// Error tells step and cause.
func (e *LostError) Error() string { return "connection lost at " + e.Step + ": " + reason(e.Err) }

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Err }

func (c *Client) broke(step string, err error) error {
	c.Broken = true
	return &LostError{Step: step, Err: err}
}

// reason says err in few words, without addresses of ours.
func reason(err error) string {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the peer"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// AsReply gives any error of a Client as a reply: the peer's own, or a
// temporary one that says what broke (RFC 3463: 4.4.2 bad connection).
func AsReply(err error) *mail.Reply {
	var r *mail.Reply
	if errors.As(err, &r) && !errors.Is(err, ErrTLS) {
		return r
	}
	if errors.Is(err, ErrTLS) {
		return &mail.Reply{Code: 451, Enhanced: "4.7.5", Text: err.Error()}
	}
	if errors.Is(err, ErrReply) {
		return &mail.Reply{Code: 451, Enhanced: "4.5.0", Text: err.Error()}
	}
	return &mail.Reply{Code: 451, Enhanced: "4.4.2", Text: err.Error()}
}
