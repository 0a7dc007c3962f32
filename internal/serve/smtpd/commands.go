package smtpd

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// command carries one command out.
func (c *conn) command(line []byte) {
	c.commands++
	c.srv.count.commands.Add(1)
	if c.isStopping() {
		c.cause = errStopped
		c.answer(Verdict{}, replyClosing)
		return
	}
	if limit := c.srv.limits.Commands; limit > 0 && c.commands > limit && !c.info.Exempt() {
		c.answer(Verdict{}, replyCommands)
		return
	}
	name, arg := cutVerb(line)
	var upper [8]byte
	n := 0
	for n < len(name) && n < len(upper) {
		upper[n] = name[n]
		if 'a' <= name[n] && name[n] <= 'z' {
			upper[n] -= 'a' - 'A'
		}
		n++
	}
	if n < len(name) {
		n = 0 // longer than any command known
	}
	if !c.printable(line) {
		return
	}
	c.dispatch(string(upper[:n]), name, arg)
}

// dispatch calls the method of a command.
func (c *conn) dispatch(verb string, name, arg []byte) {
	switch verb {
	case "EHLO", "HELO":
		c.doHello(string(arg), verb == "EHLO")
	case "MAIL":
		c.doMail(string(arg))
	case "RCPT":
		c.doRcpt(string(arg))
	case "DATA":
		c.doData(arg)
	case "BDAT":
		c.doBdat(arg)
	case "RSET":
		c.doRset(arg)
	case "QUIT":
		c.doQuit(arg)
	case "STARTTLS":
		c.doStartTLS(arg)
	case "AUTH":
		c.doAuth(string(arg))
	case "NOOP":
		c.answer(c.other(verb, arg), replyOK)
	case "VRFY":
		c.doVrfy(arg)
	case "EXPN":
		c.answer(c.other(verb, arg), mail.Reply{Code: 502, Enhanced: "5.5.1", Text: "Lists are not shown"})
	case "HELP":
		c.answer(c.other(verb, arg), mail.Reply{Code: 214, Enhanced: "2.0.0", Text: "See RFC 5321"})
	default:
		c.doUnknown(name, arg)
	}
}

// cutVerb splits a line at its first space. White space at the end is dropped
// (RFC 5321 section 4.1.1 wants it tolerated).
func cutVerb(line []byte) (verb, arg []byte) {
	line = bytes.TrimRight(line, " \t")
	verb, arg, _ = bytes.Cut(line, []byte(" "))
	return verb, arg
}

// printable refuses control characters, and 8-bit where it cannot be a path.
func (c *conn) printable(line []byte) bool {
	high := false
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			c.fault(BadSyntax, replyControl)
			return false
		}
		high = high || b >= utf8.RuneSelf
	}
	if !high {
		return true
	}
	verb, _ := cutVerb(line)
	switch strings.ToUpper(string(verb)) {
	case "MAIL", "RCPT", "VRFY", "EXPN":
		if utf8.Valid(line) {
			return true
		}
		c.fault(BadSyntax, replyBadUTF8)
	default:
		c.fault(BadSyntax, replyControl)
	}
	return false
}

func (c *conn) other(verb string, arg []byte) Verdict {
	return c.sess.Other(c.srv.ctx, verb, string(arg))
}

// doHello answers HELO and EHLO. Both end an open transaction
// (RFC 5321 section 4.1.4).
func (c *conn) doHello(name string, extended bool) {
	if name == "" || len(name) > mail.MaxDomain || strings.ContainsAny(name, " \t") {
		c.fault(BadSyntax, mail.Reply{Code: 501, Enhanced: "5.5.4", Text: "Say who you are: one name or address literal"})
		return
	}
	c.forget()
	c.info.Hello = Hello{Name: name, Extended: extended}
	v := c.sess.Hello(c.srv.ctx, c.info.Hello)
	if c.in.buffered() > 0 {
		v = c.sentAhead(v)
	}
	usual := mail.Reply{Code: 250, Text: c.srv.Hostname}
	if extended && v.Reply == nil {
		usual.Text = c.features()
	}
	c.hello = c.answer(v, usual)
}

// sentAhead reports commands sent ahead behind one whose reply should have
// been awaited, once a connection, and gives v or what the Session wants
// instead.
func (c *conn) sentAhead(v Verdict) Verdict {
	c.srv.count.faults.Add(1)
	if c.ahead {
		return v
	}
	c.ahead = true
	if b := c.sess.Broken(c.srv.ctx, Pipelining); b.Reply != nil && !b.Reply.Positive() || b.Close {
		return b
	}
	return v
}

// features gives the lines of EHLO's answer.
func (c *conn) features() string {
	l := &c.srv.limits
	b := make([]byte, 0, 320)
	b = append(b, c.srv.Hostname...)
	b = append(b, "\nPIPELINING\nSIZE "...)
	b = strconv.AppendInt(b, l.MessageSize, 10)
	b = append(b, "\n8BITMIME\nSMTPUTF8\nCHUNKING\nBINARYMIME\nENHANCEDSTATUSCODES\nDSN"...)
	if c.srv.TLS != nil && c.info.TLS == nil {
		b = append(b, "\nSTARTTLS"...)
	}
	if m := c.mechanisms(); len(m) > 0 {
		b = append(b, "\nAUTH "...)
		b = append(b, strings.Join(m, " ")...)
	}
	b = append(b, "\nLIMITS RCPTMAX="...)
	b = strconv.AppendInt(b, int64(l.Recipients), 10)
	if l.Messages > 0 && !c.info.Exempt() {
		b = append(b, " MAILMAX="...)
		b = strconv.AppendInt(b, int64(l.Messages), 10)
	}
	return string(b)
}

