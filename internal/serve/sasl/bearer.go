package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/edge"
)

// bearerRefused is what a client hears of a token that is not good (RFC 7628
// section 3.2.2). It must answer, whatever it likes, before it hears the end.
const bearerRefused = `{"status":"invalid_token"}`

// bearer runs OAUTHBEARER (RFC 7628): one message with a token, and when that is
// not good one round in which the server says so.
func (s *Server) bearer(ctx context.Context, peer edge.Client, initial []byte, ex Exchange) (string, error) {
	message, err := first(initial, nil, ex)
	if err != nil {
		return "", err
	}
	user, token, err := parseBearer(string(message))
	if err != nil {
		return "", err
	}
	if user != "" {
		if user, err = prepareName(user, ""); err != nil {
			return "", err
		}
	}
	ruling, err := s.ask(edge.LoginAttempt{Client: peer, Account: user, Hidden: true})
	if err != nil {
		return "", err
	}
	defer ruling.Done(edge.LoginOpen)
	account, err := s.Bearer(ctx, user, token)
	tell(ruling, err)
	if errors.Is(err, ErrDenied) {
		if _, broken := ex([]byte(bearerRefused)); broken != nil && !errors.Is(broken, ErrMalformed) && !errors.Is(broken, ErrCancelled) {
			return "", broken
		}
	}
	if err != nil {
		return "", fmt.Errorf("verifying a token of %q: %w", user, err)
	}
	return account, nil
}

// parseBearer reads "n,a=user,", then key=value pairs, each behind ^A, and ^A^A
// at the end (RFC 7628 section 3.1). Host and port, which proxies are told by,
// tell us nothing.
func parseBearer(message string) (user, token string, err error) {
	header, pairs, ok := strings.Cut(message, "\x01")
	if !ok || !strings.HasSuffix(message, "\x01\x01") {
		return "", "", fmt.Errorf("%w: OAUTHBEARER without its separators", ErrMalformed)
	}
	flag, authzid, ok := strings.Cut(header, ",")
	if flag != "n" && flag != "y" || !ok || !strings.HasSuffix(authzid, ",") {
		return "", "", fmt.Errorf("%w: OAUTHBEARER header", ErrMalformed)
	}
	if authzid = strings.TrimSuffix(authzid, ","); authzid != "" {
		if user, ok = strings.CutPrefix(authzid, "a="); !ok || user == "" {
			return "", "", fmt.Errorf("%w: OAUTHBEARER identity", ErrMalformed)
		}
		user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		key, value, _ := strings.Cut(pair, "=")
		if key != "auth" {
			continue
		}
		scheme, rest, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") || rest == "" {
			return "", "", fmt.Errorf("%w: OAUTHBEARER takes bearer tokens", ErrMalformed)
		}
		return user, strings.TrimSpace(rest), nil
	}
	return "", "", fmt.Errorf("%w: OAUTHBEARER without a token", ErrMalformed)
}
