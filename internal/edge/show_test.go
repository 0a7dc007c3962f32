package edge

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// startAt gives a clock that shows t, which lies in the world's future.
func startAt(t Time) *Clock { return NewClock(1, t) }

const future = Time(4_000_000_000)

func attemptBy(e *Engine, now Time, ip, rcpt string) Attempt {
	return Attempt{Time: now, Source: SourceOf(netip.MustParseAddr(ip)), Named: No, Realm: e.Hash("here.test"),
		Recipient: e.Hash(rcpt), Sender: e.Hash("s@x.test")}
}

// attacked is an engine in the middle of an attack, at future: 2,000 sources,
// three guesses each.
func attacked(t *testing.T) *Engine {
	e := newTest(t, Sizes{Sources: 1 << 14})
	for i := range 6000 {
		bot := i % 2000
		a := attemptBy(e, future-600+Time(i/10), fmt.Sprintf("10.%d.%d.%d", bot%2, bot/2%25, bot/50), fmt.Sprint("guess", i))
		d := e.Decide(&a)
		e.Learn(&a, &d, Unknown)
		e.Observe(a.Time)
	}
	return e
}

func TestExplainAgreesWithDecide(t *testing.T) {
	e := attacked(t)
	c := startAt(future)
	for _, ip := range []string{"10.1.7.3", "10.1.200.9", "198.51.100.1", "2001:db8::1"} {
		for _, named := range []Finding{Open, Yes, No} {
			a := attemptBy(e, future, ip, "somebody")
			a.Named, a.SPF = named, named
			live := e.sources.live.Load()
			x := e.Explain(c, &a)
			if e.sources.live.Load() != live {
				t.Fatal("an explanation makes an entry")
			}
			terms := x.Terms.Root + x.Terms.Realm + x.Terms.Wide + x.Terms.Narrow
			d := e.Decide(&a)
			if math.Abs(terms-float64(d.Prior)) > 1e-5 || math.Abs(x.Score-float64(d.Score)) > 1e-5 ||
				x.Why != d.Why.String() || x.Verdict == "defer" != d.Defer || x.Wait != int(d.Wait) {
				t.Errorf("%s %v: explained as %+v, decided as %+v", ip, named, x, d)
			}
		}
	}
}

