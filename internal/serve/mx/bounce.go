package mx

import (
	"context"
	"errors"
	"strings"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/receive"
)

// Null-sender mail is taken at RCPT whatever it is, since hosts that look
// whether a sender exists (call-outs) ask so and go. What the recipient's
// domain wants is done at the end of DATA. There one reply stands for all
// recipients: whoever is to be put off is therefore never in one transaction
// with whoever is not. A bounce has one recipient, so this splits next to none.
var (
	oneByOne = mail.Reply{Code: 452, Enhanced: "4.5.3", Text: "Send this to each recipient by itself"}
)

const (
	unsignedBounce      = "UNSIGNED_BOUNCE"
	unsignedBounceScore = 2
)

// bounce tells what the null sender's mail to a is: a bounce of ours, none of
// ours, or mail that nothing can be said of. BounceForeign is evidence of a
// flood; all others are not.
func (s *session) bounce(ctx context.Context, env *mail.Envelope, a mail.Address) (directory.Bounce, error) {
	if !env.From.IsNull() {
		return directory.Bounce{}, nil
	}
	return s.Directory.Bounce(ctx, a)
}

// putOff tells whether the transaction will be put off for the sake of a.
func (s *session) putOff(ctx context.Context, env *mail.Envelope, a mail.Address) (bool, error) {
	b, err := s.bounce(ctx, env, a)
	return b.Proof == directory.BounceForeign && b.Mode == directory.BounceTempfail, err
}

// alone refuses a recipient, for now, whose message cannot share its fate with
// those that the transaction has.
func (s *session) alone(ctx context.Context, env *mail.Envelope, a mail.Address) *mail.Reply {
	if !env.From.IsNull() || len(s.Recipients) == 0 {
		return nil
	}
	first, err := s.putOff(ctx, env, s.Recipients[0].Address)
	if err != nil {
		return mail.AsReply(err)
	}
	this, err := s.putOff(ctx, env, a)
	if err != nil {
		return mail.AsReply(err)
	}
	if first != this {
		return &oneByOne
	}
	return nil
}

// judgeBounces does what the recipients' domains want with a null sender's
// message that bears no tag: it gives the reply that puts it off, or labels the
// recipients' copies.
func (s *session) judgeBounces(ctx context.Context, env *mail.Envelope, h *mail.Header) *mail.Reply {
	if !env.From.IsNull() || isReceipt(h) {
		return nil
	}
	for i := range s.Recipients {
		r := &s.Recipients[i]
		b, err := s.bounce(ctx, env, r.Address)
		if err != nil {
			return mail.AsReply(err)
		}
		if b.Proof != directory.BounceForeign {
			continue
		}
		s.visit.Misbehaved(edge.NullFlood)
		switch b.Mode {
		case directory.BounceTempfail:
			return receive.NotWanted.Because(errors.New(b.Reason))
		case directory.BounceLabel:
			s.label(r, mail.Finding{Symbol: unsignedBounce, Score: unsignedBounceScore, Evidence: b.Reason})
		}
	}
	return nil
}

func (s *session) label(r *deliver.AcceptedRecipient, f mail.Finding) {
	r.Findings = append(r.Findings, f)
	s.Record(event.Event{Kind: event.Finding, From: "<>", To: r.String(), Verb: f.Symbol, Reason: f.Evidence})
}

// isReceipt tells whether a message is a receipt by its reader (RFC 8098
// section 2): it has the null sender and goes to the address that stands in
// the header of the mail, which bears no tag.
func isReceipt(h *mail.Header) bool {
	kind, params, _ := mail.ParseParams(h.Get("Content-Type"))
	return strings.EqualFold(kind, "multipart/report") && strings.EqualFold(params["report-type"], "disposition-notification")
}
