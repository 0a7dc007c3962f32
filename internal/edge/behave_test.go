package edge

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// look gives a copy of the entry of a source at now.
func look(t *testing.T, e *Engine, now Time, s Source) *state {
	t.Helper()
	p := e.sources.place(s.key)
	p.lock.Lock()
	defer p.lock.Unlock()
	st := p.find(s.key)
	if st == nil {
		return &state{}
	}
	e.rules.decay(st, now)
	copy := *st
	return &copy
}

// prove makes a source proven, three hours before now.
func prove(e *Engine, now Time, ip string) {
	for i := range 3 {
		a := Attempt{Time: now - 3*3600 + Time(i), Source: from(ip), Recipient: e.Hash(fmt.Sprint("r", i)), Sender: e.Hash("s")}
		d := e.Decide(&a)
		e.Learn(&a, &d, Exists)
		e.Credit(&a, &d)
	}
}

// badTimes lets half of a thousand other sources guess.
func badTimes(e *Engine, now Time) {
	for i := range 1000 {
		try(e, now, fmt.Sprintf("10.%d.%d.1", i/250, i%250), fmt.Sprint("guess", i), Unknown)
	}
}

// TestNoiseConvictsNobody shows every behaviour every minute for ten days.
func TestNoiseConvictsNobody(t *testing.T) {
	for b := EarlyTalk; b <= NullFlood; b++ {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprint(b, " ", bad), func(t *testing.T) {
				e := newTest(t, Sizes{Sources: 4096})
				s, now := from("192.0.2.1"), noon
				for range 10 * 24 * 60 {
					if now += 60; bad && now%3600 == 0 {
						badTimes(e, now)
					}
					if c := e.Misbehave(now, s, b); c.Kind != None {
						t.Fatalf("%v after %d s", c.Kind, now-noon)
					}
				}
				st := look(t, e, now, s)
				if most := e.rules.manner(b).most; st.evidence() > most || st.evidence() < most*0.8 {
					t.Errorf("evidence %.2f, want at most %.2f and near it", st.evidence(), most)
				}
			})
		}
	}
}

func TestBehaviourCountsOnceAnHour(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	for i, c := range []struct {
		b     Behaviour
		times int
		want  float64
	}{
		{EarlyTalk, 1, 2}, {EarlyTalk, 500, 2}, {Probe, 2, 0}, {Probe, 3, 0.3}, {Probe, 500, 0.3},
		{Scan, 1, 1}, {BareProbe, 4, 0}, {BareProbe, 5, 0.2}, {NullFlood, 300, 0.4},
	} {
		s := from("192.0.2." + strconv.Itoa(i+1))
		for range c.times {
			e.Misbehave(noon, s, c.b)
		}
		if got := look(t, e, noon, s).evidence(); got < c.want-0.01 || got > c.want+0.01 {
			t.Errorf("%v, %d times: evidence %.2f, want %.2f", c.b, c.times, got, c.want)
		}
	}
	s := from("192.0.2.1") // with early talk
	e.Misbehave(noon+3600, s, EarlyTalk)
	if got := look(t, e, noon+3600, s).evidence(); got < 3.8 || got > 4 {
		t.Errorf("an hour later: evidence %.2f", got)
	}
}

func TestBehaviourIsCountedByOne(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 16})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range uint32(300) {
				e.Misbehave(noon, fromNumber(i*99991), EarlyTalk)
			}
		})
	}
	wg.Wait()
	for i := range uint32(300) {
		if got := look(t, e, noon, fromNumber(i*99991)).evidence(); got != 2 {
			t.Errorf("source %d: evidence %.2f, want 2", i, got)
		}
	}
}

// TestWhoVerifiesAddresses probes for days, as servers do that check senders by
// asking for them: in calm times that costs none of the wrong addresses that it
// may ask for. Early talk does.
func TestWhoVerifiesAddresses(t *testing.T) {
	for _, named := range []Finding{Yes, No} {
		plain := wrongAddresses(t, named, Probe, 0)
		for b := EarlyTalk; b <= NullFlood; b++ {
			want := plain
			if b == EarlyTalk {
				want = 1
			}
			if got := wrongAddresses(t, named, b, 3*24*60); got != want {
				t.Errorf("%v, named %v: a penalty after %d wrong addresses, want %d", b, named, got, want)
			}
		}
	}
}

// wrongAddresses shows a behaviour so many minutes long, and then asks for wrong
// addresses until a penalty begins.
func wrongAddresses(t *testing.T, named Finding, b Behaviour, minutes int) (n int) {
	e := newTest(t, Sizes{Sources: 4096})
	s, now := from("192.0.2.1"), noon
	for range minutes {
		now += 60
		e.Misbehave(now, s, b)
	}
	for ; look(t, e, now, s).pen == 0; n++ {
		a := Attempt{Time: now, Source: s, Named: named, Recipient: e.Hash(fmt.Sprint("wrong", n)), Sender: e.Hash("s@x.test")}
		d := e.Decide(&a)
		e.Learn(&a, &d, Unknown)
	}
	return n
}

// TestEarlyTalkerWhoGuesses has its penalty sooner than one who only guesses.
func TestEarlyTalkerWhoGuesses(t *testing.T) {
	for _, early := range []bool{false, true} {
		e := newTest(t, Sizes{Sources: 1 << 14})
		badTimes(e, noon)
		s := from("192.0.2.1")
		try(e, noon, "192.0.2.1", "guess", Unknown)    // held for its retry: no evidence
		try(e, noon+1, "192.0.2.1", "guess2", Unknown) // the same
		try(e, noon+2, "192.0.2.1", "guess3", Unknown)
		var c Change
		if early {
			c = e.Misbehave(noon+3, s, EarlyTalk)
		}
		if got := look(t, e, noon+3, s).pen > noon; got != early || (c.Kind == Penalised) != early {
			t.Errorf("early %v: in penalty %v, change %+v", early, got, c)
		}
	}
}

