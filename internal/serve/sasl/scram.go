package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/migiwa/migiwa/internal/edge"
)

const minIterations = 4096 // RFC 7677 section 4

// SaltSize is the size in octets that salts of SCRAM keys must have, so that
// unknown users look like others.
const SaltSize = 16

// binding gives the channel binding data of a connection, which TLS 1.2
// without the extended master secret does not have.
func binding(state *tls.ConnectionState) (scram.ChannelBinding, bool) {
	if !state.HandshakeComplete { // a state made by hand has no keys to export
		return scram.ChannelBinding{}, false
	}
	b, err := scram.NewTLSExporterBinding(state)
	return b, err == nil
}

// scram runs SCRAM-SHA-256 and its PLUS variant.
func (s *Server) scram(ctx context.Context, peer edge.Client, plus bool, initial []byte, ex Exchange, state *tls.ConnectionState) (string, error) {
	bind, bound := binding(state)
	if plus && !bound {
		return "", fmt.Errorf("%w: no channel binding on this connection", ErrMechanism)
	}
	message, err := first(initial, nil, ex)
	if err != nil {
		return "", err
	}
	// The binding flag must fit the mechanism (RFC 5802 section 6); the library
	// takes "p" with either.
	if strings.HasPrefix(string(message), "p=") != plus {
		return "", fmt.Errorf("%w: channel binding flag does not fit the mechanism", ErrMalformed)
	}
	l := lookup{s: s, ctx: ctx, peer: peer}
	defer func() { l.ruling.Done(edge.LoginOpen) }()
	server, err := scram.SHA256.NewServer(l.find)
	if err != nil {
		return "", fmt.Errorf("starting SCRAM: %w", err)
	}
	conv := server.NewConversation()
	if bound {
		conv = server.NewConversationWithChannelBinding(bind)
	}
	challenge, err := conv.Step(string(message))
	if err != nil {
		return "", l.failure(err)
	}
	name, err := prepareName(conv.Username(), conv.AuthzID())
	if err != nil {
		return "", err
	}
	l.ruling.Pause()
	if message, err = ex([]byte(challenge)); err != nil {
		return "", err
	}
	// Judged again: or a peer would begin many exchanges, and prove something in
	// all of them on what was known of it before the first one failed.
	again, err := s.ask(edge.LoginAttempt{Client: peer, Account: name, Hidden: true})
	if err != nil {
		return "", err
	}
	defer again.Done(edge.LoginOpen) // behind what l.ruling learns
	proof, err := conv.Step(string(message))
	if err != nil {
		err = l.failure(err)
		tell(l.ruling, err)
		return "", err
	}
	if !conv.Valid() || !l.known {
		l.ruling.Done(edge.LoginWrong)
		return "", fmt.Errorf("%w: %q", ErrDenied, conv.Username())
	}
	l.ruling.Done(edge.LoginRight)
	again.Done(edge.LoginOpen)
	// Mutual authentication: the client answers our proof with nothing.
	if message, err = ex([]byte(proof)); err != nil {
		return "", err
	}
	if len(message) > 0 {
		return "", fmt.Errorf("%w: data behind the end of SCRAM", ErrMalformed)
	}
	return l.keys.Account, nil
}

// lookup finds the keys of one exchange.
type lookup struct {
	s      *Server
	ctx    context.Context
	peer   edge.Client
	ruling *edge.LoginRuling
	keys   Keys
	known  bool
	err    error // trouble, or held; not denial
}

// find is what the library calls with the client's user name.
func (l *lookup) find(user string) (scram.StoredCredentials, error) {
	name, err := prepareName(user, "")
	if err != nil {
		l.err = err
		return scram.StoredCredentials{}, err
	}
	l.ruling, l.err = l.s.ask(edge.LoginAttempt{Client: l.peer, Account: name, Hidden: true})
	if l.err != nil {
		return scram.StoredCredentials{}, l.err
	}
	l.keys, err = l.s.Scram(l.ctx, name)
	switch {
	case err == nil:
		l.known = true
	case errors.Is(err, ErrDenied):
		l.keys = l.s.unknown(name)
	default:
		l.err = fmt.Errorf("finding SCRAM keys of %q: %w", name, err)
		return scram.StoredCredentials{}, l.err
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(l.keys.Salt), Iters: l.keys.Iterations},
		StoredKey:  l.keys.StoredKey,
		ServerKey:  l.keys.ServerKey,
	}, nil
}

// failure sorts an error of the library: ours, the grammar's, or a denial.
// That a proof or a channel is wrong only the end of the exchange shows.
func (l *lookup) failure(err error) error {
	switch {
	case l.err != nil:
		return l.err
	case l.keys.Salt == nil:
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return fmt.Errorf("%w: %v", ErrDenied, err)
}
