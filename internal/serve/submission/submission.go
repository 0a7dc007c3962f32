// Package submission takes mail from the users of this installation: inside
// TLS, after a login, and only in their own name (RFC 6409).
//
// What arrives is put in order before it is stored: Bcc leaves, a missing Date
// or Message-ID comes in, host parts are masqueraded, the login is recorded in
// Sender or forced as envelope sender, and the domain's DKIM keys sign the
// result. The stored body is the message as it will leave; signatures and
// Received stand in its prefix.
//
// An account that is held, or over its limits, hears 4xx (deliver.Discipline).
// A session does not outlive the password it began with.
package submission

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/sasl"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

var (
	needTLS   = mail.Reply{Code: 530, Enhanced: "5.7.0", Text: "Must issue a STARTTLS command first"}
	needLogin = mail.Reply{Code: 530, Enhanced: "5.7.0", Text: "Authentication required"}
	badLogin  = mail.Reply{Code: 535, Enhanced: "5.7.8", Text: "Authentication credentials invalid"}
	// later is RFC 4954 section 6: the client should not ask its user for
	// another password.
	later       = mail.Reply{Code: 454, Enhanced: "4.7.0", Text: "Temporary authentication failure"}
	malformed   = mail.Reply{Code: 501, Enhanced: "5.5.2", Text: "Cannot read that"}
	cancelled   = mail.Reply{Code: 501, Enhanced: "5.7.0", Text: "Authentication cancelled"}
	notSupplied = mail.Reply{Code: 504, Enhanced: "5.5.4", Text: "Mechanism not offered"}
	notYours    = mail.Reply{Code: 553, Enhanced: "5.7.1", Text: "Sender address does not belong to your login"}
	notYourFrom = mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "The address in From does not belong to your login"}
	manyFroms   = mail.Reply{Code: 550, Enhanced: "5.6.0", Text: "A message needs exactly one From field"}
	loggedIn    = mail.Reply{Code: 235, Enhanced: "2.7.0", Text: "Authentication succeeded"}
	loginOver   = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Your account has changed, log in again"}
)

// Handler is the policy of ports 587 and 465.
type Handler struct {
	receive.Reception
	SASL   *sasl.Server // names accounts by their number
	Signer *deliver.Signer
	// Sent hears of messages that were accepted, before the client does; nil:
	// nobody wants to know.
	Sent       func(*deliver.Accepted)
	Discipline *deliver.Discipline // nil: what accounts send is not judged
	Failures   int                 // logins that fail before the connection is closed; default 3
	FailDelay  time.Duration       // from an attempt to the answer that it failed, longer each time; default 2 s

}

// Connect welcomes everybody: what counts is the login.
func (h *Handler) Connect(_ context.Context, c *smtpd.Conn) (smtpd.Session, smtpd.Verdict) {
	return &session{Session: h.NewSession(c), handler: h}, smtpd.Verdict{}
}

type session struct {
	*receive.Session
	handler  *Handler
	failures int               // logins
	account  directory.Account // zero before the login
	domain   directory.Domain  // of the account
	from     mail.Address      // envelope sender of the transaction, after masquerading
}

// Mechanisms offers logins inside TLS only.
func (s *session) Mechanisms() []string {
	return s.handler.SASL.Mechanisms(s.Conn.TLS)
}

// Auth runs one login. Those that fail are answered a set time after the
// attempt, longer each time, so that neither words nor time tell why; after a
// few the connection is closed.
func (s *session) Auth(ctx context.Context, mechanism string, initial []byte, ex func([]byte) ([]byte, error)) smtpd.Verdict {
	start := time.Now()
	client := edge.Client{Trace: s.Conn.Trace, Role: s.Role, Remote: s.Conn.Remote, Exempt: s.Conn.Exempt()}
	number, err := s.handler.SASL.Run(ctx, client, mechanism, initial, ex, s.Conn.TLS)
	if err == nil {
		err = s.enter(ctx, number)
	}
	e := event.Event{Kind: event.Login, Account: s.account.Address.Wire, Verb: mechanism, Code: 235}
	reply := loginReply(err)
	if err != nil {
		e.Code, e.Reason = reply.Code, err.Error()
	}
	s.Record(e)
	v := smtpd.Verdict{Reply: reply}
	if err != nil && reply != &cancelled && reply != &notSupplied {
		s.failures++
		limit, delay := s.handler.bounds()
		v.Delay = time.Until(start.Add(time.Duration(s.failures) * delay))
		v.Close = s.failures >= limit
	}
	return v
}

// bounds gives how many logins may fail on a connection, and the time from the
// first attempt to the answer that it failed.
func (h *Handler) bounds() (failures int, delay time.Duration) {
	failures, delay = h.Failures, h.FailDelay
	if failures == 0 {
		failures = 3
	}
	if delay == 0 {
		delay = 2 * time.Second
	}
	return failures, delay
}

