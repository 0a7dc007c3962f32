// Package sasl is the server side of SASL (RFC 4422), shared by the protocols
// that let people log in: PLAIN (RFC 4616), LOGIN (as draft-murchison-sasl-login
// has it, for old clients), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802,
// RFC 7677) with the channel binding tls-exporter (RFC 9266), OAUTHBEARER
// (RFC 7628).
//
// A protocol carries challenges and responses and decodes them; it offers what
// Server.Mechanisms gives and calls Server.Run:
//
//	account, err := server.Run(ctx, peer, mechanism, initial, exchange, tlsState)
//
// Who guesses passwords is held before a password is looked at (Logins): Run
// gives ErrHeld, whatever the password is. A protocol says then that it is for
// the moment, at the time of any other failure.
//
// Nothing works outside of TLS. Whether an account exists is not told: an
// unknown one gets a SCRAM salt that is always the same for its name and
// cannot be told from a real one, and fails where a wrong password fails. That
// Verify takes as long for unknown users as for others is the caller's part.
//
// Names are prepared with the PRECIS profile UsernameCaseMapped and passwords
// with OpaqueString (RFC 8265); whoever stores SCRAM keys must prepare the
// password with PreparePassword before. Names are what people type: which
// account a name belongs to the callbacks say.
//
// The binding tls-server-end-point is not offered: crypto/tls does not tell
// which certificate a server's connection was given, and every client that
// binds to TLS 1.3 knows tls-exporter.
package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/secure/precis"

	"github.com/migiwa/migiwa/internal/edge"
)

// Names of mechanisms.
const (
	Plain           = "PLAIN"
	Login           = "LOGIN"
	ScramSHA256     = "SCRAM-SHA-256"
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	OAuthBearer     = "OAUTHBEARER"
)

var (
	// ErrCancelled is given by an exchange whose client said "*".
	ErrCancelled = errors.New("sasl: cancelled by the client")
	// ErrMalformed is wrapped by errors about messages that break the grammar
	// of their mechanism, or their protocol's encoding.
	ErrMalformed = errors.New("sasl: malformed message")
	// ErrDenied is wrapped by errors of exchanges that were carried out and
	// proved nothing: unknown user, wrong password, wrong channel, an identity
	// of somebody else. Peers must not learn which.
	ErrDenied = errors.New("sasl: authentication failed")
	// ErrHeld is wrapped by errors of exchanges that were not carried out: the
	// peer may try again later. Text and time must be the same for everybody.
	ErrHeld = errors.New("sasl: held")
	// ErrMechanism is wrapped when a mechanism is unknown or not to be had on
	// this connection.
	ErrMechanism = errors.New("sasl: mechanism not available")
)

// maxMessage bounds names, passwords and messages of clients, in octets.
const maxMessage = 4096

// Exchange sends one challenge to the client and gives its response.
type Exchange func(challenge []byte) ([]byte, error)

// Keys is what SCRAM needs to know of an account (RFC 5802 section 3).
type Keys struct {
	Account    string // given back by Run
	Iterations int
	Salt       []byte
	StoredKey  []byte // 32 octets
	ServerKey  []byte // 32 octets
}

// Server runs the mechanisms. Its fields are set once by the composition root.
type Server struct {
	// Verify checks a password and names the account. It gives an error that
	// wraps ErrDenied for an unknown user and a wrong password alike, after the
	// same time; other errors are trouble of our own. nil: no PLAIN, no LOGIN.
	Verify func(ctx context.Context, user, password string) (account string, err error)
	// Scram finds a user's keys. It gives an error that wraps ErrDenied when
	// there is no such user, or none with keys. nil: no SCRAM.
	Scram func(ctx context.Context, user string) (Keys, error)
	// Bearer checks a token that was given out to a user's program, and names the
	// account. user is "" when the client named nobody. Errors as with Verify.
	// nil: no OAUTHBEARER.
	Bearer func(ctx context.Context, user, token string) (account string, err error)
	// Secret makes the salts of unknown users: at least 16 random octets, the
	// same on every node and after every restart. Needed with Scram.
	Secret []byte
	// Iterations is told for unknown users; it should be what new accounts
	// get. Default 4096, the least that RFC 7677 allows.
	Iterations int
	// Logins judges peers before a password is looked at. nil: nobody is held.
	Logins *edge.Logins
}

// Mechanisms gives what can be offered on a connection, strongest first;
// nothing without TLS.
func (s *Server) Mechanisms(state *tls.ConnectionState) []string {
	if state == nil {
		return nil
	}
	var names []string
	if s.Scram != nil {
		if _, ok := binding(state); ok {
			names = append(names, ScramSHA256Plus)
		}
		names = append(names, ScramSHA256)
	}
	if s.Bearer != nil {
		names = append(names, OAuthBearer)
	}
	if s.Verify != nil {
		names = append(names, Plain, Login)
	}
	return names
}

