package edge

import (
	"time"
)

// Explanation is what the engine knows of a source and an identity, and what it
// would make of an attempt of them now. Times are those of the wall clock.
type Explanation struct {
	Source   string `json:"source,omitempty"`   // whose entry it is: a /32, a /64, or what is around it where too many came
	Identity string `json:"identity,omitempty"` // in words, as the caller calls it
	Verdict  string `json:"verdict"`            // answer or defer
	Why      string `json:"why"`                // the Reason

	OfSource   *History `json:"of_source,omitempty"`   // nil: never seen, or forgotten
	OfIdentity *History `json:"of_identity,omitempty"` // the same

	Terms     Terms     `json:"terms"`
	Score     float64   `json:"score"`                   // the sum of Terms, in nats; -4.6 or less when proven
	Gate      float64   `json:"gate"`                    // above it, newcomers are gated
	Threshold float64   `json:"threshold"`               // evidence at which a penalty begins
	Wait      int       `json:"wait,omitempty"`          // while gated: seconds after which a retry is answered
	Waiting   time.Time `json:"waiting_since,omitzero"`  // the first try of this very transaction
	RetryFrom time.Time `json:"answered_from,omitzero"`  // when a retry of it is answered, while gated
	Until     time.Time `json:"deferred_until,omitzero"` // end of the penalty that holds it

	Networks []Neighbourhood `json:"networks,omitempty"`
}

// Terms is what a score is made of, in nats: the prior, from the widest
// population to the nearest network, and what look-ups found.
type Terms struct {
	Root   float64 `json:"root"`   // what all unproven sources do
	Realm  float64 `json:"realm"`  // what those do that write to the same domain of ours
	Wide   float64 `json:"wide"`   // what came from the /16 or /48
	Narrow float64 `json:"narrow"` // what came from the /24 or /56
	Name   float64 `json:"name"`   // a name that leads back, or none; 0: not looked up
	SPF    float64 `json:"spf"`    // the sender's domain lists the address; 0: it does not, or was not looked up
	Parole float64 `json:"parole"` // a past penalty that no wanted mail has made good
}

// History is what an entry holds.
type History struct {
	Evidence float64   `json:"evidence"`           // nats
	Penalty  time.Time `json:"penalty,omitzero"`   // its end
	Strikes  int       `json:"strikes,omitempty"`  // penalties begun, at most 3
	Parole   bool      `json:"parole,omitempty"`   // one unknown recipient begins the next penalty
	Admitted bool      `json:"admitted,omitempty"` // has proved to be a mail server
	Proven   bool      `json:"proven,omitempty"`   // has sent wanted mail for long enough
	Wanted   int       `json:"wanted,omitempty"`   // messages taken
	Unknown  int       `json:"unknown,omitempty"`  // distinct unknown recipients …
	Since    time.Time `json:"since,omitzero"`     // … the first of them about then
	Seen     time.Time `json:"seen,omitzero"`      // last
	Waiting  time.Time `json:"waiting,omitzero"`   // first try of the oldest transaction that waits for its retry
}

// Neighbourhood is what is known of a network.
type Neighbourhood struct {
	Network string  `json:"network"`
	Share   float64 `json:"share"`   // of votes, one a source and hour, that are for unknown recipients
	Bad     float64 `json:"bad"`     // such votes, fading
	Good    float64 `json:"good"`    // votes for wanted mail, fading
	Unknown int     `json:"unknown"` // unknown recipients of unproven sources, fading
	Sources int     `json:"sources"` // how many those are, fading
	Hours   int     `json:"hours"`   // in which half of all that fades
}

// Explain tells what would become of an attempt now, and why. Whatever of it is
// not known may be zero: without a source only the identity is looked at. It
// changes nothing.
func (e *Engine) Explain(c *Clock, asked *Attempt) Explanation {
	a := *asked
	a.Time = c.Now()
	t := e.terms(&a)
	d := Decision{Prior: float32(t.Root + t.Realm + t.Wide + t.Narrow), Gate: float32(e.gateAt(a.Time))}
	x := Explanation{Verdict: "answer", Gate: float64(d.Gate), Terms: t}
	s, known := e.sources.peek(e.sourceKey(&a))
	if a.Source != (Source{}) {
		x.Source = prefixOf(e.sourceKey(&a)).String()
		for _, k := range a.Source.networks() {
			x.Networks = append(x.Networks, e.neighbourhood(k, a.Time))
		}
	}
	e.rules.decay(&s, a.Time)
	if known && x.Source != "" {
		x.OfSource = s.history(c, a.Time, provenAge)
		if s.flags&onParole != 0 {
			x.Terms.Parole = e.rules.Parole
		}
	}
	id := (*state)(nil)
	if a.Identity.Key != 0 {
		entry, known := e.identities.peek(a.Identity.Key)
		id = &entry
		e.rules.decay(id, a.Time)
		if known {
			x.OfIdentity = id.history(c, a.Time, identityAge)
		}
	}
	e.explain(c, &x, &a, &d, &s, id)
	return x
}

