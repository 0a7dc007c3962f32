package pop3d

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

const needTLS = "Encryption required, use STLS first"

func (c *conn) userName(_ context.Context, arg string) error {
	if c.state == nil {
		return c.fault(needTLS)
	}
	if arg == "" {
		return c.fault("USER needs a name")
	}
	c.user = arg
	c.reply("+OK")
	return nil
}

func (c *conn) pass(ctx context.Context, arg string) error {
	if c.state == nil {
		return c.fault(needTLS)
	}
	if c.user == "" {
		return c.fault("USER first")
	}
	user := c.user
	c.user = ""
	noMore := func([]byte) ([]byte, error) { return nil, sasl.ErrMalformed }
	return c.login(ctx, "USER", user, func() (string, error) {
		return c.srv.SASL.Run(ctx, c.client(), sasl.Plain, []byte("\x00"+user+"\x00"+arg), noMore, c.state)
	})
}

// auth is RFC 5034. Without argument it lists the mechanisms, as old clients
// ask it to.
func (c *conn) auth(ctx context.Context, arg string) error {
	if c.state == nil {
		return c.fault(needTLS)
	}
	if arg == "" {
		c.reply("+OK Mechanisms follow")
		for _, m := range c.srv.SASL.Mechanisms(c.state) {
			c.reply(m)
		}
		c.reply(".")
		return nil
	}
	mechanism, encoded, given := strings.Cut(arg, " ")
	var initial []byte
	if given {
		var err error
		if initial, err = decode(encoded); err != nil {
			return c.fault("Not base64")
		}
	}
	mechanism = strings.ToUpper(mechanism)
	return c.login(ctx, mechanism, "", func() (string, error) {
		return c.srv.SASL.Run(ctx, c.client(), mechanism, initial, c.exchange, c.state)
	})
}

// decode reads an initial response; "=" is an empty one (RFC 5034 section 4).
func decode(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(s)
}

// exchange sends a challenge and reads the response.
func (c *conn) exchange(challenge []byte) ([]byte, error) {
	c.reply("+ " + base64.StdEncoding.EncodeToString(challenge))
	line, err := c.readLine(maxAuthLine)
	if err != nil {
		return nil, &broken{err}
	}
	if line == "*" {
		return nil, sasl.ErrCancelled
	}
	response, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", sasl.ErrMalformed)
	}
	return response, nil
}

// client is how the edge knows the peer.
func (c *conn) client() edge.Client {
	return edge.Client{Trace: c.trace, Role: "pop3", Remote: c.remote, Exempt: c.remote.Addr().IsLoopback()}
}

// broken is an error of the connection in the middle of an exchange.
type broken struct{ error }

func (b *broken) Unwrap() error { return b.error }

// login runs an attempt and opens the mailbox, or answers at a time that does
// not depend on why not.
func (c *conn) login(ctx context.Context, verb, user string, attempt func() (string, error)) error {
	start := time.Now()
	name, err := attempt()
	if b := new(broken); errors.As(err, &b) {
		return b.error
	}
	if err == nil {
		err = c.openSession(ctx, name)
	}
	e := c.event(event.Login)
	e.Verb, e.Millis = verb, time.Since(start).Milliseconds()
	if err == nil {
		c.srv.Events.Record(e)
		n, size := c.session.total()
		c.reply(fmt.Sprintf("+OK %d messages (%d octets)", n, size))
		return nil
	}
	e.Account, e.Reason = user, err.Error()
	if name != "" {
		e.Account = name
	}
	return c.refuse(ctx, start, e, err)
}

// refuse answers a login that did not succeed.
func (c *conn) refuse(ctx context.Context, start time.Time, e event.Event, err error) error {
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		return c.fault("Cancelled")
	case errors.Is(err, sasl.ErrMechanism):
		return c.fault("Unknown mechanism")
	case errors.Is(err, errInUse):
		e.Text = "-ERR [IN-USE] Another session has this mailbox, try again later"
	case errors.Is(err, sasl.ErrDenied), errors.Is(err, sasl.ErrMalformed):
		e.Text = "-ERR [AUTH] Authentication failed"
	case errors.Is(err, sasl.ErrHeld):
		// RFC 3206: [AUTH] would have the client ask its user for another
		// password; [SYS/TEMP] has it try again with the one it has.
		e.Text = "-ERR [SYS/TEMP] Temporary problem, try again later"
	default:
		c.srv.Logger.Error("login", "account", e.Account, "err", err)
		e.Text = "-ERR [SYS/TEMP] Temporary problem, try again later"
	}
	c.srv.Events.Record(e)
	c.failures++
	delay := time.NewTimer(time.Until(start.Add(time.Duration(c.failures) * c.srv.limits.FailDelay)))
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
	c.reply(e.Text)
	if c.failures >= c.srv.limits.Failures {
		return errEnd
	}
	return nil
}
