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

// TestSiteHasFewVotes has somebody guess, once each, from 1,024 sources of one
// /44, or ask for known recipients from them.
func TestSiteHasFewVotes(t *testing.T) {
	for _, truth := range []Truth{Unknown, Exists} {
		e := newTest(t, Sizes{Sources: 1 << 14})
		realm := e.Hash("example.test")
		for i := range 1024 {
			a := Attempt{Time: testTime, Realm: realm, Sender: e.Hash("s@bot.test"), Recipient: e.Hash(fmt.Sprint("guess", i)),
				Source: from(fmt.Sprintf("2001:db8:%x:%x::1", i%16, i/16))}
			d := Decision{Defer: true} // which takes nothing from the disclosure budget
			e.Learn(&a, &d, truth)
		}
		for _, l := range []*level{&e.root, &e.realm(realm, testTime).level} {
			if bad, good := l.counts(); bad+good != 16*siteVotes {
				t.Errorf("%v: %v and %v votes of 16 sites", truth, bad, good)
			}
		}
		// What is taken back is no more than was given.
		for i := range 1024 {
			a := Attempt{Time: testTime, Realm: realm, Recipient: e.Hash(fmt.Sprint("other", i)),
				Source: from(fmt.Sprintf("2001:db8:%x:%x::1", i%16, i/16))}
			d := Decision{Defer: true} // which takes nothing from the disclosure budget
			e.Learn(&a, &d, Unknown)
		}
		if bad, good := e.root.counts(); bad != 16*siteVotes || good != 0 {
			t.Errorf("%v: in the end %v and %v votes", truth, bad, good)
		}
		rise := e.prior(&Attempt{Time: testTime, Source: from("192.0.2.1")})
		if gate := e.gateAt(testTime); truth == Unknown && rise > gate {
			t.Errorf("one /44 gates all newcomers: %.2f over %.2f", rise, gate)
		}
	}
}

// TestSitesVoteEachHour is for the honest ones: a site has its votes again.
func TestSitesVoteEachHour(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	for hour := range Time(3) {
		for i := range 20 {
			a := Attempt{Time: testTime + 3600*hour, Source: from(fmt.Sprintf("2001:db8:1:%x::1", i)), Recipient: e.Hash(fmt.Sprint("user", i))}
			d := Decision{}
			e.Learn(&a, &d, Exists)
		}
		if _, good := e.root.counts(); good != float64(hour+1)*siteVotes {
			t.Errorf("hour %d: %v votes", hour, good)
		}
	}
}