func TestProvenAreSpared(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	prove(e, noon, "192.0.2.1")
	s := from("192.0.2.1")
	before := look(t, e, noon, s).evidence()
	for b := EarlyTalk; b <= NullFlood; b++ {
		for range 100 {
			e.Misbehave(noon, s, b)
		}
	}
	if after := look(t, e, noon, s).evidence(); after != before {
		t.Errorf("evidence went from %.2f to %.2f", before, after)
	}
}

func TestNullSender(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	e.rules.NullMailbox = 20
	realm := e.Hash("example.jp")
	pass := func(now Time, rcpt string, times int) (n int) {
		for range times {
			if e.NullSender(now, e.Hash(rcpt), realm) {
				n++
			}
		}
		return n
	}
	for i, want := range []int{20, 0, 1, 1} { // 20 an hour are one in 180 s
		if got := pass(noon+180*Time(max(i-1, 0)), "victim", 100); got != want {
			t.Errorf("round %d: %d passed, want %d", i, got, want)
		}
	}
	if got := pass(noon+7200, "victim", 100); got != 20 {
		t.Errorf("two hours later: %d passed, want 20", got)
	}
	if got := pass(noon+7200, "other", 5); got != 5 {
		t.Errorf("another mailbox: %d passed, want 5", got)
	}
	total := 0
	for i := range 5000 {
		total += pass(noon+20000, fmt.Sprint("user", i), 1)
	}
	if total != int(e.rules.NullRealm) {
		t.Errorf("%d passed for the domain, want %v", total, e.rules.NullRealm)
	}
	if !e.NullSender(noon+20000, e.Hash("a@other.test"), e.Hash("other.test")) {
		t.Error("another domain suffers")
	}
}

func TestNullSenderUnderLoad(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	e.rules.NullMailbox, e.rules.NullRealm = 20, 0
	for i := range uint64(3000) { // others' mail
		e.NullSender(noon, mix(i, 77), 1)
	}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if e.NullSender(noon, e.Hash("victim"), 1) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 20 {
		t.Errorf("%d passed, want 20", n)
	}
}

func TestSuspect(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	prove(e, noon, "198.51.100.1")
	want := func(when string, now Time, ip string, want Suspicion) {
		t.Helper()
		if got := e.Suspect(now, from(ip)); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	want("a stranger in peace", noon, "192.0.2.1", Unsuspected)
	want("a proven source", noon, "198.51.100.1", Unsuspected)
	e.Misbehave(noon, from("192.0.2.2"), EarlyTalk)
	want("an early talker", noon, "192.0.2.2", Pause)
	e.Misbehave(noon, from("192.0.2.3"), Scan)
	want("a day after a scan", noon+86400, "192.0.2.3", Unsuspected)
	try(e, noon, "192.0.2.4", "typo", Unknown)
	want("one wrong address", noon, "192.0.2.4", Pause)
	for i := range 10 {
		try(e, noon, "192.0.2.5", fmt.Sprint("guess", i), Unknown)
	}
	want("a guesser", noon, "192.0.2.5", Tarpit)
	until := look(t, e, noon, from("192.0.2.5")).pen
	want("on parole", until, "192.0.2.5", Pause)
	badTimes(e, until)
	want("a stranger in bad times", until, "203.0.113.1", Pause)
	want("a proven source in bad times", until, "198.51.100.1", Unsuspected)
	want("two hours later", until+7200, "203.0.113.1", Unsuspected)
}

func TestBehaveAllocatesNothing(t *testing.T) {
	e := newTest(t, Sizes{Sources: 1 << 14})
	i := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		s := fromNumber(i * 7919)
		e.Misbehave(noon, s, EarlyTalk)
		e.Suspect(noon, s)
		e.NullSender(noon, uint64(i), 5)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBehave(b *testing.B) {
	e := newTest(b, Sizes{Sources: 1 << 20})
	var next atomic.Uint32
	b.Run("misbehave", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := next.Add(1 << 24); pb.Next(); i++ {
				e.Misbehave(noon, fromNumber(i*2654435761), EarlyTalk)
			}
		})
	})
	b.Run("suspect", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := next.Add(1 << 24); pb.Next(); i++ {
				e.Suspect(noon, fromNumber(i*2654435761))
			}
		})
	})
	b.Run("null-sender", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := next.Add(1 << 24); pb.Next(); i++ {
				e.NullSender(noon, uint64(i)*2654435761, 3)
			}
		})
	})
}

// TestRefusedMessagesAreNoProbes brings messages that are refused, and for one
// client none.
func TestRefusedMessagesAreNoProbes(t *testing.T) {
	for _, brings := range []bool{true, false} {
		g := newGuard(t)
		v := visit(t, g, "192.0.2.1")
		for i := range 10 {
			v.Mail(mail.MakeAddress("a", "sender.test"), 0)
			r := v.Rcpt(t.Context(), mail.MakeAddress(fmt.Sprint("user", i), "here.test"), false)
			v.Told(r, Exists, "")
			if brings {
				v.Brings()
			}
		}
		v.Close()
		if ev := look(t, g.Engine, g.Clock.Now(), v.source).evidence(); (ev > 0) == brings {
			t.Errorf("brings messages %v: evidence %.2f", brings, ev)
		}
	}
}