func TestExplainInWords(t *testing.T) {
	e := attacked(t)
	c := startAt(future)
	a := attemptBy(e, future, "10.1.7.200", "somebody")
	if d := e.Decide(&a); d.Why != Gate {
		t.Fatalf("not gated: %+v", d)
	}
	x := e.Explain(c, &a)
	var text strings.Builder
	for _, l := range x.Lines(c.Wall(future)) {
		fmt.Fprintf(&text, "%s: %s\n", l.Label, l.Text)
	}
	for _, want := range []string{
		"defer: a newcomer in bad times; this transaction, tried again, is answered from ",
		"unknown recipients from 40 addresses of 10.1.7.0/24 in 24 h", " of 10.1.0.0/16 in 6 h", "last seen ",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if wait := x.RetryFrom.Sub(x.Waiting); wait != time.Duration(x.Wait)*time.Second || wait < time.Hour {
		t.Errorf("the retry waits %v, want %d s", wait, x.Wait)
	}
}

func TestPenaltyIsShownAndForgiven(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	for i := range 20 {
		try(e, future, "192.0.2.7", fmt.Sprint("guess", i), Unknown)
		try(e, future, "192.0.2.8", fmt.Sprint("guess", i), Unknown)
		try(e, future, "2001:db8:1:2::9", fmt.Sprint("guess", i), Unknown)
	}
	c := startAt(future)
	show := func(ip string) Explanation {
		a := attemptBy(e, future, ip, "somebody")
		return e.Explain(c, &a)
	}
	x := show("192.0.2.7")
	if x.Why != "penalty" || x.OfSource == nil || x.OfSource.Unknown < 2 || x.OfSource.Strikes != 1 || !x.Until.After(c.Wall(future)) {
		t.Errorf("not in penalty: %+v", x)
	}
	top := e.Top(c, 2)
	if len(top.Sources) != 2 || top.Sources[0].Evidence < 4 || len(top.Networks) != 2 || top.Networks[0].Unknown < 3 {
		t.Errorf("ranking %+v", top)
	}
	for _, f := range []struct {
		what string
		n    int
	}{{"192.0.2.7", 1}, {"192.0.2.7", 0}, {"192.0.2.0/24", 2}, {"2001:db8:1::/48", 3}, {"unknown.test", 0}} {
		if n, err := e.Forgive(f.what); n != f.n || err != nil {
			t.Errorf("forgive %s: %d entries, %v; want %d", f.what, n, err, f.n)
		}
	}
	if _, err := e.Forgive("not anything"); err == nil {
		t.Error("nonsense is forgiven")
	}
	if x := show("192.0.2.7"); x.Verdict != "answer" || x.OfSource != nil {
		t.Errorf("after all: %+v", x)
	}
	if n := e.sources.live.Load(); n != 0 {
		t.Errorf("%d sources are left", n)
	}
}

func TestIdentityIsShownAndForgiven(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096})
	id := e.vouched("bad.test")
	for i := range 10 {
		a := attemptBy(e, future, fmt.Sprintf("203.0.113.%d", i), fmt.Sprint("guess", i))
		a.Identity, a.SPF, a.Named = id, Yes, Yes
		d := e.Decide(&a)
		e.Learn(&a, &d, Unknown)
	}
	c := startAt(future)
	x := e.Explain(c, &Attempt{Identity: id})
	if x.Why != "identity-penalty" || x.Source != "" || x.OfIdentity == nil {
		t.Errorf("%+v", x)
	}
	if top := e.Top(c, 5); len(top.Identities) != 1 || top.Identities[0].Key != id.Key {
		t.Errorf("ranking %+v", top.Identities)
	}
	if n, err := e.Forgive("Bad.Test"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestWeatherDoesNotFlicker(t *testing.T) {
	var w weather
	now := testTime
	for _, s := range []struct {
		share float64
		after Time
		want  Weather
	}{
		{0.1, 0, Fair}, {0.3, 10, Alert}, {0.15, 10, Alert}, {0.3, 600, Alert}, {0.9, 10, Alert}, {0.4, 30, Alert},
		{0.9, 10, Alert}, {0.9, 50, Alert}, {0.9, 10, Attack}, {0.3, 3600, Attack}, {0.1, 10, Attack}, {0.1, 899, Attack}, {0.1, 1, Fair},
	} {
		now += s.after
		if got, _ := w.observe(s.share, now); got != s.want {
			t.Errorf("share %v at %d: %v, want %v", s.share, now-testTime, got, s.want)
		}
	}
}

func TestStatus(t *testing.T) {
	e := attacked(t)
	st := e.Status(startAt(future))
	if st.Level != "attack" || st.Guessers < 0.5 || st.Disclosure < -1 || st.Disclosure > 1 || st.Since.IsZero() {
		t.Errorf("%+v", st)
	}
	var sum int64
	for _, n := range st.Decisions {
		sum += n
	}
	if sum != 6000 || st.Tables[0].Live == 0 || st.Tables[0].Live > st.Tables[0].Slots {
		t.Errorf("%d decisions, %+v", sum, st.Tables)
	}
	if r, ok := e.Realm(startAt(future), "here.test"); !ok || r.Guessers < 0.5 || r.Sources < 5 {
		t.Errorf("realm %+v, %v", r, ok)
	}
	if r, ok := e.Realm(startAt(future), "elsewhere.test"); ok {
		t.Errorf("of another domain: %+v", r)
	}
	if p := e.Population(startAt(future)); p.Known != 2000 || p.Waiting == 0 || p.Waiting+p.Penalty+p.Proven > p.Known {
		t.Errorf("population %+v", p)
	}
}
