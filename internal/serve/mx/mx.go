// Package mx takes mail from other servers for the domains of this
// installation, and for nobody else.
package mx

import (
	"context"
	"io"
	"slices"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

// Handler is the policy of port 25.
type Handler struct {
	receive.Reception
}

// Connect welcomes everybody.
func (h *Handler) Connect(_ context.Context, c *smtpd.Conn) (smtpd.Session, smtpd.Verdict) {
	return &session{Session: h.NewSession(c)}, smtpd.Verdict{}
}

type session struct{ *receive.Session }

func (s *session) Mail(_ context.Context, env *mail.Envelope) smtpd.Verdict {
	if reply := s.StartMail(env); reply != nil {
		return s.Refused("MAIL", env, reply)
	}
	return smtpd.Verdict{}
}

func (s *session) Rcpt(ctx context.Context, env *mail.Envelope, r mail.Recipient) smtpd.Verdict {
	res, err := s.Directory.Resolve(ctx, r.Address)
	if err != nil {
		return s.Answer(env, r, mail.AsReply(err))
	}
	if !env.From.IsNull() && slices.ContainsFunc(res.Targets, func(t directory.Target) bool { return t.Reverse }) {
		// A rewritten sender takes bounces only; anything else would be relayed.
		res = directory.Resolution{Status: directory.Unknown}
	}
	if res.Status == directory.Known {
		if reply := s.alone(ctx, env, r.Address); reply != nil {
			return s.Answer(env, r, reply)
		}
	}
	return s.Answer(env, r, s.Local(env, r, res))
}

// Body streams the message to disk while its header is kept for a look.
func (s *session) Body(ctx context.Context, env *mail.Envelope, r io.Reader) smtpd.Verdict {
	m := &deliver.Accepted{
		Origin: queue.MX, From: env.From, Prefix: []byte(s.Received(env)),
		BodyType: env.Body, SMTPUTF8: env.SMTPUTF8, Ret: env.Ret, EnvID: env.EnvID,
	}
	w, err := s.Bodies.Create(ctx)
	if err != nil {
		return s.Failed(m, err)
	}
	defer w.Abort()
	tap := &receive.Tap{W: w}
	if err := receive.Copy(tap, r); err != nil {
		return s.Failed(m, err)
	}
	header := tap.Header()
	if mail.CountReceived(header) > s.MaxHops {
		return s.Refused("DATA", env, &receive.Loop)
	}
	if reply := s.judgeBounces(ctx, env, header); reply != nil {
		return s.Refused("DATA", env, reply)
	}
	m.MessageID = receive.MessageID(header)
	return s.Commit(ctx, m, w)
}
