package smtpd

import (
	"encoding/base64"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// mechanisms gives what AUTH offers now.
func (c *conn) mechanisms() []string {
	if c.auth == nil || c.loggedIn {
		return nil
	}
	return c.auth.Mechanisms()
}

// doAuth runs one SASL exchange (RFC 4954).
func (c *conn) doAuth(arg string) {
	c.exchange(arg)
	if !c.loggedIn && c.in.buffered() > 0 && !c.over {
		// What follows may be responses, even a password, and no commands.
		c.broken(&breach{Pipelining, replySync})
	}
}

func (c *conn) exchange(arg string) {
	switch {
	case c.auth == nil:
		c.fault(BadSequence, mail.Reply{Code: 502, Enhanced: "5.5.1", Text: "No authentication here"})
		return
	case c.loggedIn:
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Authenticated already"})
		return
	case !c.hello || !c.info.Hello.Extended:
		c.fault(BadSequence, replyNeedEHLO)
		return
	case c.env != nil:
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Not inside a transaction"})
		return
	}
	name, initial, bad := parseAuth(arg)
	if bad != nil {
		c.fault(BadSyntax, *bad)
		return
	}
	if name = c.offered(name); name == "" {
		c.fault(BadSyntax, mail.Reply{Code: 504, Enhanced: "5.5.4", Text: "Mechanism not offered"})
		return
	}
	ahead := c.in.buffered() > 0
	ex := exchange{c: c}
	v := c.auth.Auth(c.srv.ctx, name, initial, ex.step)
	if ex.broken != nil {
		c.broken(ex.broken)
		return
	}
	if ahead {
		v = c.sentAhead(v)
	}
	c.loggedIn = c.answer(v, mail.Reply{Code: 235, Enhanced: "2.7.0", Text: "Authenticated"})
}

// offered finds name among the mechanisms, "" when it is none of them.
func (c *conn) offered(name string) string {
	for _, m := range c.mechanisms() {
		if strings.EqualFold(m, name) {
			return m
		}
	}
	return ""
}

// parseAuth splits the argument of AUTH. An initial response of "=" is there,
// and empty.
func parseAuth(arg string) (name string, initial []byte, bad *mail.Reply) {
	name, text, has := strings.Cut(arg, " ")
	if name == "" {
		return "", nil, &mail.Reply{Code: 501, Enhanced: "5.5.4", Text: "Which mechanism?"}
	}
	if !has {
		return name, nil, nil
	}
	if text == "=" {
		return name, []byte{}, nil
	}
	initial, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(initial) == 0 {
		return "", nil, &mail.Reply{Code: 501, Enhanced: "5.5.2", Text: "Not base64"}
	}
	return name, initial, nil
}

// exchange carries challenges and responses of one AUTH.
type exchange struct {
	c      *conn
	broken error // of the connection
}

// step sends a challenge and gives the response.
func (e *exchange) step(challenge []byte) ([]byte, error) {
	if e.broken != nil {
		return nil, e.broken
	}
	b := e.c.outBuffer()
	*b = append(*b, "334 "...)
	*b = base64.StdEncoding.AppendEncode(*b, challenge)
	*b = append(*b, '\r', '\n')
	e.c.responding = true
	line, err := e.c.readLine()
	e.c.responding = false
	if err != nil {
		e.broken = err
		return nil, err
	}
	if string(line) == "*" {
		return nil, sasl.ErrCancelled
	}
	response, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
	if err != nil {
		return nil, sasl.ErrMalformed
	}
	return response, nil
}
