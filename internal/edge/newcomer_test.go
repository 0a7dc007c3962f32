package edge

import (
	"fmt"
	"testing"
)

// newcomer is an attempt of a source nobody has seen, with a name and SPF.
func newcomer(e *Engine, now Time, ip string) Attempt {
	return Attempt{Time: now, Source: from(ip), Named: Yes, SPF: Yes, Sender: e.Hash("s@new.test"),
		Identity: Identity{Key: e.Hash("new.test"), Proven: true}}
}

// TestOldListsAreToldInPeace sends a newsletter to a list of which a quarter is
// dead, and then lets the same kind of client only guess.
func TestOldListsAreToldInPeace(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 12})
	list := newcomer(e, noon, "198.51.100.1")
	for i := range 2000 {
		list.Time += 2
		dead := i*7%20 < 5
		truth := Exists
		if dead {
			truth = Unknown
		}
		list.Recipient = e.Hash(fmt.Sprint("reader", i))
		d := e.Decide(&list)
		if d.Defer {
			t.Fatalf("message %d is deferred: %v at %.1f nats", i, d.Why, d.Evidence)
		}
		e.Learn(&list, &d, truth)
		if !dead {
			e.Credit(&list, &d)
		}
	}
	told := 0
	guesser := newcomer(e, noon, "198.51.100.77")
	guesser.Identity.Key++
	for i := range 500 {
		guesser.Time += 2
		if !asked(e, guesser, fmt.Sprint("guess", i), Unknown).Defer {
			told++
		}
	}
	if told > 8 {
		t.Errorf("who only guesses was told %d times", told)
	}
}

// TestPenaltyTakesAdmissionBack lets a source prove to be a mail server, guess,
// and come back by another address of the same identity.
func TestPenaltyTakesAdmissionBack(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	stormy(e, 10, noon)
	for range 1000 {
		e.disclosure.take(noon, 1, e.rules.Disclosure, e.rules.Disclosure*burst)
	}
	a := newcomer(e, noon, "192.0.2.1")
	first := asked(e, a, "guess", Unknown)
	if !first.Defer {
		t.Fatal("there is no gate")
	}
	a.Time += Time(first.Wait) + 1
	if d := asked(e, a, "guess", Unknown); d.Why != Retried {
		t.Fatalf("the retry is %v", d.Why)
	}
	for i := 0; !asked(e, a, fmt.Sprint("guess", i), Unknown).Defer; i++ {
		if i > 10 {
			t.Fatal("it may guess on and on")
		}
	}
	b := newcomer(e, a.Time, "203.0.113.1")
	if d := asked(e, b, "another", Unknown); d.Why == Admitted {
		t.Error("the identity is still admitted")
	}
}

// TestParoleIsRemembered compares who was under a penalty with who never was.
func TestParoleIsRemembered(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 12})
	now := noon
	for i := range 20 {
		now++
		try(e, now, "192.0.2.1", fmt.Sprint("guess", i), Unknown)
	}
	now += 30 * 3600
	was := try(e, now, "192.0.2.1", "someone", Exists)
	never := try(e, now, "192.0.2.2", "someone", Exists)
	if was.Score < never.Score+2 {
		t.Errorf("score %.1f after a penalty, %.1f without", was.Score, never.Score)
	}
}

// TestGoodNeighboursSpeakForTheVouched has proven servers around newcomers, in
// bad times.
func TestGoodNeighboursSpeakForTheVouched(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	for i := range 20 {
		ip := fmt.Sprint("198.51.100.", 100+i)
		prove(e, noon, ip)
		a := Attempt{Time: noon, Source: from(ip), Sender: e.Hash("s")}
		a.Recipient = e.Hash(fmt.Sprint("friend", i))
		d := e.Decide(&a)
		e.Learn(&a, &d, Exists)
		e.Credit(&a, &d)
	}
	stormy(e, 10, noon)
	with := newcomer(e, noon, "198.51.100.1")
	if d := asked(e, with, "someone", Exists); d.Defer {
		t.Errorf("a newcomer with a name and SPF among proven servers: %v", d.Why)
	}
	without := newcomer(e, noon, "198.51.100.2")
	without.Named, without.SPF, without.Identity = No, No, Identity{}
	if d := asked(e, without, "someone", Exists); !d.Defer {
		t.Errorf("one without either: %v", d.Why)
	}
}

// TestStrangersShareCredit has many sources send good mail to one address.
func TestStrangersShareCredit(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	earned := 0
	for i := range 100 {
		a := Attempt{Time: noon, Source: fromNumber(uint32(0x0a000001 + i<<8)), Recipient: e.Hash("friend"), Sender: e.Hash("s")}
		d := e.Decide(&a)
		e.Learn(&a, &d, Exists)
		e.Credit(&a, &d)
		if look(t, e, noon, a.Source).ham > 0 {
			earned++
		}
	}
	if want := DefaultRules().CreditsPerRecipient; earned != want {
		t.Errorf("%d strangers earned credit with one address, want %d", earned, want)
	}
}
