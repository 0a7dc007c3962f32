package sasl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/migiwa/migiwa/internal/edge"
)

// TestScramIsJudgedAtItsProof begins many exchanges while nothing speaks against
// the peer, and proves nothing in any of them once all have their challenge.
func TestScramIsJudgedAtItsProof(t *testing.T) {
	engine, err := edge.New(edge.LoginRules(1000), edge.Sizes{Sources: 1024, Identities: 4096, Networks: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	s := accounts(t)
	s.Logins = &edge.Logins{Engine: engine, Clock: edge.NewClock(1, 0), Domain: "example.jp"}
	state, _ := tlsPair(t, tls.VersionTLS13)
	peer := edge.Client{Role: "test", Remote: netip.MustParseAddrPort("203.0.113.5:4000")}
	const many = 60
	looked, held := 0, 0
	// Each exchange begins the next one before it answers its own challenge.
	var begin func(left int)
	begin = func(left int) {
		if left == 0 {
			return
		}
		conv := newClient(t, string(rune('a'+left%26))+string(rune('a'+left/26)), "wrong", "").NewConversation()
		initial, err := conv.Step("")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Run(t.Context(), peer, ScramSHA256, []byte(initial), func(challenge []byte) ([]byte, error) {
			begin(left - 1)
			r, err := conv.Step(string(challenge))
			return []byte(r), err
		}, state)
		switch {
		case errors.Is(err, ErrHeld):
			held++
		case errors.Is(err, ErrDenied):
			looked++
		default:
			t.Errorf("neither held nor denied: %v", err)
		}
	}
	begin(many)
	if looked > 10 {
		t.Errorf("%d proofs of %d were looked at, %d held", looked, many, held)
	}
}

// TestPlainIsJudgedAlone begins many logins before the first of them has
// failed: no more are looked at than one after the other.
func TestPlainIsJudgedAlone(t *testing.T) {
	state, _ := tlsPair(t, 0)
	s, peer := guarded(t)
	const many = 50
	full := make(chan struct{})
	var asked, looked atomic.Int32
	s.Verify = func(context.Context, string, string) (string, error) {
		looked.Add(1)
		if asked.Add(1) == many {
			close(full)
		}
		<-full
		return "", ErrDenied
	}
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			err := try(t, s, peer, state, Plain, fmt.Sprint("user", i), "guess")
			if errors.Is(err, ErrHeld) && asked.Add(1) == many {
				close(full)
			}
		})
	}
	wg.Wait()
	if n := looked.Load(); n < 1 || n > 6 {
		t.Errorf("%d guesses of %d were looked at", n, many)
	}
}

// TestNobodyKeepsASeat: however an exchange ends, the next one is looked at.
func TestNobodyKeepsASeat(t *testing.T) {
	state, _ := tlsPair(t, 0)
	s, peer := guarded(t)
	for range 10 {
		func() {
			defer func() { _ = recover() }()
			broken := *s
			broken.Verify = func(context.Context, string, string) (string, error) { panic("verifying") }
			_ = try(t, &broken, peer, state, Plain, "taro", "x")
		}()
		if err := try(t, s, peer, state, ScramSHA256, "trouble", "x"); errors.Is(err, ErrHeld) || err == nil {
			t.Fatal(err)
		}
		// Who leaves an exchange open keeps nobody out.
		_, err := s.Run(t.Context(), peer, ScramSHA256, []byte("n,,n=taro,r=abcdefgh"), func([]byte) ([]byte, error) {
			return nil, try(t, s, peer, state, Plain, "taro", "pa ss")
		}, state)
		if err == nil || errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	if err := try(t, s, peer, state, Plain, "taro", "pa ss"); err != nil {
		t.Error(err)
	}
}
