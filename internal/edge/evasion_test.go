package edge

import (
	"fmt"
	"testing"
)

// asked is one RCPT of a client as a test sees it: it is decided, and the truth
// is learnt.
func asked(e *Engine, a Attempt, rcpt string, t Truth) Decision {
	a.Recipient, a.Realm = e.Hash(rcpt), e.Hash("here.test")
	d := e.Decide(&a)
	e.Learn(&a, &d, t)
	return d
}

// TestKnownAddressesDoNotHideGuesses lets a newcomer name addresses that it
// knows while it waits at the gate, and then guess: what it named must not make
// its guesses look as if they had been counted.
func TestKnownAddressesDoNotHideGuesses(t *testing.T) {
	for _, known := range []int{0, 1000} {
		e := newTest(t, Sizes{Sources: 1 << 14})
		stormy(e, 10, noon)
		a := Attempt{Time: noon, Source: from("192.0.2.1"), Named: Yes, Sender: e.Hash("s@bot.test")}
		first := asked(e, a, "known", Exists)
		if !first.Defer {
			t.Fatal("a newcomer in a storm is answered")
		}
		for i := range known {
			a.Time++
			asked(e, a, fmt.Sprint("known", i), Exists)
		}
		a.Time = noon + Time(first.Wait) + 60
		if d := asked(e, a, "known", Exists); d.Defer {
			t.Fatalf("%d known: the retry is deferred: %v", known, d.Why)
		}
		told := 0
		for i := range 500 {
			a.Time++
			if !asked(e, a, fmt.Sprint("guess", i), Unknown).Defer {
				told++
			}
		}
		t.Logf("%d known addresses: %d guesses of 500 answered", known, told)
		if told > 10 {
			t.Errorf("%d known addresses: %d guesses of 500 were answered", known, told)
		}
	}
}

// TestOldGuessesDoNotHideNewOnes lets a source guess so slowly that no penalty
// begins, until all bits of its entry are set, and then fast.
func TestOldGuessesDoNotHideNewOnes(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	a := Attempt{Time: noon, Source: from("192.0.2.1"), Named: Yes, Sender: e.Hash("s@bot.test")}
	for i := range 500 {
		a.Time += 30 * 3600
		asked(e, a, fmt.Sprint("slow", i), Unknown)
	}
	told := 0
	for i := range 500 {
		a.Time++
		if !asked(e, a, fmt.Sprint("guess", i), Unknown).Defer {
			told++
		}
	}
	if told > 10 {
		t.Errorf("%d guesses of 500 were answered", told)
	}
}

// TestProvenSourceCannotBuyGuesses has a proven source write to a mailbox of its
// own, or ask as the null sender, between guesses.
func TestProvenSourceCannotBuyGuesses(t *testing.T) {
	for name, c := range map[string]struct {
		mails int // to its own mailbox before each guess
		null  bool
		most  int // of 3000 guesses
	}{
		"own mailbox": {2, false, 60},
		"null sender": {0, true, 60},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTest(t, Sizes{Sources: 1 << 14})
			prove(e, noon, "192.0.2.1")
			a := Attempt{Time: noon, Source: from("192.0.2.1"), Sender: e.Hash("s@bot.test")}
			a.Identity = e.Pair(a.Source, "bot.test")
			if c.null {
				a.Null, a.Identity = true, e.Pair(a.Source, "")
			}
			told := 0
			for i := range 3000 {
				a.Time += 20
				for range c.mails {
					d := asked(e, a, "own", Exists)
					if !d.Defer {
						a.Recipient = e.Hash("own")
						e.Credit(&a, &d)
					}
				}
				if !asked(e, a, fmt.Sprint("guess", i), Unknown).Defer {
					told++
				}
			}
			t.Logf("%d guesses of 3000 answered in %d h", told, (a.Time-noon)/3600)
			if told > c.most {
				t.Errorf("%d guesses of 3000 were answered, want at most %d", told, c.most)
			}
		})
	}
}

// TestProbingDoesNotHastenForgetting compares what is left of evidence in a
// source that was left alone, and in one that showed itself every half minute.
func TestProbingDoesNotHastenForgetting(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	left := func(ip string, every Time) float64 {
		a := Attempt{Time: noon, Source: from(ip), Sender: e.Hash("s@bot.test")}
		asked(e, a, "guess", Unknown)
		for a.Time < noon+12*3600 {
			a.Time += every
			asked(e, a, "guess", Unknown)
		}
		return look(t, e, a.Time, a.Source).evidence()
	}
	alone, busy := left("192.0.2.1", 12*3600), left("198.51.100.1", 31)
	if busy < alone*0.9 || busy > alone*1.1 {
		t.Errorf("after 12 h %.2f nats are left, of one that came every 31 s %.2f", alone, busy)
	}
}
