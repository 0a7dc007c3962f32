// Package receive is what the two receiving roles, mx and submission, have in
// common: who a recipient is and what the client hears of it, how a message
// comes to disk, and the events that tell of both. The roles themselves hold
// only what sets them apart.
package receive

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
	"github.com/migiwa/migiwa/internal/store/body"
)

// The replies to recipients and messages. Their texts tell a stranger nothing
// but what he must know to correct his list or to try again.
var (
	NoRelay      = mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "Relaying denied"}
	UnknownUser  = mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such mailbox here"}
	DisabledUser = mail.Reply{Code: 550, Enhanced: "5.2.1", Text: "Mailbox disabled"}
	OverQuota    = mail.Reply{Code: 452, Enhanced: "4.2.2", Text: "Mailbox full, try again later"}
	NoRoom       = mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "Not enough room, try again later"}
	Loop         = mail.Reply{Code: 554, Enhanced: "5.4.6", Text: "Too many hops, this message is in a loop"}
)

// Reception is one receiving role of a node.
type Reception struct {
	Role      string // of the events: mx, submission
	Hostname  string
	Directory *directory.Directory
	Bodies    *body.Store
	Intake    *deliver.Intake
	Events    *event.Recorder
	DNS       dns.Resolver // for the client's name in Received; may be nil
	MaxHops   int          // Received fields above which a message is in a loop
	Filters   *Filters     // nil: none are run
}

// Session is the part of a dialogue that does not depend on the role.
type Session struct {
	*Reception
	Conn       *smtpd.Conn
	Recipients []deliver.AcceptedRecipient // of the transaction that runs

	Authenticated bool   // the client has logged in
	Account       string // its account's address, for events

	Name *dns.Confirmation // of the client's name; nil: not looked for
}

// lookupTime bounds the search for the client's name. Nothing waits for it: a
// name that is not there when a message has come in is left out.
const lookupTime = 5 * time.Second

// NewSession begins the session of c.
func (r *Reception) NewSession(c *smtpd.Conn) *Session {
	s := &Session{Reception: r, Conn: c}
	if r.DNS != nil && !c.Exempt() {
		s.Name = dns.Confirm(r.DNS, c.Remote.Addr(), lookupTime)
	}
	s.Record(event.Event{Kind: event.Connect})
	return s
}

// Record fills in what all events of the session share.
func (s *Session) Record(e event.Event) {
	e.Role, e.Trace, e.Helo, e.Account = s.Role, s.Conn.Trace, s.Conn.Hello.Name, cmp.Or(e.Account, s.Account)
	if s.Conn.TLS != nil {
		e.TLS = tls.VersionName(s.Conn.TLS.Version) + " " + tls.CipherSuiteName(s.Conn.TLS.CipherSuite)
	}
	s.Events.Record(e.Peer(s.Conn.Remote))
}

// Refused records a refusal of a step other than RCPT and gives the verdict.
func (s *Session) Refused(verb string, env *mail.Envelope, r *mail.Reply) smtpd.Verdict {
	e := event.Event{Kind: event.Refuse, Verb: verb, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
	if env != nil {
		e.From = env.From.Path()
	}
	if r.Cause != nil {
		e.Reason = r.Cause.Error()
	}
	s.Record(e)
	return smtpd.Verdict{Reply: r}
}

// StartMail begins a transaction: it asks for room, for as much as the client
// says it has, while that can still be said without a loss.
func (s *Session) StartMail(env *mail.Envelope) *mail.Reply {
	s.Recipients = s.Recipients[:0]
	if !s.Bodies.Blobs.Fits(env.Size) {
		return NoRoom.Because(errors.New("less than store.reserve is free"))
	}
	return nil
}

// RcptEvent begins the event of one RCPT.
func (s *Session) RcptEvent(env *mail.Envelope, r mail.Recipient) event.Event {
	return event.Event{Kind: event.Rcpt, From: env.From.Path(), To: r.String()}
}

// Answer records the reply to a RCPT, positive or not, and gives the verdict.
func (s *Session) Answer(e event.Event, reply *mail.Reply) smtpd.Verdict {
	e.Code = 250
	if reply != nil {
		e.Code, e.Enhanced, e.Text = reply.Code, reply.Enhanced, reply.Text
		if reply.Cause != nil {
			e.Reason = reply.Cause.Error()
		}
	}
	s.Record(e)
	return smtpd.Verdict{Reply: reply}
}

// Local takes a recipient that the directory knows, and gives the refusal of
// any other. All that can fail is asked here, before a message is taken.
func (s *Session) Local(env *mail.Envelope, r mail.Recipient, res directory.Resolution) *mail.Reply {
	switch res.Status {
	case directory.Known:
	case directory.Disabled:
		return &DisabledUser
	case directory.Unknown:
		return &UnknownUser
	default:
		return &NoRelay
	}
	for _, t := range res.Targets {
		if t.Full(max(env.Size, 1)) {
			return &OverQuota
		}
	}
	s.Recipients = append(s.Recipients, deliver.AcceptedRecipient{Recipient: r, Targets: res.Targets})
	return nil
}

// Received gives the trace field of the message that comes in now.
func (s *Session) Received(env *mail.Envelope) string {
	c := s.Conn
	base := "SMTP"
	if c.Hello.Extended {
		base = "ESMTP"
	}
	f := mail.Received{
		Helo: c.Hello.Name, IP: c.Remote.Addr(), By: mail.Domain(s.Hostname), ID: string(c.Trace), TLS: c.TLS, Date: time.Now(),
		With: mail.ProtocolName(base, env.SMTPUTF8, c.TLS != nil, s.Authenticated),
	}
	f.PTR, _ = s.Name.Name()
	if len(env.Recipients) == 1 {
		f.For = env.Recipients[0].Address
	}
	return f.Field()
}

// End records the end of the connection.
func (s *Session) End(e smtpd.Ending) {
	ev := event.Event{Kind: event.Close, Size: e.Bytes, Count: int64(e.Messages), Millis: e.Duration.Milliseconds()}
	if e.Cause != nil && !errors.Is(e.Cause, io.EOF) {
		ev.Reason = e.Cause.Error()
	}
	s.Record(ev)
}

// Broken records a fault of the client; the server's own answer stands.
func (s *Session) Broken(_ context.Context, f smtpd.Fault) smtpd.Verdict {
	s.Record(event.Event{Kind: event.Refuse, Verb: string(f)})
	return smtpd.Verdict{}
}

// Hello, StartTLS, Data and Other have nothing to add by default.

// Hello accepts any name.
func (s *Session) Hello(context.Context, smtpd.Hello) smtpd.Verdict { return smtpd.Verdict{} }

// StartTLS is always welcome.
func (s *Session) StartTLS(context.Context) smtpd.Verdict { return smtpd.Verdict{} }

// Data goes on: recipients have been judged.
func (s *Session) Data(context.Context, *mail.Envelope) smtpd.Verdict { return smtpd.Verdict{} }

// Other leaves the usual replies.
func (s *Session) Other(context.Context, string, string) smtpd.Verdict { return smtpd.Verdict{} }