// Run carries out one exchange with a peer and gives the account that Verify or
// Scram named. initial is nil when the client sent no initial response. Errors wrap
// one of this package's, or are those of ex and of the callbacks.
func (s *Server) Run(ctx context.Context, peer edge.Client, mechanism string, initial []byte, ex Exchange, state *tls.ConnectionState) (string, error) {
	if state == nil {
		return "", fmt.Errorf("%w: %s without TLS", ErrMechanism, mechanism)
	}
	bounded := func(challenge []byte) ([]byte, error) {
		r, err := ex(challenge)
		if err == nil && len(r) > maxMessage {
			err = fmt.Errorf("%w: response of %d octets", ErrMalformed, len(r))
		}
		return r, err
	}
	if len(initial) > maxMessage {
		return "", fmt.Errorf("%w: initial response of %d octets", ErrMalformed, len(initial))
	}
	switch name := strings.ToUpper(mechanism); {
	case name == Plain && s.Verify != nil:
		return s.plain(ctx, peer, initial, bounded)
	case name == Login && s.Verify != nil:
		return s.login(ctx, peer, initial, bounded)
	case (name == ScramSHA256 || name == ScramSHA256Plus) && s.Scram != nil:
		return s.scram(ctx, peer, name == ScramSHA256Plus, initial, bounded, state)
	case name == OAuthBearer && s.Bearer != nil:
		return s.bearer(ctx, peer, initial, bounded)
	}
	return "", fmt.Errorf("%w: %s", ErrMechanism, mechanism)
}

// plain reads authzid NUL authcid NUL password.
func (s *Server) plain(ctx context.Context, peer edge.Client, initial []byte, ex Exchange) (string, error) {
	message, err := first(initial, nil, ex)
	if err != nil {
		return "", err
	}
	parts := strings.Split(string(message), "\x00")
	if len(parts) != 3 {
		return "", fmt.Errorf("%w: PLAIN has three parts", ErrMalformed)
	}
	return s.verify(ctx, peer, parts[0], parts[1], parts[2])
}

// login asks for a name and a password.
func (s *Server) login(ctx context.Context, peer edge.Client, initial []byte, ex Exchange) (string, error) {
	user, err := first(initial, []byte("Username:"), ex)
	if err != nil {
		return "", err
	}
	password, err := ex([]byte("Password:"))
	if err != nil {
		return "", err
	}
	return s.verify(ctx, peer, "", string(user), string(password))
}

// first gives the initial response, asking for it when none came.
func first(initial, challenge []byte, ex Exchange) ([]byte, error) {
	if initial != nil {
		return initial, nil
	}
	return ex(challenge)
}

// verify prepares name and password and has them checked.
func (s *Server) verify(ctx context.Context, peer edge.Client, authzid, user, password string) (string, error) {
	name, err := prepareName(user, authzid)
	if err != nil {
		return "", err
	}
	secret, err := PreparePassword(password)
	if err != nil {
		return "", err
	}
	ruling, err := s.ask(edge.LoginAttempt{Client: peer, Account: name, Password: secret})
	if err != nil {
		return "", err
	}
	defer ruling.Done(edge.LoginOpen)
	account, err := s.Verify(ctx, name, secret)
	tell(ruling, err)
	if err != nil {
		return "", fmt.Errorf("verifying %q: %w", name, err)
	}
	return account, nil
}

// ask has an attempt judged, before anything is looked up for it. The error
// wraps ErrHeld; its text is for the event.
func (s *Server) ask(t edge.LoginAttempt) (*edge.LoginRuling, error) {
	r := s.Logins.Allow(t)
	if r.Held() {
		return nil, fmt.Errorf("%w: %q: %s", ErrHeld, t.Account, r.Why())
	}
	return r, nil
}

// tell passes on what became of an attempt.
func tell(r *edge.LoginRuling, err error) {
	switch {
	case err == nil:
		r.Done(edge.LoginRight)
	case errors.Is(err, ErrDenied):
		r.Done(edge.LoginWrong)
	}
}

// prepareName prepares a user's name, and refuses an authorization identity
// that is somebody else.
func prepareName(user, authzid string) (string, error) {
	name, err := precis.UsernameCaseMapped.String(user)
	if err == nil && name == "" {
		err = errors.New("empty")
	}
	if err != nil {
		return "", fmt.Errorf("%w: user name: %v", ErrMalformed, err)
	}
	if authzid == "" {
		return name, nil
	}
	if other, err := precis.UsernameCaseMapped.String(authzid); err != nil || other != name {
		return "", fmt.Errorf("%w: %q may not act for %q", ErrDenied, user, authzid)
	}
	return name, nil
}

// PreparePassword brings a password to the form that is verified and of which
// SCRAM keys are made (OpaqueString, RFC 8265 section 4.2). Errors wrap
// ErrMalformed.
func PreparePassword(password string) (string, error) {
	p, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", fmt.Errorf("%w: password: %v", ErrMalformed, err)
	}
	return p, nil
}

// unknown gives keys for a user that has none: salt and keys that only Secret
// knows, always the same for the same name.
func (s *Server) unknown(user string) Keys {
	derive := func(what string) []byte {
		m := hmac.New(sha256.New, s.Secret)
		m.Write([]byte(what + "\x00" + user))
		return m.Sum(nil)
	}
	return Keys{
		Iterations: max(s.Iterations, minIterations),
		Salt:       derive("salt")[:SaltSize],
		StoredKey:  derive("stored"),
		ServerKey:  derive("server"),
	}
}