func loginReply(err error) *mail.Reply {
	switch {
	case err == nil:
		return &loggedIn
	case errors.Is(err, sasl.ErrCancelled):
		return &cancelled
	case errors.Is(err, sasl.ErrMalformed):
		return malformed.Because(err)
	case errors.Is(err, sasl.ErrMechanism):
		return &notSupplied
	case errors.Is(err, sasl.ErrDenied):
		return badLogin.Because(err)
	case errors.Is(err, sasl.ErrHeld):
		return later.Because(err)
	}
	r := mail.AsReply(err)
	if r.Code/100 == 4 {
		return later.Because(err) // the login may be right, we cannot tell now
	}
	return r
}

// enter makes the session one of the account with this number.
func (s *session) enter(ctx context.Context, number string) error {
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fmt.Errorf("account number: %w", err)
	}
	account, err := s.Directory.AccountByID(ctx, id)
	if err != nil {
		return err
	}
	domain, err := s.Directory.Domain(ctx, account.Address.Domain)
	if err != nil {
		return err
	}
	s.account, s.domain, s.Authenticated, s.Account = account, domain, true, account.Address.String()
	s.handler.Discipline.Login(ctx, account.ID, s.Conn.Remote.Addr())
	return nil
}

// standing looks at the account again, at each message: sessions may last for
// hours, and whoever has a stolen password has one open when it is changed.
func (s *session) standing(ctx context.Context) smtpd.Verdict {
	now, err := s.Directory.AccountByID(ctx, s.account.ID)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return smtpd.Verdict{Reply: &loginOver, Close: true}
	case err != nil:
		return smtpd.Verdict{Reply: mail.AsReply(err)}
	case now.State != directory.Active || !now.SameCredential(s.account):
		return smtpd.Verdict{Reply: &loginOver, Close: true}
	}
	return smtpd.Verdict{Reply: s.handler.Discipline.Mail(ctx, now)}
}

func (s *session) Mail(ctx context.Context, env *mail.Envelope) smtpd.Verdict {
	if s.Conn.TLS == nil {
		return s.Refused("MAIL", env, &needTLS)
	}
	if !s.Authenticated {
		return s.Refused("MAIL", env, &needLogin)
	}
	if reply := s.StartMail(env); reply != nil {
		return s.Refused("MAIL", env, reply)
	}
	if v := s.standing(ctx); v.Reply != nil {
		refused := s.Refused("MAIL", env, v.Reply)
		refused.Close = v.Close
		return refused
	}
	s.from = s.envelopeSender(env.From)
	if s.from.IsNull() {
		return smtpd.Verdict{} // a receipt or another notice by the user's client (RFC 8098 section 3)
	}
	mine, err := s.mine(ctx, s.from)
	if err != nil {
		return s.Refused("MAIL", env, mail.AsReply(err))
	}
	if !mine {
		return s.Refused("MAIL", env, &notYours)
	}
	return smtpd.Verdict{}
}

// envelopeSender applies the domain's settings to MAIL FROM.
func (s *session) envelopeSender(from mail.Address) mail.Address {
	set := s.domain.Settings
	switch {
	case from.IsNull():
		return from
	case set.SenderMode == directory.SenderForce:
		return s.account.Address
	case set.Masquerade.Envelope:
		return set.Masquerade.Rewrite(from, s.account.Address.Domain)
	}
	return from
}

// mine tells whether mail to a reaches the account: then it is an address the
// user may write from.
func (s *session) mine(ctx context.Context, a mail.Address) (bool, error) {
	return s.Directory.Owns(ctx, s.account.ID, a)
}

// Rcpt takes local recipients that exist and everybody elsewhere.
func (s *session) Rcpt(ctx context.Context, env *mail.Envelope, r mail.Recipient) smtpd.Verdict {
	res, err := s.Directory.Resolve(ctx, r.Address)
	if err != nil {
		return s.Answer(s.RcptEvent(env, r), mail.AsReply(err))
	}
	if res.Status == directory.NotOurs {
		res = directory.Resolution{Status: directory.Known, Targets: []directory.Target{{Forward: r.Address, Relay: true}}}
	}
	fate := edge.Here
	switch {
	case res.Status == directory.Unknown:
		fate = edge.Nobody
	case len(res.Targets) > 0 && res.Targets[0].Relay:
		fate = edge.Elsewhere
	}
	if reply := s.handler.Discipline.Rcpt(ctx, s.account.ID, s.Conn.Remote.Addr(), r.Address, fate); reply != nil {
		return s.Answer(s.RcptEvent(env, r), reply)
	}
	return s.Answer(s.RcptEvent(env, r), s.Local(env, r, res))
}