// explain decides with copies of the entries.
func (e *Engine) explain(c *Clock, x *Explanation, a *Attempt, d *Decision, s, id *state) {
	first := s.heldSince(a.print())
	if id != nil && first == 0 {
		first = id.heldSince(a.print())
	}
	other := *a
	other.Sender ^= 1 << 60 // another transaction: a retry of this one might spend a ration
	e.judge(&other, d, s, id)
	x.Why, x.Score, x.Wait = d.Why.String(), float64(d.Score), int(d.Wait)
	x.Threshold, _ = e.threshold(a, d, s, id)
	if d.Defer {
		x.Verdict = "defer"
	}
	if d.Until != 0 {
		x.Until = c.Wall(d.Until).UTC()
	}
	if first != 0 && a.Time-first <= holdA {
		x.Waiting = c.Wall(first).UTC()
		if d.Why == Gate {
			x.RetryFrom = c.Wall(first + Time(d.Wait)).UTC()
		}
	}
}

// terms takes the prior apart.
func (e *Engine) terms(a *Attempt) Terms {
	var t Terms
	q := e.rootShare(a.Time)
	t.Root = e.odds(q)
	sum := t.Root
	step := func() float64 {
		was := sum
		sum = e.odds(q)
		return sum - was
	}
	if r := e.realm(a.Realm, a.Time); r != nil {
		r.level.decay(a.Time, e.rules.LevelFade, rootLimit)
		q = r.level.share(q, realmWeight)
		t.Realm = step()
	}
	if all := q; a.Source != (Source{}) {
		q = e.networkShare(a.Source.wide, a.Time, wideLife, wideWeight, q)
		t.Wide = step()
		q = e.networkShare(a.Source.narrow, a.Time, narrowLife, narrowWeight, q)
		if !a.mayLean() {
			q = max(q, all)
		}
		t.Narrow = step()
	}
	switch a.Named {
	case Yes:
		t.Name = -e.rules.Named
	case No:
		t.Name = e.rules.Nameless
	}
	if a.SPF == Yes {
		t.SPF = -e.rules.SPF
	}
	return t
}

func (e *Engine) neighbourhood(k networkKey, now Time) Neighbourhood {
	n, l := e.networks.locked(k.key, now, k.life, false)
	defer l.Unlock()
	if n == nil {
		n = &network{key: k.key}
	}
	return n.show()
}

func (n *network) show() Neighbourhood {
	v := Neighbourhood{Network: prefixOf(n.key).String(), Bad: float64(n.bad), Good: float64(n.good),
		Unknown: int(n.unknown), Sources: int(n.sources), Hours: int(lifeOf(n.key) / 3600)}
	if all := v.Bad + v.Good; all > 0 {
		v.Share = v.Bad / all
	}
	return v
}

// peek gives a copy of an entry, and whether it is there.
func (t *table) peek(key uint64) (state, bool) {
	p := t.place(key)
	p.lock.Lock()
	defer p.lock.Unlock()
	if s := p.find(key); s != nil && key != 0 {
		return *s, true
	}
	return state{}, false
}

// heldSince is when a transaction that waits was first tried, or 0.
func (s *state) heldSince(print uint16) Time {
	switch {
	case s.timeA != 0 && s.prinA == print:
		return s.timeA
	case s.timeB != 0 && s.prinB == print:
		return s.timeB
	}
	return 0
}

func (s *state) history(c *Clock, now Time, age uint16) *History {
	h := &History{Evidence: s.evidence(), Strikes: s.strikes(), Parole: s.flags&onParole != 0, Admitted: s.flags&admitted != 0,
		Proven: s.proven(now, age), Wanted: int(s.ham), Unknown: int(s.bad), Seen: c.Wall(s.last).UTC()}
	if s.pen > now {
		h.Penalty = c.Wall(s.pen).UTC()
	}
	if s.bad > 0 {
		h.Since = c.Wall(s.badSince(now)).UTC()
	}
	if s.timeA != 0 && now-s.timeA <= holdA {
		h.Waiting = c.Wall(s.timeA).UTC()
	}
	return h
}