// forget ends the open transaction.
func (c *conn) forget() {
	c.env = nil
	c.refused = false
}

func (c *conn) doMail(arg string) {
	if !c.hello {
		c.fault(BadSequence, replyNeedEHLO)
		return
	}
	if c.env != nil {
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "A transaction is open"})
		return
	}
	if max := c.srv.limits.Messages; max > 0 && c.messages >= max && !c.info.Exempt() {
		c.answer(Verdict{}, replyMessages)
		return
	}
	c.refused = true
	env, bad := parseMail(arg)
	if bad != nil {
		c.fault(BadSyntax, *bad)
		return
	}
	if env.Size > c.srv.limits.MessageSize {
		c.answer(Verdict{}, replyTooBig)
		return
	}
	v := c.sess.Mail(c.srv.ctx, env)
	if c.answer(v, mail.Reply{Code: 250, Enhanced: "2.1.0", Text: "Sender accepted"}) {
		c.env, c.refused = env, false
	}
}

func (c *conn) doRcpt(arg string) {
	if c.env == nil {
		c.outOfTurn(replyNeedMail)
		return
	}
	r, bad := parseRcpt(arg, c.env.SMTPUTF8)
	if bad != nil {
		c.fault(BadSyntax, *bad)
		return
	}
	if len(c.env.Recipients) >= c.srv.limits.Recipients {
		c.answer(Verdict{}, mail.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients"})
		return
	}
	v := c.sess.Rcpt(c.srv.ctx, c.env, r)
	if c.answer(v, mail.Reply{Code: 250, Enhanced: "2.1.5", Text: "Recipient accepted"}) {
		c.env.Recipients = append(c.env.Recipients, r)
	}
}

// outOfTurn refuses a command out of its order. Behind a MAIL that was refused
// that is how pipelining goes, and no fault.
func (c *conn) outOfTurn(r mail.Reply) {
	if c.refused {
		c.answer(Verdict{}, r)
		return
	}
	c.fault(BadSequence, r)
}

func (c *conn) doRset(arg []byte) {
	if len(arg) > 0 {
		c.fault(BadSyntax, replyNoArg)
		return
	}
	c.forget()
	c.answer(c.other("RSET", arg), replyOK)
}

func (c *conn) doQuit(arg []byte) {
	if len(arg) > 0 {
		c.fault(BadSyntax, replyNoArg)
		return
	}
	c.say(replyBye)
	c.over = true
}

// doVrfy tells nothing, as RFC 5321 section 3.5.3 allows.
func (c *conn) doVrfy(arg []byte) {
	if len(arg) == 0 {
		c.fault(BadSyntax, mail.Reply{Code: 501, Enhanced: "5.5.4", Text: "VRFY whom?"})
		return
	}
	c.answer(c.other("VRFY", arg), mail.Reply{Code: 252, Enhanced: "2.0.0", Text: "Send some mail, it will be tried"})
}

// doUnknown asks the Session about a command nobody knows, and closes on what
// is another protocol.
func (c *conn) doUnknown(name, arg []byte) {
	if otherProtocol(name, arg) {
		c.broken(&breach{OtherTraffic, replyTraffic})
		return
	}
	v := c.other(string(name), arg)
	c.errors++
	if c.errors >= c.srv.limits.Errors && !c.overdrawn {
		c.overdrawn = true
		v = c.ask(TooManyBad, replyErrors)
	}
	c.answer(v, replyUnknown)
}

// otherProtocol notices HTTP and proxies, with which web pages and open relays
// are made to talk to mail servers.
func otherProtocol(name, arg []byte) bool {
	switch strings.ToUpper(string(name)) {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI", "HOST:", "PROXY":
		return true
	}
	return bytes.Contains(arg, []byte(" HTTP/"))
}

// doStartTLS goes over to TLS. Nothing of before counts after (RFC 3207
// section 4.2); what was sent ahead ends the connection.
func (c *conn) doStartTLS(arg []byte) {
	switch {
	case c.in.buffered() > 0:
		c.broken(&breach{Pipelining, replySync})
		return
	case len(arg) > 0:
		c.fault(BadSyntax, replyNoArg)
		return
	case c.info.TLS != nil:
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "TLS is on"})
		return
	case c.srv.TLS == nil:
		c.fault(BadSequence, mail.Reply{Code: 502, Enhanced: "5.5.1", Text: "No TLS here"})
		return
	case !c.hello:
		c.fault(BadSequence, replyNeedEHLO)
		return
	case c.env != nil || c.loggedIn:
		c.fault(BadSequence, mail.Reply{Code: 503, Enhanced: "5.5.1", Text: "Too late for TLS"})
		return
	}
	v := c.sess.StartTLS(c.srv.ctx)
	if !c.answer(v, mail.Reply{Code: 220, Enhanced: "2.0.0", Text: "Go ahead"}) || c.over || !c.flush() {
		return
	}
	if c.in.buffered() > 0 { // came during a Delay
		c.broken(&breach{Pipelining, replySync})
		return
	}
	c.in.release()
	if !c.handshake() {
		return
	}
	c.forget()
	c.hello = false
	c.info.Hello = Hello{}
}
