package edge

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sort"
	"testing"
)

var outboundSecret = [2]uint64{1, 2}

// history plays 28 days of every account and gives what they left.
func history(t *testing.T, seed uint64) ([]*user, *Outbound) {
	t.Helper()
	o := NewOutbound(DefaultOutboundRules(), outboundSecret)
	users := population(seed)
	if len(users) != 200 {
		t.Fatalf("%d accounts", len(users))
	}
	totals := map[string]int{}
	for _, u := range users {
		w := newWorld(o, seed)
		for day := range outboundDays {
			w.play(u.id, u.days(u, day))
		}
		totals[u.kind] += w.recipients
		if len(w.alarms) > 0 {
			a := w.alarms[0]
			t.Errorf("seed %d: %s %d was held on day %d: %s (%.1f)", seed, u.kind, u.id, (a.Now-simStart)/daySpan, a, a.Score)
		}
		if w.deferred > 0 {
			t.Logf("seed %d: %s %d: %d recipients put off", seed, u.kind, u.id, w.deferred)
		}
	}
	t.Logf("seed %d: recipients %v", seed, totals)
	return users, o
}

// theft is a style of abuse.
type theft struct {
	name string
	acts func(u *user, rng *rand.Rand) []act
}

// spam gives n messages, so many seconds apart, to strangers.
func (u *user) spam(at Time, n, apart, rcpts int, dead float64, from func(i int) netip.Addr) []act {
	var out []act
	for i := range n {
		a := act{at: at + Time(i*apart), from: from(i)}
		for range rcpts {
			p := u.stranger(dead)
			p.here = false
			a.to = append(a.to, p)
		}
		out = append(out, a)
	}
	return out
}

// attackAt is in the morning of the first day behind the history.
const attackAt = simStart + outboundDays*daySpan + 10*hourSpan

var thefts = []theft{
	{"burst, 1000 a minute from one address", func(u *user, rng *rand.Rand) []act {
		from := randomAddr(rng)
		var out []act
		for i := range 180 {
			out = append(out, u.spam(attackAt+Time(i), 17, 0, 1, 0.05, func(int) netip.Addr { return from })...)
		}
		return out
	}},
	{"300 addresses, 1 message an hour each", func(u *user, rng *rand.Rand) []act {
		bots := make([]netip.Addr, 300)
		for i := range bots {
			bots[i] = randomAddr(rng)
		}
		return u.spam(attackAt, 3000, 12, 1, 0.10, func(i int) netip.Addr { return bots[i%300] })
	}},
	{"slow, 30 an hour, one network, 25 % unknown", func(u *user, rng *rand.Rand) []act {
		from := randomAddr(rng)
		return u.spam(attackAt, 720, 120, 1, 0.25, func(int) netip.Addr { return from })
	}},
	{"the user's own PC, 120 an hour, 15 % unknown", func(u *user, rng *rand.Rand) []act {
		return u.spam(attackAt, 1440, 30, 1, 0.15, func(int) netip.Addr { return u.home[0] })
	}},
	{"messages with 100 recipients, one in 5 min", func(u *user, rng *rand.Rand) []act {
		from := randomAddr(rng)
		return u.spam(attackAt, 100, 300, 100, 0.10, func(int) netip.Addr { return from })
	}},
}

// victims are the kinds of accounts whose passwords are stolen.
var victims = []string{"quiet", "busy", "traveller", "mobile", "newsletter growing", "shop"}

// steal plays a theft against a copy of the account's state.
func steal(t *testing.T, o *Outbound, u *user, th theft, seed uint64) *world {
	t.Helper()
	thief := *u
	thief.rng = rand.New(rand.NewPCG(seed, uint64(u.id)))
	copied := NewOutbound(o.rules, outboundSecret)
	if err := copied.Restore(u.id, o.accounts[u.id].append(nil)); err != nil {
		t.Fatal(err)
	}
	w := newWorld(copied, seed)
	w.stop = true
	acts := th.acts(&thief, thief.rng)
	w.play(u.id, acts)
	if w.alarm == nil {
		w.outcomes(u.id, acts[len(acts)-1].at+hourSpan)
	}
	return w
}

func TestOutboundSimulation(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		users, o := history(t, seed)
		for _, th := range thefts {
			for _, kind := range victims {
				report(t, o, users, th, kind, seed)
			}
		}
	}
}

// report plays one theft against up to 20 accounts of a kind.
func report(t *testing.T, o *Outbound, users []*user, th theft, kind string, seed uint64) {
	t.Helper()
	var out, minutes []int
	free := 0
	words := ""
	for _, u := range users {
		if u.kind != kind || len(out)+free >= 20 {
			continue
		}
		w := steal(t, o, u, th, seed)
		if w.alarm == nil {
			free++
			continue
		}
		out = append(out, w.recipients)
		minutes = append(minutes, int(w.alarm.Now-attackAt)/60)
		words = w.alarm.String()
	}
	sort.Ints(out)
	sort.Ints(minutes)
	line := fmt.Sprintf("seed %d: %-45s %-18s not held %d", seed, th.name, kind, free)
	if n := len(out); n > 0 {
		line += fmt.Sprintf(", out median %d worst %d, minutes median %d worst %d; %s", out[n/2], out[n-1], minutes[n/2], minutes[n-1], words)
	}
	t.Log(line)
}
