package edge

import (
	"math"
	"sync/atomic"
)

// String names the behaviour as events and metrics do.
func (b Behaviour) String() string {
	return [...]string{"early-talk", "probe", "scan", "bare-probe", "null-flood"}[b]
}

// What behaviour alone may make of the evidence: early talk is programs that
// cannot be mail servers; the rest is seen of honest ones, too.
const (
	noiseMost = 1.5 // below Wary; and in calm times a penalty still takes as many unknown recipients as without
	earlyMost = 4.0 // below Calm, and no more than Shadow: then one unknown recipient is enough
)

// manner is what a behaviour is worth.
type manner struct {
	weight float64 // nats
	most   float64 // evidence that it does not go beyond
	often  int     // how often in an hour it is not yet evidence, plus one
}

// manner gives the worth of a behaviour. A few transactions without a message
// are what address verification looks like, and connections that just end what
// monitoring does.
func (r *Rules) manner(b Behaviour) manner {
	return [...]manner{
		EarlyTalk: {r.EarlyTalk, earlyMost, 1},
		Probe:     {r.Probe, noiseMost, 3},
		Scan:      {r.Scan, noiseMost, 1},
		BareProbe: {r.BareProbe, noiseMost, 5},
		NullFlood: {r.NullFlood, noiseMost, 1},
	}[b]
}

// Misbehave takes that a client showed a behaviour, and gives what that changed.
// A behaviour counts once an hour, up to a bound; proven sources are spared.
// Noise alone begins no penalty: that takes an unknown recipient, too.
func (e *Engine) Misbehave(now Time, s Source, b Behaviour) Change {
	key := e.keyOf(s, now)
	m := e.rules.manner(b)
	if m.weight <= 0 || e.shown.count(mix(key, e.secret[0]+uint64(b)), hourOf(now)) != m.often {
		return Change{}
	}
	a := Attempt{Time: now, Source: s}
	d := Decision{Defer: true, Score: float32(e.prior(&a))}
	st, l, fresh := e.sources.entry(key, now)
	defer l.Unlock()
	if fresh {
		e.appeared(&a)
	}
	e.rules.decay(st, now)
	if st.proven(now, provenAge) {
		return Change{}
	}
	if ev := st.evidence(); ev < m.most {
		st.setEvidence(min(ev+m.weight, m.most))
	}
	if st.bad == 0 {
		return Change{}
	}
	return e.convict(&a, &d, st, nil)
}

// shown counts what was shown within the hour: a word a source and behaviour,
// of a fingerprint, the hour and the count. A set of four is a place; of a full
// one the oldest goes, and then the least. To forget is to count twice, which
// the bounds of evidence make harmless.
type shown []atomic.Uint64

const (
	shownWays = 4
	shownHour = 8  // bits below: the count
	shownMark = 24 // bits below: hour and count
)

func newShown(words int) shown { return make(shown, max(words/shownWays, 1)*shownWays) }

// count counts one for the hash and gives how many there are in this hour; over
// 254 it gives 255 and stays there.
func (t shown) count(hash uint64, hour uint16) int {
	set := t[hash%uint64(len(t)/shownWays)*shownWays:][:shownWays]
	mark := hash>>shownMark<<shownMark | uint64(hour)<<shownHour
	for {
		place, old := set.find(mark)
		next := mark | 1
		if old&^0xff == mark {
			next = mark | min(old&0xff+1, math.MaxUint8)
		}
		if place.CompareAndSwap(old, next) {
			return int(next & 0xff)
		}
	}
}

// find gives the place that has the mark, or the one that is to make room.
func (t shown) find(mark uint64) (place *atomic.Uint64, word uint64) {
	least := uint64(math.MaxUint64)
	for i := range t {
		w := t[i].Load()
		if w&^0xff == mark {
			return &t[i], w
		}
		worth := w & 0xff
		if w>>shownHour&0xffff == mark>>shownHour&0xffff {
			worth += 1 << 8
		}
		if worth < least {
			place, word, least = &t[i], w, worth
		}
	}
	return place, word
}
