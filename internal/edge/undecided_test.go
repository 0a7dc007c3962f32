package edge

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestUndecidedAreFew(t *testing.T) {
	l := newLogins(t, 30)
	now := loginStart
	client := func(ip string) Client {
		return Client{Role: "pop3", Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 4000)}
	}
	for _, hidden := range []bool{false, true} {
		l.attempt(now, LoginAttempt{Account: "taro", Password: "right", Client: client("192.0.2.10"), Hidden: hidden}, true)
	}
	guess := func(ip string) *LoginRuling {
		return l.allow(LoginAttempt{Account: "hanako", Password: fmt.Sprint(ip, now), Client: client(ip)}, now)
	}
	for round := range 3 {
		var open []*LoginRuling
		for i := range 10 {
			now++
			r := guess("192.0.2.10")
			if r.Held() != (i >= undecidedMost) {
				t.Fatalf("round %d, attempt %d of a source: held %v (%s)", round, i, r.Held(), r.Why())
			}
			open = append(open, r)
		}
		if guess("198.51.100.1").Held() {
			t.Error("another source is held, too")
		}
		for range 20 {
			r := l.allow(LoginAttempt{Account: "taro", Password: "right", Client: client("192.0.2.10")}, now)
			if r.Held() {
				t.Fatal("what was right there before is held")
			}
		}
		open[0].Pause()
		if r := guess("192.0.2.10"); r.Held() {
			t.Error("one that waits for its client keeps its seat")
		} else {
			r.Done(LoginOpen)
			r.Done(LoginOpen)
		}
		for _, r := range open {
			r.Done(LoginOpen)
		}
	}
	for i := range 10 {
		r := l.allow(LoginAttempt{Account: "taro", Client: client("192.0.2.10"), Hidden: true}, now)
		if r.Held() != (i >= undecidedMost) {
			t.Errorf("hidden attempt %d at a known place: held %v", i, r.Held())
		}
	}
}
