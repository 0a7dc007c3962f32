package milter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// verdict is what a server says of the message.
type verdict struct {
	action     milter.ActionType // ActionAccept: nothing against it
	text       string            // of a refusal
	quarantine string            // the reason, "" for none
	refused    map[int]string    // recipients, by their index
	mods       []Modification
}

// session is the dialogue with one server on one message.
type session struct {
	server *Server
	m      *filter.Message
	to     []filter.Recipient
	draft  *draft
	s      *milter.ClientSession
	macros *milter.MacroBag
	v      verdict
}

// errEnd ends a dialogue because the server has said all.
var errEnd = errors.New("settled")

// ask tells a server the message.
func ask(ctx context.Context, server *Server, m *filter.Message, to []filter.Recipient, d *draft) (verdict, error) {
	network, address, err := parseAddress(server.Address)
	if err != nil {
		return verdict{}, err
	}
	s := &session{server: server, m: m, to: to, draft: d, macros: milter.NewMacroBag(), v: verdict{refused: map[int]string{}}}
	s.setMacros()
	opts := append(macroStages(), milter.WithDialer(&dialer{ctx, server.Connect}), milter.WithReadTimeout(server.reply()), milter.WithWriteTimeout(server.reply()))
	s.s, err = milter.NewClient(network, address, opts...).Session(s.macros)
	if err != nil {
		return verdict{}, err
	}
	defer s.s.Close()
	for _, step := range []func() error{s.client, s.sender, s.recipients, s.header, s.body} {
		err := step()
		if errors.Is(err, errEnd) {
			return s.v, nil
		}
		if err != nil && ctx.Err() != nil {
			return verdict{}, fmt.Errorf("%w (%v)", ctx.Err(), err)
		}
		if err != nil {
			return verdict{}, err
		}
	}
	return s.v, nil
}

// settle takes a reply; errEnd says that no more is to be told.
func (s *session) settle(a *milter.Action, err error) error {
	if err != nil {
		return err
	}
	switch a.Type {
	case milter.ActionContinue, milter.ActionSkip:
		return nil
	case milter.ActionRejectWithCode:
		s.v.action = milter.ActionReject
		if a.SMTPCode < 500 {
			s.v.action = milter.ActionTempFail
		}
		s.v.text = a.SMTPReply
	case milter.ActionReject, milter.ActionTempFail:
		s.v.action, s.v.text = a.Type, a.SMTPReply
	default:
		s.v.action = a.Type
	}
	return errEnd
}

// client tells who connected.
func (s *session) client() error {
	name, family, addr := s.m.ClientName, milter.FamilyUnknown, ""
	if ip := s.m.Client.Unmap().WithZone(""); ip.IsValid() {
		addr, family = ip.String(), milter.FamilyInet
		if ip.Is6() {
			family = milter.FamilyInet6
		}
		if name == "" {
			name = "[" + addr + "]"
		}
	} else if name == "" {
		name = "localhost"
	}
	if err := s.settle(s.s.Conn(name, family, 0, addr)); err != nil {
		return err
	}
	hello := s.m.Hello
	if hello == "" {
		hello = name
	}
	return s.settle(s.s.Helo(hello))
}

func (s *session) sender() error { return s.settle(s.s.Mail(s.m.From.String(), "")) }

// recipients tells them one by one. A server may refuse some; when it refuses
// all, it knows all it wants to.
func (s *session) recipients() error {
	for _, to := range s.to {
		mailer := "esmtp"
		if to.Account != "" {
			mailer = "local"
		}
		s.macros.Set(milter.MacroRcptMailer, mailer)
		s.macros.Set(milter.MacroRcptHost, string(to.Address.Domain))
		s.macros.Set(milter.MacroRcptAddr, to.Address.String())
		err := s.settle(s.s.Rcpt(to.Address.String(), ""))
		if !errors.Is(err, errEnd) {
			if err != nil {
				return err
			}
			continue
		}
		switch s.v.action {
		case milter.ActionReject, milter.ActionTempFail:
			s.v.refused[to.Index] = s.v.text
			s.v.action, s.v.text = 0, ""
		default:
			return err
		}
	}
	if len(s.v.refused) == len(s.to) {
		return errEnd
	}
	return s.settle(s.s.DataStart())
}

func (s *session) header() error {
	space := s.s.ProtocolOption(milter.OptHeaderLeadingSpace)
	for _, raw := range s.draft.fields {
		name, value, ok := splitField(raw)
		if !ok {
			continue
		}
		value = strings.ReplaceAll(strings.TrimRight(value, "\r\n"), "\r\n", "\n")
		if !space {
			value = strings.TrimPrefix(value, " ")
		}
		if err := s.settle(s.s.HeaderField(name, strings.ReplaceAll(value, "\x00", ""), nil)); err != nil {
			return err
		}
	}
	return s.settle(s.s.HeaderEnd())
}

func (s *session) body() error {
	r, err := s.draft.open()
	if err != nil {
		return err
	}
	defer r.Close()
	acts, last, err := s.s.BodyReadFrom(r)
	if err := s.settle(last, err); err != nil && !errors.Is(err, errEnd) {
		return err
	}
	if s.v.action == milter.ActionAccept || s.v.action == 0 {
		return s.take(acts)
	}
	return nil
}

// take reads the modifications of a server.
func (s *session) take(acts []milter.ModifyAction) error {
	var body []byte
	replaced := false
	for _, a := range acts {
		m := Modification{Server: s.server.Name, Name: a.HeaderName, Value: a.HeaderValue, Index: int(min(a.HeaderIndex, 1<<20))}
		var err error
		switch a.Type {
		case milter.ActionQuarantine:
			if s.v.quarantine = a.Reason; a.Reason == "" {
				s.v.quarantine = "no reason given"
			}
			continue
		case milter.ActionReplaceBody:
			replaced, body = true, append(body, a.Body...)
			continue
		case milter.ActionAddHeader:
			m.Kind = AddHeader
		case milter.ActionInsertHeader:
			m.Kind = InsertHeader
		case milter.ActionChangeHeader:
			m.Kind = ChangeHeader
		case milter.ActionChangeFrom:
			m.Kind = ChangeFrom
			m.Address, err = address(a.From)
		case milter.ActionAddRcpt:
			m.Kind = AddRecipient
			m.Address, err = address(a.Rcpt)
		case milter.ActionDelRcpt:
			m.Kind = DeleteRecipient
			m.Address, err = address(a.Rcpt)
		default:
			err = fmt.Errorf("unknown modification %d", a.Type)
		}
		if err != nil {
			return err
		}
		s.v.mods = append(s.v.mods, m)
	}
	if replaced {
		s.v.mods = append(s.v.mods, Modification{Server: s.server.Name, Kind: ReplaceBody, Body: append([]byte{}, body...)})
	}
	return nil
}

// address reads a path in angle brackets, or without.
func address(s string) (mail.Address, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") {
		s = strings.TrimSuffix(s[1:], ">")
	}
	if s == "" {
		return mail.Address{}, nil
	}
	return mail.ParseAddress(s)
}
