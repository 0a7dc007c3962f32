package edge

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestValidityDoesNotChangeTheRetry plays the same client twice, in bad times,
// before engines that differ in one thing: whether the recipient it waits for
// exists. As long as it has heard nothing, both must say the same at every try:
// a difference would be the answer. (The times are so bad that one more vote
// among those of all newcomers does not move them.)
func TestValidityDoesNotChangeTheRetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		var engines [2]*Engine
		for i := range engines {
			e, err := NewSeeded(DefaultRules(), Sizes{Sources: 1 << 14, Networks: 1 << 12}, seed)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			engines[i] = e
		}
		named := Finding(rapid.IntRange(0, 2).Draw(t, "named"))
		spf := Finding(rapid.IntRange(0, 2).Draw(t, "spf"))
		now := Time(1_800_000_000)
		for try := range rapid.IntRange(2, 12).Draw(t, "tries") {
			now += Time(rapid.IntRange(1, 3*3600).Draw(t, "wait"))
			for _, e := range engines {
				stormy(e, 11+try, now)
			}
			var said [2]Decision
			for i, e := range engines {
				a := Attempt{Time: now, Source: SourceOf(netip.MustParseAddr("203.0.113.9")), Named: named, SPF: spf,
					Recipient: e.Hash("aiko@here.test"), Sender: e.Hash("s@bot.test"), Realm: e.Hash("here.test")}
				if spf == Yes {
					a.Identity = Identity{Key: e.Hash("spf bot.test"), Proven: true}
				}
				said[i] = e.Decide(&a)
				if said[i].Defer {
					e.Learn(&a, &said[i], [2]Truth{Exists, Unknown}[i])
				}
			}
			if said[0].Why != said[1].Why || said[0].Wait != said[1].Wait || said[0].Evidence != said[1].Evidence {
				t.Fatalf("try %d: for a valid recipient %+v, for an unknown one %+v", try, said[0], said[1])
			}
			if !said[0].Defer {
				return
			}
		}
	})
}

// stormy makes bad times: thousands of newcomers of one /8 that guess.
func stormy(e *Engine, net int, now Time) {
	for i := range 6000 {
		ip := fmt.Sprintf("%d.%d.%d.7", net, i%3000%250, i%3000/250)
		try(e, now-300+Time(i/20), ip, fmt.Sprint("guess", i), Unknown)
	}
}

// TestBadTimesGateNewcomersOnly shows what an attack changes, and for whom.
func TestBadTimesGateNewcomersOnly(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	const start = Time(1_800_000_000)
	known := func(now Time, truth Truth) Decision {
		a := Attempt{Time: now, Source: SourceOf(netip.MustParseAddr("198.51.100.25")), Named: Yes,
			Recipient: e.Hash(fmt.Sprint("r", now)), Sender: e.Hash("a@known.test")}
		d := e.Decide(&a)
		e.Learn(&a, &d, truth)
		if !d.Defer && truth == Exists {
			e.Credit(&a, &d)
		}
		return d
	}
	for i := range 5 {
		known(start-20*3600+Time(i)*3600, Exists)
	}
	stormy(e, 10, start)
	if d := known(start, Unknown); d.Defer {
		t.Errorf("a known server is deferred: %v", d.Why)
	}
	a := Attempt{Time: start, Source: SourceOf(netip.MustParseAddr("203.0.113.9")), Named: Yes,
		Recipient: e.Hash("aiko"), Sender: e.Hash("b@new.test")}
	d := e.Decide(&a)
	if !d.Defer || d.Why != Gate {
		t.Fatalf("a newcomer in a storm: %+v", d)
	}
	a.Time += Time(d.Wait) - 60
	stormy(e, 11, a.Time)
	if early := e.Decide(&a); !early.Defer {
		t.Error("answered before the time")
	}
	a.Time += 600
	if d = e.Decide(&a); d.Defer || d.Why != Retried {
		t.Errorf("the retry after %d s: %v", d.Wait, d.Why)
	}
	a.Recipient, a.Time = e.Hash("another"), a.Time+1
	if d = e.Decide(&a); d.Defer || d.Why != Admitted {
		t.Errorf("behind the retry: %v", d.Why)
	}
}

// TestValidityDoesNotChangeThePenalty lets a source in penalty try one recipient
// again and again: when it is over must not tell whether that one exists.
func TestValidityDoesNotChangeThePenalty(t *testing.T) {
	var ends [2]Time
	for i, truth := range [2]Truth{Exists, Unknown} {
		e, err := NewSeeded(DefaultRules(), Sizes{Sources: 1 << 14, Networks: 1 << 12}, 7)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		stormy(e, 10, noon)
		a := Attempt{Time: noon, Source: from("203.0.113.9"), Named: Yes, Sender: e.Hash("s@bot.test")}
		for n := range 20 {
			a.Time++
			asked(e, a, fmt.Sprint("guess", n), Unknown)
		}
		pen := look(t, e, a.Time, a.Source).pen
		if pen <= a.Time {
			t.Fatal("20 guesses and no penalty")
		}
		// The slots still wait for the first guesses, which are given up.
		s := e.sources.place(a.Source.key).find(a.Source.key)
		s.timeA, s.timeB = 0, 0
		for a.Time < pen-60 {
			a.Time += (pen - a.Time) / 2
			asked(e, a, "aiko@here.test", truth)
		}
		ends[i] = look(t, e, a.Time, a.Source).pen
	}
	if ends[0] != ends[1] {
		t.Errorf("the penalty ends %d s later when the recipient is unknown", ends[1]-ends[0])
	}
}

// TestOneDeadAddressBeginsNoPenalty has a newcomer write to an address that is
// nobody's, again and again.
func TestOneDeadAddressBeginsNoPenalty(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	a := Attempt{Time: noon, Source: from("203.0.113.9"), Sender: e.Hash("s@new.test")}
	for range 100 {
		a.Time += 600
		if d := asked(e, a, "dead@here.test", Unknown); d.Why == Penalty {
			t.Fatalf("in penalty after %d min", (a.Time-noon)/60)
		}
	}
}
