// Package mx takes mail from other servers for the domains of this
// installation, and for nobody else.
package mx

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

// Handler is the policy of port 25.
type Handler struct {
	receive.Reception
	Guard *edge.Guard // nil: nobody is judged
}

// Connect welcomes whom the edge does not turn away. What the edge refuses, here
// and below, it records itself.
func (h *Handler) Connect(_ context.Context, c *smtpd.Conn) (smtpd.Session, smtpd.Verdict) {
	s := &session{Session: h.NewSession(c)}
	visit, reply := h.Guard.Open(edge.Client{Trace: c.Trace, Role: h.Role, Remote: c.Remote, Exempt: c.Exempt(), Name: s.Name})
	s.visit = visit
	if reply != nil {
		return s, smtpd.Verdict{Reply: reply}
	}
	return s, smtpd.Verdict{Delay: visit.GreetPause()}
}

type session struct {
	*receive.Session
	visit *edge.Visit
}

func (s *session) Hello(_ context.Context, h smtpd.Hello) smtpd.Verdict {
	s.visit.Hello(h.Name)
	return smtpd.Verdict{}
}

func (s *session) Mail(_ context.Context, env *mail.Envelope) smtpd.Verdict {
	if reply := s.visit.Mail(env.From, env.Size); reply != nil {
		return smtpd.Verdict{Reply: reply}
	}
	if reply := s.StartMail(env); reply != nil {
		return s.Refused("MAIL", env, reply)
	}
	return smtpd.Verdict{}
}

// Rcpt asks the edge whether the client may hear the truth before it asks the
// directory what that is. A client that may not gets one reply for all
// recipients, on a time grid; they are looked up once it has left.
func (s *session) Rcpt(ctx context.Context, env *mail.Envelope, r mail.Recipient) smtpd.Verdict {
	b, err := s.bounce(ctx, env, r.Address)
	if err != nil {
		return s.Answer(s.RcptEvent(env, r), mail.AsReply(err))
	}
	ruling := s.visit.Rcpt(ctx, r.Address, b.Proof == directory.BounceOurs)
	if ruling.Reply != nil {
		return smtpd.Verdict{Reply: ruling.Reply, Delay: time.Until(ruling.At), Tarpit: ruling.Tarpit, After: ruling.After}
	}
	e := s.RcptEvent(env, r)
	ruling.Describe(&e)
	res, err := s.Directory.Resolve(ctx, r.Address)
	if err != nil {
		return s.Answer(e, mail.AsReply(err))
	}
	if !env.From.IsNull() && slices.ContainsFunc(res.Targets, func(t directory.Target) bool { return t.Reverse }) {
		// A rewritten sender takes bounces only; anything else would be relayed.
		res = directory.Resolution{Status: directory.Unknown}
	}
	var reply *mail.Reply
	if res.Status == directory.Known {
		reply = s.alone(ctx, env, r.Address)
	}
	if reply == nil {
		reply = s.Local(env, r, res)
	}
	truth, ours := Truth(res)
	if !ours {
		return s.Answer(e, reply)
	}
	e.Truth = truth.String()
	v := s.Answer(e, reply)
	if truth == edge.Exists && reply != nil {
		truth = edge.Former // it gets nothing, and so earns nothing
	}
	if truth == edge.Exists {
		s.visit.Told(ruling, truth, res.Mailbox())
	} else { // may wait for DNS, and the honest hear of a wrong address at once
		v.After = func() { s.visit.Told(ruling, truth, "") }
	}
	return v
}

// Truth gives what a recipient is to the edge; addresses elsewhere are nothing
// that could be guessed. One who may not have mail now is no guess either.
func Truth(res directory.Resolution) (t edge.Truth, ours bool) {
	switch res.Status {
	case directory.Known:
		return edge.Exists, true
	case directory.Disabled:
		return edge.Former, true
	case directory.Unknown:
		if res.Former {
			return edge.Former, true
		}
		return edge.Unknown, true
	}
	return edge.Former, false
}

// Data is refused neutrally where all recipients were: a reply of its own for a
// message without recipients would be one more thing to tell.
func (s *session) Data(_ context.Context, env *mail.Envelope) smtpd.Verdict {
	if reply := s.visit.Held(); reply != nil && len(env.Recipients) == 0 {
		return smtpd.Verdict{Reply: reply}
	}
	return smtpd.Verdict{}
}

// Other answers a held client the same whatever it asks. RSET and NOOP have
// nothing to tell.
func (s *session) Other(_ context.Context, verb, _ string) smtpd.Verdict {
	switch verb {
	case "RSET":
		s.visit.Asked()
		s.visit.Reset()
		return smtpd.Verdict{}
	case "VRFY", "EXPN":
		s.visit.Asked()
	case "NOOP":
		return smtpd.Verdict{}
	}
	return smtpd.Verdict{Reply: s.visit.Held()}
}

// Broken takes a fault of the client as evidence where it is one.
func (s *session) Broken(ctx context.Context, f smtpd.Fault) smtpd.Verdict {
	if f == smtpd.EarlyTalk {
		s.visit.Misbehaved(edge.EarlyTalk)
	}
	return s.Session.Broken(ctx, f)
}

// End ends the visit, too.
func (s *session) End(e smtpd.Ending) {
	s.visit.Close()
	s.Session.End(e)
}

// Body streams the message to disk while its header is kept for a look.
func (s *session) Body(ctx context.Context, env *mail.Envelope, r io.Reader) smtpd.Verdict {
	s.visit.Brings()
	m := &deliver.Accepted{
		Origin: queue.MX, From: env.From, Prefix: []byte(s.Received(env)),
		BodyType: env.Body, SMTPUTF8: env.SMTPUTF8, Ret: env.Ret, EnvID: env.EnvID,
	}
	w, err := s.Bodies.Create(ctx)
	if err != nil {
		return s.Failed(m, err)
	}
	defer w.Abort()
	in, err := s.Inspect(ctx, env)
	if err != nil {
		return s.Failed(m, err)
	}
	defer in.Abort()
	tap := &receive.Tap{W: io.MultiWriter(w, in), Edit: s.Forged}
	if err := receive.Copy(tap, r); err != nil {
		return s.Failed(m, err)
	}
	if err := tap.Close(); err != nil {
		return s.Failed(m, err)
	}
	header := tap.Header()
	if mail.CountReceived(header) > s.MaxHops {
		return s.Refused("DATA", env, &receive.Loop)
	}
	if reply := s.judgeBounces(ctx, env, header); reply != nil {
		return s.Refused("DATA", env, reply)
	}
	m.MessageID, m.Subject = receive.MessageID(header), receive.Subject(header)
	v := s.Commit(ctx, env, m, w, in)
	if v.Reply.Positive() {
		s.visit.Accepted(m.Body.Size)
	}
	return v
}
