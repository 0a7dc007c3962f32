package sasl

import (
	"crypto/tls"
	"errors"
	"net/netip"
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
