package edge

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Status is how things stand in all.
type Status struct {
	Level      string           `json:"level"` // calm, alert or attack
	Since      time.Time        `json:"since,omitzero"`
	Unknown    float64          `json:"unknown_share"` // of unproven sources, those that lately met unknown recipients
	Guessers   float64          `json:"guesser_share"` // what that says of how many guess
	Retried    float64          `json:"retried_share"` // unknown recipients among the answers to those who proved to be mail servers
	Disclosure float64          `json:"disclosure"`    // budget: 1 full, 0 spent, down to -1
	GateAt     float64          `json:"gate"`          // score above which newcomers wait
	Decisions  map[string]int64 `json:"decisions"`     // by reason, since the tables were empty
	Tables     []Fill           `json:"tables"`
}

// Fill is how full a table is.
type Fill struct {
	Table   string `json:"table"`
	Live    int64  `json:"live"`
	Slots   int64  `json:"slots"`
	Evicted int64  `json:"evicted"` // entries that made room for others, since the start
}

// Status tells how things stand. It is cheap.
func (e *Engine) Status(c *Clock) Status {
	now := c.Now()
	level, since := e.weather.get()
	st := Status{Level: level.String(), Unknown: e.rootShare(now), Retried: e.secondStage(now).share,
		Disclosure: e.fill(now), GateAt: e.gateAt(now), Decisions: map[string]int64{}, Tables: e.Fills()}
	st.Guessers = e.guessers(st.Unknown)
	if since != 0 {
		st.Since = c.Wall(since).UTC()
	}
	for r := range e.counts {
		st.Decisions[Reason(r).String()] = e.counts[r].Load()
	}
	return st
}

// Fills tells how full the tables of sources, identities and networks are, in
// this order.
func (e *Engine) Fills() []Fill {
	return []Fill{
		{"sources", e.sources.live.Load(), int64(e.sources.slots()), e.sources.lost.Load()},
		{"identities", e.identities.live.Load(), int64(e.identities.slots()), e.identities.lost.Load()},
		{"networks", e.networks.live.Load(), int64(len(e.networks.sets) * netWays), e.networks.lost.Load()},
	}
}

// Held counts the sources under a penalty at now. It looks at all of them.
func (e *Engine) Held(now Time) (n int) {
	e.sources.forEach(func(_ uint64, s *state) {
		if s.pen > now {
			n++
		}
	})
	return n
}

// Suspect is an entry among those that carry most evidence.
type Suspect struct {
	Key     uint64 `json:"-"`   // of an identity: Identity.Key
	Who     string `json:"who"` // a source's network; of an identity, as far as the engine knows, its key
	History `json:"history"`
}

// Ranking is who carries most evidence: those in penalty first, longest first.
type Ranking struct {
	Sources    []Suspect       `json:"sources"`
	Identities []Suspect       `json:"identities"`
	Networks   []Neighbourhood `json:"networks"` // by votes for unknown recipients
}

// Top gives the n entries of each table that carry most evidence. It looks at
// all of them: some tenths of a second for millions.
func (e *Engine) Top(c *Clock, n int) Ranking {
	now := c.Now()
	return Ranking{
		Sources:    e.suspects(c, e.sources, now, n, provenAge, func(key uint64) string { return prefixOf(key).String() }),
		Identities: e.suspects(c, e.identities, now, n, identityAge, func(key uint64) string { return fmt.Sprintf("#%016x", key) }),
		Networks:   e.worstNetworks(now, n),
	}
}

func (e *Engine) suspects(c *Clock, t *table, now Time, n int, age uint16, name func(uint64) string) []Suspect {
	type entry struct {
		key uint64
		s   state
	}
	b := best[entry]{n: n, compare: func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.s.pen, x.s.pen), cmp.Compare(y.s.nats, x.s.nats), cmp.Compare(x.key, y.key))
	}}
	t.forEach(func(key uint64, s *state) {
		x := entry{key, *s}
		e.rules.decay(&x.s, now)
		if x.s.pen != 0 || x.s.nats > 0 {
			b.add(x)
		}
	})
	out := []Suspect{}
	for _, x := range b.top() {
		out = append(out, Suspect{Key: x.key, Who: name(x.key), History: *x.s.history(c, now, age)})
	}
	return out
}

func (e *Engine) worstNetworks(now Time, n int) []Neighbourhood {
	b := best[network]{n: n, compare: func(x, y network) int {
		return cmp.Or(cmp.Compare(y.bad, x.bad), cmp.Compare(x.key, y.key))
	}}
	t := e.networks
	for i := range t.sets {
		l := &t.locks[i%len(t.locks)]
		l.Lock()
		set := t.sets[i]
		l.Unlock()
		for j := range set {
			if x := &set[j]; x.key != 0 && x.bad > 0 {
				x.decay(now, lifeOf(x.key))
				b.add(*x)
			}
		}
	}
	out := []Neighbourhood{}
	for _, x := range b.top() {
		out = append(out, x.show())
	}
	return out
}

// best keeps the first n of what is added, in the order of compare.
type best[T any] struct {
	n       int
	compare func(x, y T) int
	kept    []T
}

func (b *best[T]) add(x T) {
	if b.kept = append(b.kept, x); len(b.kept) > 2*b.n+16 {
		b.kept = b.top()
	}
}

func (b *best[T]) top() []T {
	slices.SortFunc(b.kept, b.compare)
	return b.kept[:min(len(b.kept), b.n)]
}
