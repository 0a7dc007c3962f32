package edgemilter

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/foreign"
)

// lookTime bounds what one recipient may cost before it is answered.
const lookTime = 15 * time.Second

// session is one milter connection: that of one SMTP client. The client becomes
// a guest with its first transaction without a login: users who log in are none.
type session struct {
	milter.NoOpMilter
	server *Server
	client foreign.Client // without Remote: not judged
	helo   string
	guest  *foreign.Guest // nil: none yet
	judged bool           // the open transaction
	tr     foreign.Transaction
}

// NewConnection begins with another client on the same connection.
func (s *session) NewConnection(milter.Modifier) error {
	s.leave()
	return nil
}

func (s *session) Cleanup(milter.Modifier) { s.leave() }

func (s *session) leave() {
	if s.guest != nil {
		s.server.Desk.Forget(s.guest)
	}
	*s = session{server: s.server}
}

// Connect takes who the client is. Both servers give its name only if it leads
// back to the address, or say that it may be forged.
func (s *session) Connect(host, family string, port uint16, addr string, m milter.Modifier) (*milter.Response, error) {
	s.leave()
	ip, err := netip.ParseAddr(addr)
	if err != nil || !strings.HasPrefix(family, "tcp") {
		return milter.RespContinue, nil
	}
	s.client = foreign.Client{Role: Role, Remote: netip.AddrPortFrom(ip.Unmap(), port), Looked: true}
	if !strings.HasPrefix(host, "[") && !strings.Contains(m.Get("_"), "may be forged") {
		s.client.Name = host
	}
	return milter.RespContinue, nil
}

func (s *session) Helo(name string, _ milter.Modifier) (*milter.Response, error) {
	s.helo = name
	return milter.RespContinue, nil
}

func (s *session) MailFrom(from, params string, m milter.Modifier) (*milter.Response, error) {
	s.tr = foreign.Transaction{ID: m.Get(milter.MacroQueueId), From: foreign.Address(from), Size: sizeOf(params)}
	s.judged = s.client.Remote.IsValid() && m.Get(milter.MacroAuthAuthen) == ""
	if !s.judged {
		return milter.RespContinue, nil
	}
	s.guest = s.server.Desk.Guest(s.client)
	reply := s.guest.Hello(s.helo)
	if reply == nil {
		reply = s.guest.Begin(s.tr)
	}
	if reply != nil || s.server.Mode != Transactions {
		return response(reply)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	return ruled(s.guest.Ask(ctx, s.tr, mail.Address{}, false))
}

// RcptTo hears of each recipient, of refused ones only for information.
func (s *session) RcptTo(rcpt, _ string, m milter.Modifier) (*milter.Response, error) {
	to := foreign.Address(rcpt)
	refused := m.Get(milter.MacroRcptMailer) == "error"
	truth := edge.Exists
	if refused {
		truth = edge.Unknown
		if m.Get(milter.MacroRcptHost) != "5.1.1" {
			return milter.RespContinue, nil // for another reason, which tells nothing
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	switch s.server.Mode {
	case Outcomes:
		if s.judged {
			s.guest.Tell(to, truth)
		}
	case Transactions:
		if s.judged {
			s.guest.Seen(ctx, s.tr, to, truth)
		}
	case Recipients:
		if refused {
			s.warn(to)
			if s.judged {
				s.guest.Seen(ctx, s.tr, to, truth)
			}
			break
		}
		return s.answer(ctx, to)
	}
	return milter.RespContinue, nil
}

// answer asks the edge, and tells a client that may hear the truth what it is.
func (s *session) answer(ctx context.Context, to mail.Address) (*milter.Response, error) {
	if s.judged {
		if r := s.guest.Ask(ctx, s.tr, to, false); r.Reply != nil {
			return ruled(r)
		}
	}
	truth, refusal, err := s.server.Recipients(ctx, to)
	if err != nil {
		s.server.Logger.Warn("a recipient could not be looked up", "to", to.String(), "err", err)
		return response(mail.AsReply(err))
	}
	if s.judged {
		s.guest.Tell(to, truth)
	}
	return response(refusal)
}

// warn tells the operator, once, that the server still refuses recipients by
// itself: then held clients can tell them from others.
func (s *session) warn(to mail.Address) {
	s.server.warned.Do(func() {
		s.server.Logger.Error("the mail server refuses unknown recipients before the milter is asked: held clients can tell which exist",
			"to", to.String())
	})
}

func (s *session) EndOfMessage(milter.Modifier) (*milter.Response, error) {
	if s.judged {
		s.guest.Accepted(s.tr.Size)
	}
	return milter.RespContinue, nil
}

func (s *session) Abort(milter.Modifier) error {
	if s.guest != nil {
		s.guest.Reset()
	}
	return nil
}

// ruled waits for the time of a deferral. Its look-up may be queued before the
// reply has left: it begins a third of a second later at the soonest.
func ruled(r *edge.Ruling) (*milter.Response, error) {
	if r.Reply == nil {
		return milter.RespContinue, nil
	}
	time.Sleep(time.Until(r.At))
	foreign.Left(r)
	return response(r.Reply)
}

// response gives a reply to the client, nil that it goes on.
func response(r *mail.Reply) (*milter.Response, error) {
	if r == nil {
		return milter.RespContinue, nil
	}
	return milter.RejectWithCodeAndReason(uint16(r.Code), strings.TrimSpace(r.Enhanced+" "+r.Text))
}

// sizeOf gives the SIZE parameter of MAIL, 0 without one.
func sizeOf(params string) int64 {
	for _, p := range strings.Fields(params) {
		if name, value, _ := strings.Cut(p, "="); strings.EqualFold(name, "SIZE") {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}
