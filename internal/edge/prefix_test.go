package edge

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestNetworksCountForWords: unknown recipients and the addresses they came
// from, in the networks around, fading with their half-life whether or not
// somebody looks every minute.
func TestNetworksCountForWords(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	for i := range 200 {
		for j := range 3 {
			try(e, testTime, fmt.Sprintf("192.0.2.%d", i), fmt.Sprint("guess", i, ".", j), Unknown)
		}
	}
	src := SourceOf(netip.MustParseAddr("192.0.2.1"))
	counts := func(now Time) (unknown, sources int) {
		n, l := e.networks.locked(src.narrow, now, narrowLife, false)
		defer l.Unlock()
		return int(n.unknown), int(n.sources)
	}
	// Two recipients of one source may share a bit, and what is deferred is not
	// counted while it waits for its retry.
	unknown, sources := counts(testTime)
	if sources != 200 || unknown < 200 || unknown > 600 {
		t.Fatalf("%d unknown recipients from %d addresses", unknown, sources)
	}
	for m := range Time(24 * 60) {
		counts(testTime + 60*m)
	}
	later, left := counts(testTime + 86400)
	if left < 80 || left > 120 || later < unknown*2/5 || later > unknown*3/5 {
		t.Errorf("a day later %d from %d addresses, of %d from %d", later, left, unknown, sources)
	}
	if e.networks.live.Load() != 2 {
		t.Errorf("%d networks", e.networks.live.Load())
	}
}

// TestProvenSendersDoNotCountInWords: their typing errors are no guesses.
func TestProvenSendersDoNotCountInWords(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	a := Attempt{Source: SourceOf(netip.MustParseAddr("198.51.100.7")), Named: Yes, Sender: 1}
	for i := range 40 {
		a.Time, a.Recipient = testTime+Time(i)*1800, e.Hash(fmt.Sprint("user", i))
		d := e.Decide(&a)
		if i > 10 && i%4 == 0 {
			e.Learn(&a, &d, Unknown)
			continue
		}
		e.Learn(&a, &d, Exists)
		e.Credit(&a, &d)
	}
	n, l := e.networks.locked(a.Source.narrow, a.Time, narrowLife, false)
	defer l.Unlock()
	if n == nil || n.unknown != 0 || n.sources != 0 {
		t.Errorf("counted: %+v", n)
	}
}
