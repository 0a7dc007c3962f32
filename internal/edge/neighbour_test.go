package edge

import (
	"fmt"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// TestCrowdDoesNotReachWhoWasThere has somebody use up the /64 entries of the
// /56 of a proven server, and guess in the entry that the rest share.
func TestCrowdDoesNotReachWhoWasThere(t *testing.T) {
	for _, server := range []string{"2001:db8:1:1122::25", "2001:db8:1:1156::25", "2001:db8:1:48::25"} {
		e := newTest(t, Sizes{Sources: 1 << 14})
		prove(e, noon, server)
		now := noon
		for i := range 3000 {
			now++
			a := Attempt{Time: now, Sender: e.Hash("s@bot.test"),
				Source: from(fmt.Sprintf("2001:db8:1:%x::1", from(server).key&0xff00+uint64(i)))} // its /56 first
			if a.Source == from(server) {
				continue
			}
			asked(e, a, fmt.Sprint("guess", i), Unknown)
			a = Attempt{Time: now, Source: from(server), Sender: e.Hash("s@known.test")}
			if d := asked(e, a, "someone", Exists); d.Why != Proven {
				t.Fatalf("%s, after %d others: %v", server, i, d.Why)
			}
		}
	}
}

// TestNetworksAreNoSources looks for addresses whose key is that of a network.
func TestNetworksAreNoSources(t *testing.T) {
	for _, net := range []string{"2001:db8:1:11", "2001:db8:1:0", "fd00:1:2:ff", "64:ff9b:0:0", "3fff:ff:ff:ff", "fe80:0:0:0"} {
		keys := map[uint64]bool{}
		s := from(net + "00::1")
		keys[s.narrow], keys[s.wide] = true, true
		for i := range 256 {
			s := from(fmt.Sprintf("%s%02x::1", net, i))
			if keys[s.key] {
				t.Errorf("%v has the key of a network around it", s.Prefix())
			}
			if s.Prefix().Bits() != 64 || s.Narrow().Bits() != 56 || s.Wide().Bits() != 48 {
				t.Errorf("%v passes for %v in %v in %v", from(fmt.Sprintf("%s%02x::1", net, i)), s.Prefix(), s.Narrow(), s.Wide())
			}
		}
	}
}

// TestProbesDoNotKeepBouncesAway names a mailbox and its domain as recipients of
// the null sender, far more often than bounces may come, and brings no message.
func TestProbesDoNotKeepBouncesAway(t *testing.T) {
	g := newGuard(t)
	bounce := func(ip string, bring bool) *Ruling {
		v := visit(t, g, ip)
		defer v.Close()
		v.Mail(mail.Address{}, 0)
		r := v.Rcpt(t.Context(), mail.MakeAddress("alice", "here.test"), false)
		if r.Reply == nil {
			v.Told(r, Exists, "")
		}
		if bring {
			v.Accepted(100)
		}
		return r
	}
	for range 5000 {
		bounce("203.0.113.1", false)
	}
	if r := bounce("192.0.2.1", true); r.Reply != nil {
		t.Errorf("an honest bounce: %v", r.decision.Why)
	}
	for range 300 {
		bounce("203.0.113.1", true)
	}
	if r := bounce("192.0.2.1", true); r.decision.Why != Flooded {
		t.Errorf("behind 300 bounces in a second: %v", r.decision.Why)
	}
}

// TestOneLostMessageDelaysNoOthers has a newcomer without a name give up its
// first message, in bad times, and try new ones each half hour, every hour.
func TestOneLostMessageDelaysNoOthers(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	a := Attempt{Source: from("203.0.113.9"), Named: No}
	for now := noon; now < noon+8*3600; now += 1800 {
		stormy(e, 10+int(now-noon)/1800, now)
		a.Time = now
		for first := noon + (now-noon)%3600; first <= now; first += 3600 {
			if first == noon && now > noon {
				continue // given up
			}
			a.Sender = e.Hash(fmt.Sprint("sender", first))
			if d := asked(e, a, fmt.Sprint("rcpt", first), Exists); !d.Defer {
				t.Logf("after %d min: %v", (now-noon)/60, d.Why)
				return
			}
		}
	}
	t.Error("held for eight hours")
}
