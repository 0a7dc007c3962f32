package imapd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

var sessionCommands = map[string]command{
	"CAPABILITY":   {anywhere, (*conn).parseCapability},
	"NOOP":         {anywhere, (*conn).parseNoop},
	"CHECK":        {selected, (*conn).parseNoop},
	"LOGOUT":       {anywhere, (*conn).parseLogout},
	"STARTTLS":     {before, (*conn).parseStartTLS},
	"LOGIN":        {before, (*conn).parseLogin},
	"AUTHENTICATE": {before, (*conn).parseAuthenticate},
	"ID":           {anywhere, (*conn).parseID},
	"ENABLE":       {after, (*conn).parseEnable},
	"COMPRESS":     {after, (*conn).parseCompress},
	"IDLE":         {after, (*conn).parseIdle},
}

func (c *conn) greet() {
	c.line("* OK [CAPABILITY " + c.capability() + "] " + c.srv.Hostname + " ready")
}

func (c *conn) parseCapability(d *wire.Decoder) task {
	d.End()
	return task{run: func(context.Context) (string, error) {
		c.line("* CAPABILITY " + c.capability())
		return "", nil
	}}
}

func (c *conn) parseNoop(d *wire.Decoder) task {
	d.End()
	return task{run: func(context.Context) (string, error) { return "", nil }}
}

func (c *conn) parseLogout(d *wire.Decoder) task {
	d.End()
	return task{sync: syncNone, run: func(context.Context) (string, error) {
		c.line("* BYE Logging out")
		return "LOGOUT completed", errEnd
	}}
}

// parseStartTLS begins TLS. Nothing that came in clear is taken over.
func (c *conn) parseStartTLS(d *wire.Decoder) task {
	d.End()
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) {
		if c.state != nil {
			return "", bad("TLS is active already")
		}
		if c.in.buffered() {
			c.line("* BYE Talk ahead of TLS")
			return "", errEnd
		}
		return "", errStartTLS
	}}
}

func (c *conn) startTLS(ctx context.Context, tag string) error {
	c.line(tag + " OK Begin TLS")
	if err := c.out.flush(); err != nil {
		return err
	}
	if !c.handshake(ctx) {
		c.out.init(&bytes.Buffer{}) // nothing may be said in clear any more
		return errEnd
	}
	c.transport()
	return nil
}

func (c *conn) parseLogin(d *wire.Decoder) task {
	d.SP()
	user := d.Astring()
	d.SP()
	password := d.Astring()
	d.End()
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) {
		noMore := func([]byte) ([]byte, error) { return nil, sasl.ErrMalformed }
		return c.login(ctx, "LOGIN", user, func() (string, error) {
			return c.srv.SASL.Run(ctx, c.client(), sasl.Plain, []byte("\x00"+user+"\x00"+password), noMore, c.state)
		})
	}}
}

// parseAuthenticate reads the mechanism and an initial response (RFC 4959).
func (c *conn) parseAuthenticate(d *wire.Decoder) task {
	d.SP()
	mechanism := d.Word()
	var initial []byte
	if d.AcceptSP() {
		var err error
		if initial, err = decode(d.Text()); err != nil {
			d.Fail("Not base64")
		}
	} else {
		d.End()
	}
	return task{sync: syncNone, run: func(ctx context.Context) (string, error) {
		return c.login(ctx, mechanism, "", func() (string, error) {
			return c.srv.SASL.Run(ctx, c.client(), mechanism, initial, c.exchange, c.state)
		})
	}}
}

// decode reads a response; "=" is an empty one.
func decode(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(strings.TrimRight(s, " "))
}

// exchange sends a challenge and reads the response.
func (c *conn) exchange(challenge []byte) ([]byte, error) {
	if err := c.proceed(base64.StdEncoding.EncodeToString(challenge)); err != nil {
		return nil, &broken{err}
	}
	line, err := c.answer()
	if err != nil {
		return nil, err
	}
	if line == "*" {
		return nil, sasl.ErrCancelled
	}
	response, err := decode(line)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", sasl.ErrMalformed)
	}
	return response, nil
}

// answer reads a line that is no command.
func (c *conn) answer() (string, error) {
	c.reading(false)
	if err := c.await(); err != nil {
		return "", &broken{err}
	}
	c.reading(true)
	c.dec.Next()
	line := c.dec.Text()
	if err := c.dec.Err(); err != nil {
		return "", &broken{c.why(err)}
	}
	return line, nil
}

// client is how the edge knows the peer.
func (c *conn) client() edge.Client {
	return edge.Client{Trace: c.trace, Role: "imap", Remote: c.remote, Exempt: c.remote.Addr().IsLoopback()}
}

// called gives the address of an account, for events.
func (s *Server) called(ctx context.Context, account int64, name string) string {
	if s.Address != nil {
		if a, err := s.Address(ctx, account); err == nil && a != "" {
			return a
		}
	}
	return name
}

// login runs an attempt, and answers a failure at a time that does not depend
// on why.
func (c *conn) login(ctx context.Context, verb, user string, attempt func() (string, error)) (string, error) {
	if c.state == nil {
		return "", no("PRIVACYREQUIRED", "Encryption required, use STARTTLS first")
	}
	start := time.Now()
	name, err := attempt()
	if b := new(broken); errors.As(err, &b) {
		return "", b
	}
	var account int64
	if err == nil {
		account, err = c.srv.Account(ctx, name)
	}
	if err == nil {
		if c.guest = c.srv.Shelf.enter(c, account, !c.client().Exempt, c.srv.limits.PerAccount); !c.guest {
			err = errCrowded
		}
	}
	e := c.event(event.Login)
	e.Verb, e.Millis = verb, time.Since(start).Milliseconds()
	if err == nil {
		c.account, c.name, c.who = account, name, c.srv.called(ctx, account, name)
		c.dec.Limit = 0
		e.Account = c.who
		c.srv.Events.Record(e)
		return "[CAPABILITY " + c.capability() + "] Logged in", nil
	}
	e.Account, e.Reason = cut(cmp.Or(name, user), mail.MaxPath), cut(err.Error(), mail.MaxPath)
	return "", c.loginFailed(ctx, start, e, err)
}

// errCrowded is why a login fails whose account has too many sessions.
var errCrowded = errors.New("too many sessions of the account")

func (c *conn) loginFailed(ctx context.Context, start time.Time, e event.Event, err error) error {
	var answer *refusal
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		return bad("Cancelled")
	case errors.Is(err, sasl.ErrMechanism):
		return no("CANNOT", "Mechanism not available")
	case errors.Is(err, sasl.ErrDenied), errors.Is(err, sasl.ErrMalformed):
		answer = no("AUTHENTICATIONFAILED", "Authentication failed")
	case errors.Is(err, errCrowded):
		answer = no("LIMIT", "Too many connections of this account")
	case errors.Is(err, sasl.ErrHeld):
		answer = no("UNAVAILABLE", "Temporary problem, try again later")
	default:
		c.srv.Logger.Error("login", "account", e.Account, "err", err)
		answer = no("UNAVAILABLE", "Temporary problem, try again later")
	}
	e.Text = answer.Error()
	c.srv.Events.Record(e)
	c.failures++
	delay := time.NewTimer(time.Until(start.Add(time.Duration(c.failures) * c.srv.limits.FailDelay)))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
	answer.last = c.failures >= c.srv.limits.Failures
	return answer
}
