package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/migiwa/migiwa/internal/edge"
)

// guarded is accounts with a Logins, and a peer far away.
func guarded(t *testing.T) (*Server, edge.Client) {
	t.Helper()
	engine, err := edge.New(edge.LoginRules(30), edge.Sizes{Sources: 1024, Identities: 4096, Networks: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	s := accounts(t)
	s.Logins = &edge.Logins{Engine: engine, Clock: edge.NewClock(1, 0), Domain: "example.jp"}
	return s, edge.Client{Role: "test", Remote: netip.MustParseAddrPort("203.0.113.5:4000")}
}

// try makes one login as a client does.
func try(t *testing.T, s *Server, peer edge.Client, state *tls.ConnectionState, mechanism, user, password string) (err error) {
	t.Helper()
	switch mechanism {
	case Plain:
		_, err = s.Run(t.Context(), peer, Plain, []byte("\x00"+user+"\x00"+password), script(t, nil), state)
		return err
	case Login:
		_, err = s.Run(t.Context(), peer, Login, nil, script(t, nil, user, password), state)
		return err
	}
	c, err := scram.SHA256.NewClientUnprepped(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := c.NewConversation()
	first, err := talk.Step("")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context(), peer, mechanism, []byte(first), func(challenge []byte) ([]byte, error) {
		answer, err := talk.Step(string(challenge))
		return []byte(answer), err
	}, state)
	return err
}

// TestGuesserIsHeld: after some guesses by any mechanism nobody looks any more,
// and what was guessed makes no difference.
func TestGuesserIsHeld(t *testing.T) {
	state, _ := tlsPair(t, 0)
	for _, m := range []string{Plain, Login, ScramSHA256} {
		t.Run(m, func(t *testing.T) {
			s, peer := guarded(t)
			looks := 0
			verify, keys := s.Verify, s.Scram
			s.Verify = func(ctx context.Context, user, password string) (string, error) {
				looks++
				return verify(ctx, user, password)
			}
			s.Scram = func(ctx context.Context, user string) (Keys, error) {
				looks++
				return keys(ctx, user)
			}
			for i := range 10 {
				if err := try(t, s, peer, state, m, fmt.Sprint("user", i), "guess"); !errors.Is(err, ErrDenied) && !errors.Is(err, ErrHeld) {
					t.Fatal(err)
				}
			}
			before := looks
			if before < 2 || before > 6 {
				t.Errorf("looked at %d guesses of 10", before)
			}
			for _, c := range [][2]string{{"taro", "pa ss"}, {"taro", "wrong"}, {"nobody", "wrong"}, {"trouble", "x"}} {
				if err := try(t, s, peer, state, m, c[0], c[1]); !errors.Is(err, ErrHeld) || errors.Is(err, ErrDenied) {
					t.Errorf("%v: %v", c, err)
				}
			}
			if looks != before {
				t.Error("looked at an attempt that was held")
			}
			peer.Exempt = true
			if err := try(t, s, peer, state, m, "taro", "pa ss"); err != nil {
				t.Errorf("exempt: %v", err)
			}
		})
	}
}

// TestTroubleIsNoGuess: a database that is away convicts nobody, nor does who
// breaks off.
func TestTroubleIsNoGuess(t *testing.T) {
	state, _ := tlsPair(t, 0)
	s, peer := guarded(t)
	for i := range 50 {
		if _, err := s.Run(t.Context(), peer, Plain, fmt.Appendf(nil, "\x00trouble\x00%d", i), nil, state); !errors.Is(err, errTrouble) {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), peer, ScramSHA256, fmt.Appendf(nil, "n,,n=user%d,r=abcdefgh", i), script(t, nil, "*"), state); !errors.Is(err, ErrCancelled) {
			t.Fatal(err)
		}
	}
	if _, err := s.Run(t.Context(), peer, Plain, []byte("\x00taro\x00pa ss"), nil, state); err != nil {
		t.Error(err)
	}
}
