package node

import (
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/migiwa/migiwa/internal/edge"
)

// TestPlacesSurviveARestart: who guessed is still held, and who logged in from
// there before is still let in.
func TestPlacesSurviveARestart(t *testing.T) {
	cfg := install(t)
	n, err := Start(t.Context(), cfg, io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(account, password string) *edge.LoginRuling {
		return n.logins.Allow(edge.LoginAttempt{Account: account, Password: password,
			Client: edge.Client{Role: "pop3", Remote: netip.MustParseAddrPort("192.0.2.10:4000")}})
	}
	ask("taro", "right").Done(edge.LoginRight)
	for i := range 20 {
		ask(fmt.Sprint("user", i), "guess").Done(edge.LoginWrong)
	}
	for range 2 {
		if !ask("jiro", "right").Held() {
			t.Error("a guesser's address is not held")
		}
		if ask("taro@example.test", "right").Held() {
			t.Error("a known place is held")
		}
		if err := n.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err = Start(t.Context(), cfg, io.Discard, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}
