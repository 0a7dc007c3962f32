package submission

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

// senderFields name who sent a message; their host parts are masqueraded.
var senderFields = []string{
	"From", "Sender", "Reply-To", "Resent-From", "Resent-Sender", "Resent-Reply-To",
	"Disposition-Notification-To", "Return-Receipt-To", "Errors-To",
}

// removed are fields that must not leave: blind copies (RFC 5322 section
// 3.6.3), and what only the receiving side may write.
var removed = []string{"Bcc", "Resent-Bcc", "Return-Path", "Delivered-To"}

// Body puts the header in order, stores the message and signs it.
func (s *session) Body(ctx context.Context, env *mail.Envelope, r io.Reader) smtpd.Verdict {
	m := &deliver.Accepted{
		Origin: queue.Submission, Account: s.account.ID, Submitter: s.Account, From: s.from,
		BodyType: env.Body, SMTPUTF8: env.SMTPUTF8, Ret: env.Ret, EnvID: env.EnvID,
	}
	in := bufio.NewReaderSize(r, 32<<10)
	header, err := mail.ReadHeader(in, mail.DefaultHeaderLimits())
	if err != nil {
		return s.Failed(m, headerReply(err))
	}
	if mail.CountReceived(header) > s.MaxHops {
		return s.Refused("DATA", env, &receive.Loop)
	}
	if err := s.putInOrder(ctx, header); err != nil {
		return s.Failed(m, err)
	}
	m.MessageID, m.Subject = receive.MessageID(header), receive.Subject(header)
	return s.store(ctx, m, env, header, in)
}

func headerReply(err error) error {
	if errors.Is(err, mail.ErrHeaderLimit) {
		return (mail.Reply{Code: 552, Enhanced: "5.3.4", Text: "Header section too large"}).Because(err)
	}
	return err
}

// store writes the header in order and the rest of the message to disk, signs
// both and commits.
func (s *session) store(ctx context.Context, m *deliver.Accepted, env *mail.Envelope, header *mail.Header, rest io.Reader) smtpd.Verdict {
	w, err := s.Bodies.Create(ctx)
	if err != nil {
		return s.Failed(m, err)
	}
	defer w.Abort()
	look := s.InspectOwn(env)
	defer look.Abort()
	if _, err := header.WriteTo(io.MultiWriter(w, look)); err != nil {
		return s.Failed(m, err)
	}
	hash := senderauth.NewBodyHash()
	if err := receive.Copy(io.MultiWriter(w, hash, look), rest); err != nil {
		return s.Failed(m, err)
	}
	signatures, err := s.handler.Signer.Sign(ctx, header, hash)
	if err != nil {
		return s.Failed(m, err)
	}
	m.Prefix = []byte(signatures + s.Received(env))
	v := s.Commit(ctx, env, m, w, look)
	if v.Reply.Positive() && s.handler.Sent != nil {
		s.handler.Sent(m)
	}
	return v
}

// putInOrder edits the header; the package comment says how.
func (s *session) putInOrder(ctx context.Context, h *mail.Header) error {
	for _, name := range removed {
		h.Delete(name)
	}
	for _, name := range senderFields {
		h.Edit(name, func(value string) string { return mail.RewriteAddresses(value, s.masked) })
	}
	author, err := s.author(ctx, h)
	if err != nil {
		return err
	}
	if err := s.setSender(ctx, h, author); err != nil {
		return err
	}
	if _, err := mail.ParseDate(h.Get("Date")); err != nil {
		h.Set("Date", mail.FormatDate(time.Now()))
	}
	if receive.MessageID(h) == "" {
		h.Set("Message-ID", mail.NewMessageID(s.account.Address.Domain))
	}
	return nil
}

// author checks From and gives its first address. A message without From, as
// simple devices send it, gets the envelope sender.
func (s *session) author(ctx context.Context, h *mail.Header) (mail.Address, error) {
	values := h.Values("From")
	if len(values) == 0 {
		from := s.from
		if from.IsNull() {
			from = s.account.Address
		}
		h.Add("From", from.Wire)
		return from, nil
	}
	if len(values) > 1 {
		return mail.Address{}, &manyFroms
	}
	list, err := mail.ParseAddressList(values[0])
	if err != nil || len(list) == 0 {
		return mail.Address{}, (mail.Reply{Code: 550, Enhanced: "5.6.0", Text: "Cannot read the address in From"}).Because(err)
	}
	for _, a := range list {
		mine, err := s.mine(ctx, a.Address)
		if err != nil {
			return mail.Address{}, err
		}
		if !mine {
			return mail.Address{}, notYourFrom.Because(errors.New("From: " + a.Address.Wire))
		}
	}
	return list[0].Address, nil
}

// setSender makes who submitted the message provable: the login stands in
// Sender whenever it is not the author. With SenderForce it is the envelope
// sender instead.
func (s *session) setSender(ctx context.Context, h *mail.Header, author mail.Address) error {
	login := s.account.Address
	if s.domain.Settings.SenderMode == directory.SenderRecord {
		h.Delete("Sender")
		if author.Key() != login.Key() {
			h.Append("Sender", login.Wire)
		}
		return nil
	}
	list, err := mail.ParseAddressList(h.Get("Sender"))
	if err == nil && len(list) == 1 {
		mine, err := s.mine(ctx, list[0].Address)
		if err != nil {
			return err
		}
		if mine {
			return nil
		}
	}
	h.Delete("Sender")
	return nil
}

// masked gives the address with its host part rewritten to the domain, and
// whether that changed it.
func (s *session) masked(a mail.Address) (mail.Address, bool) {
	b := s.domain.Settings.Masquerade.Rewrite(a, s.account.Address.Domain)
	return b, b.Wire != a.Wire
}
