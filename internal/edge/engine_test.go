package edge

import (
	"fmt"
	"net/netip"
	"testing"
)

func newTest(t testing.TB, sizes Sizes) *Engine {
	t.Helper()
	e, err := NewSeeded(DefaultRules(), sizes, 1) // so that hashes meet, or do not, in every run alike
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// try makes one attempt of an IPv4 source at a recipient and tells the engine
// the truth.
func try(e *Engine, now Time, ip, rcpt string, t Truth) Decision {
	a := Attempt{Time: now, Source: SourceOf(netip.MustParseAddr(ip)), Named: No,
		Recipient: e.Hash(rcpt), Sender: e.Hash("s@x.test")}
	d := e.Decide(&a)
	e.Learn(&a, &d, t)
	return d
}

func TestGuesserIsHeldAndReleased(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	now := Time(1_800_000_000)
	answered := 0
	for i := range 100 {
		if d := try(e, now, "192.0.2.1", fmt.Sprint("guess", i), Unknown); !d.Defer {
			answered++
		}
		now += 10
	}
	if answered == 0 || answered > 5 {
		t.Errorf("%d guesses of 100 were answered, want 1 to 5", answered)
	}
	now += 25 * 3600
	if d := try(e, now, "192.0.2.1", "someone", Exists); d.Defer {
		t.Errorf("a day later it is still held: %v", d.Why)
	}
}

func TestHonestTyposHearTheTruth(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	now := Time(1_800_000_000)
	for i := range 1000 {
		truth := Exists
		if i%30 == 7 {
			truth = Unknown
		}
		a := Attempt{Time: now, Source: SourceOf(netip.MustParseAddr("198.51.100.7")), Named: Yes,
			Recipient: e.Hash(fmt.Sprint("user", i)), Sender: e.Hash("s@x.test")}
		d := e.Decide(&a)
		if d.Defer {
			t.Fatalf("attempt %d was deferred: %v", i, d.Why)
		}
		e.Learn(&a, &d, truth)
		if truth == Exists {
			e.Credit(&a, &d)
		}
		now += 60
	}
}
