package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	gosasl "github.com/emersion/go-sasl"

	"github.com/migiwa/migiwa/internal/edge"
)

// bearers is a Server that knows one token of taro's.
func bearers() *Server {
	return &Server{Bearer: func(_ context.Context, user, token string) (string, error) {
		if token == "trouble" {
			return "", errTrouble
		}
		if (user == "" || user == "taro@example.jp") && token == "good" {
			return "taro@example.jp", nil
		}
		return "", ErrDenied
	}}
}

func TestBearer(t *testing.T) {
	state := &tls.ConnectionState{}
	for _, c := range []struct {
		user, token string
		want        error
		rounds      int
	}{
		{"taro@example.jp", "good", nil, 0},
		{"", "good", nil, 0},
		{"taro@example.jp", "bad", ErrDenied, 1},
		{"jiro@example.jp", "good", ErrDenied, 1},
		{"taro@example.jp", "trouble", errTrouble, 0},
	} {
		client := gosasl.NewOAuthBearerClient(&gosasl.OAuthBearerOptions{Username: c.user, Token: c.token, Host: "mail.example.jp", Port: 993})
		_, initial, err := client.Start()
		if err != nil {
			t.Fatal(err)
		}
		rounds := 0
		account, err := bearers().Run(t.Context(), edge.Client{}, OAuthBearer, initial, func(challenge []byte) ([]byte, error) {
			if rounds++; string(challenge) != bearerRefused {
				t.Errorf("challenge %q", challenge)
			}
			return []byte("\x01"), nil
		}, state)
		if !errors.Is(err, c.want) || (err == nil) != (account != "") || rounds != c.rounds {
			t.Errorf("%q %q: %q, %v, %d rounds", c.user, c.token, account, err, rounds)
		}
	}
}

func TestBearerMalformed(t *testing.T) {
	for _, message := range []string{
		"", "n,,", "n,,\x01auth=Bearer good\x01", "p=tls-exporter,,\x01auth=Bearer good\x01\x01", "n,b=taro,\x01auth=Bearer good\x01\x01",
		"n,a=,\x01auth=Bearer good\x01\x01", "n,,\x01auth=Basic good\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01host=x\x01\x01", "n,\x01auth=Bearer good\x01\x01",
	} {
		_, err := bearers().Run(t.Context(), edge.Client{}, OAuthBearer, []byte(message), nil, &tls.ConnectionState{})
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", message, err)
		}
	}
	if user, token, err := parseBearer("n,a=a=2Cb=3Dc,\x01auth=bearer x.y\x01\x01"); user != "a,b=c" || token != "x.y" || err != nil {
		t.Errorf("%q %q %v", user, token, err)
	}
}

// Without Bearer the mechanism is not there.
func TestBearerAbsent(t *testing.T) {
	s := accounts(t)
	for _, m := range s.Mechanisms(&tls.ConnectionState{}) {
		if m == OAuthBearer {
			t.Error("offered")
		}
	}
	if _, err := s.Run(t.Context(), edge.Client{}, OAuthBearer, []byte("n,,\x01auth=Bearer good\x01\x01"), nil, &tls.ConnectionState{}); !errors.Is(err, ErrMechanism) {
		t.Error(err)
	}
	if m := bearers().Mechanisms(&tls.ConnectionState{}); len(m) != 1 || m[0] != OAuthBearer {
		t.Error(m)
	}
}
