package edge

import (
	"math"
	"math/bits"
)

// Learn takes what the recipient of an attempt turned out to be: of one that was
// answered at once, of one that was deferred from a look-up that no reply
// waited for. It gives what that changed.
func (e *Engine) Learn(a *Attempt, d *Decision, t Truth) Change {
	if t == Former {
		return Change{}
	}
	x := e.parties(a)
	defer x.unlock()
	return e.learn(a, d, t, x.source, x.identity)
}

func (e *Engine) learn(a *Attempt, d *Decision, t Truth, s, id *state) (c Change) {
	bad := t != Exists
	news := false
	// Bounces to unknown addresses come to the victims of forged senders from
	// honest servers: from a proven one they are no guesses of the source. Of
	// its bounces alone they are (convictIdentity).
	if bad && !(a.Null && d.proven) && !d.slotted {
		news = e.rules.blames(a, d, s)
	}
	if news {
		e.sawBad(a, d, s)
	}
	if !d.Defer {
		if bad && !d.proven {
			e.disclosure.take(a.Time, 1, e.rules.Disclosure, e.rules.Disclosure*burst)
		}
		if bad && id != nil {
			c = e.convictIdentity(a, d, id)
		}
		e.countSecond(a, d, s, bad)
	} else if !bad && !d.slotted && s.distinct(a.bit()) && s.evidence() > shadowLeast && (d.proven || e.mayEarn(a)) {
		s.add(-e.rules.Valid)
	}
	e.countPopulation(a, d, s, bad)
	// What is no news neither begins a penalty nor makes it longer: a server
	// tries its dead addresses again and again, and of one that waits for its
	// retry an unknown recipient must not be told from any other by the end of
	// the penalty.
	if news {
		if p := e.convict(a, d, s, id); p.Kind != None {
			c = p
		}
	}
	return c
}

// blames adds an unknown recipient to an entry's evidence, and tells whether it
// counted.
func (r *Rules) blames(a *Attempt, d *Decision, s *state) bool {
	weight := r.Again
	if weight == 0 {
		s.renew()
	}
	if s.distinct(a.bit()) {
		weight = r.weight(a, d)
	}
	if weight > 0 {
		s.add(weight)
	}
	return weight > 0
}

// weight is the evidence of a distinct unknown recipient. Lists of newsletters
// have dead addresses by the fifth: with a name and SPF, such a sender is given
// time, by all as long as little is told to strangers, later by its own record.
func (r *Rules) weight(a *Attempt, d *Decision) float64 {
	if a.Named != Yes || a.SPF != Yes {
		return r.Unknown
	}
	calm := 0.0
	switch {
	case d.seasoned:
		calm = 1
	case r.Gate > 0:
		calm = min(max(float64(d.Gate)/r.Gate, 0), 1)
	}
	return r.Unknown - (r.Unknown-r.Lenient)*calm
}

// distinct tells whether the recipient of that bit was not counted before, and
// counts it: a retry of the same dead address is no new evidence, or an honest
// server's queue would convict it.
func (s *state) distinct(bit uint64) bool {
	if s.bits&bit != 0 {
		return false
	}
	s.bits |= bit
	return true
}

// renew begins to count anew when so many bits are set that most of what is
// new would pass for known. Whoever has met so many recipients tells little by
// one that it meets twice.
func (s *state) renew() {
	if bits.OnesCount64(s.bits) > 48 {
		s.bits = 0
	}
}

// add adds evidence, within its bounds.
func (s *state) add(nats float64) {
	s.setEvidence(min(max(s.evidence()+nats, worst), most))
}

// sawBad counts an unknown recipient for the words of events: of the source,
// and of the networks around it where it is unproven. A source of IPv4 counts
// among those of its networks from its first one on; one of IPv6 did when it
// appeared.
func (e *Engine) sawBad(a *Attempt, d *Decision, s *state) {
	first := s.bad == 0 && a.Source.isIPv4()
	s.sawBad(a.Time)
	if d.proven {
		return
	}
	for _, k := range a.Source.networks() {
		n, l := e.networks.locked(k.key, a.Time, k.life, true)
		increase(&n.unknown)
		if first {
			increase(&n.sources)
		}
		l.Unlock()
	}
}

// sawBad counts an unknown recipient of a source or an identity.
func (s *state) sawBad(now Time) {
	if s.bad == 0 {
		s.since = uint8(hourOf(now))
	}
	increase(&s.bad)
}

// countSecond counts answers to those who came through the gate.
func (e *Engine) countSecond(a *Attempt, d *Decision, s *state, bad bool) {
	if !d.gated && (s.flags&admitted == 0 || d.proven) {
		return
	}
	if bad {
		e.second.bad.Add(parts)
	} else {
		e.second.good.Add(parts)
	}
}

// countPopulation votes in what strangers are judged by: at most once a source,
// hour and side. What waits in a slot is left out of the networks, so that
// whether a recipient exists does not change the wait of its own retry. Among
// the votes of all newcomers it is one of thousands, and must be counted: bots
// that guess twice and are never seen again have no other.
func (e *Engine) countPopulation(a *Attempt, d *Decision, s *state, bad bool) {
	if bad {
		if s.vote(a.Time, votedBad) && !d.proven {
			e.countRoot(a, d, true, s.voted(a.Time, votedGood))
		}
		if !d.slotted && s.vote(a.Time, votedNets) {
			e.countNetworks(a, true)
		}
		return
	}
	if !d.proven && !s.voted(a.Time, votedBad) && s.vote(a.Time, votedGood) {
		e.countRoot(a, d, false, false)
	}
}

// countRoot votes in the levels of all and of the realm. A vote against takes
// back the one that the source gave for itself in the same hour. In a realm that
// few strangers come to one vote weighs much, so that of a transaction that
// waits for its retry is left out there.
func (e *Engine) countRoot(a *Attempt, d *Decision, bad, takeBack bool) {
	if !e.mayVote(a, bad) {
		return
	}
	levels := [2]*level{&e.root}
	if r := e.realm(a.Realm, a.Time); r != nil && !d.slotted {
		levels[1] = &r.level
	}
	for _, l := range levels {
		switch {
		case l == nil:
		case !bad:
			l.good.Add(parts)
		default:
			l.bad.Add(parts)
			if takeBack && l.good.Load() >= parts {
				l.good.Add(-parts)
			}
		}
	}
}

// siteVotes is how many votes a /48 has an hour, on either side.
const siteVotes = 8

// mayVote takes one of the votes of the /48 around a source: whoever has one
// has 65,536 sources, and would make the weather alone. The sides are counted
// apart, so that what is taken back was given. IPv4 addresses are dear enough.
func (e *Engine) mayVote(a *Attempt, bad bool) bool {
	if a.Source.isIPv4() {
		return true
	}
	side := e.secret[1]
	if bad {
		side++
	}
	return e.shown.count(mix(a.Source.wide, side), hourOf(a.Time)) <= siteVotes
}

func (e *Engine) countNetworks(a *Attempt, bad bool) {
	for _, k := range a.Source.networks() {
		n, l := e.networks.locked(k.key, a.Time, k.life, true)
		if bad {
			n.bad++
		} else {
			n.good++
		}
		l.Unlock()
	}
}

// threshold is the evidence at which a penalty begins.
func (e *Engine) threshold(a *Attempt, d *Decision, s, id *state) (h, score float64) {
	r := &e.rules
	score = float64(d.Score)
	if s.flags&admitted != 0 || id != nil && id.flags&admitted != 0 {
		score -= r.Proof - e.secondStage(a.Time).wait
	}
	h = min(max(-score, r.Wary), r.Calm)
	if a.proofed() && float64(d.Gate) > r.Gate/2 {
		h = max(h, r.Vouched)
	}
	if s.flags&onParole != 0 {
		h = r.Wary
	}
	if d.Defer {
		h = max(h, r.Shadow)
		if a.proofed() {
			h = max(h, r.ShadowVouched)
		}
	}
	return h, score
}

// convict begins or extends the source's penalty, when the evidence is enough.
func (e *Engine) convict(a *Attempt, d *Decision, s, id *state) Change {
	r := &e.rules
	h, score := e.threshold(a, d, s, id)
	ev := s.evidence()
	if ev < h {
		return Change{}
	}
	length := min(r.Penalty*math.Exp(max(ev-h, score+ev, 0))*math.Exp2(r.Repeated*float64(s.strikes())), r.PenaltyMax)
	if a.proofed() {
		// The less retrying tells, the less a name or SPF shortens.
		length = min(length, r.VouchedPenalty*math.Exp2(2*float64(s.strikes())+3*e.secondStage(a.Time).wait))
	}
	c := Change{Evidence: float32(ev), Unknown: int(s.bad), Distinct: s.kinds(), Since: s.badSince(a.Time)}
	if s.pen <= a.Time {
		s.setStrikes(min(s.strikes()+1, 3))
		c.Kind = Penalised
	}
	if end := a.Time + Time(length); end > s.pen {
		if c.Kind == None && end > s.pen+3600 {
			c.Kind = Extended
		}
		s.pen = end
	}
	s.flags &^= onParole
	if id != nil {
		id.flags &^= admitted
	}
	c.Until = s.pen
	return c
}

// badSince is about when the first unknown recipient was counted.
func (s *state) badSince(now Time) Time {
	hours := uint8(hourOf(now)) - s.since
	return now - min(Time(hours)*3600, now)
}

// convictIdentity counts an unknown recipient that the identity was told of,
// and begins its penalty.
func (e *Engine) convictIdentity(a *Attempt, d *Decision, id *state) Change {
	if !e.rules.blames(a, d, id) {
		return Change{}
	}
	id.sawBad(a.Time)
	if id.evidence() < e.rules.Calm {
		return Change{}
	}
	c := Change{Identity: true, Evidence: float32(id.evidence()), Unknown: int(id.bad), Distinct: id.kinds(), Since: id.badSince(a.Time)}
	if id.pen <= a.Time {
		id.setStrikes(min(id.strikes()+1, 3))
		c.Kind = Penalised
	}
	length := min(e.rules.VouchedPenalty*math.Exp2(2*float64(id.strikes()-1)), e.rules.PenaltyMax)
	id.pen = a.Time + Time(length)
	c.Until = id.pen
	return c
}

// Credit takes that the message of an answered attempt was accepted and nobody
// calls it spam. Call it once a recipient.
func (e *Engine) Credit(a *Attempt, d *Decision) Change {
	if !e.earns(a, d) {
		return Change{}
	}
	x := e.parties(a)
	c := e.rules.credit(x.source, a.Time)
	if x.identity != nil {
		e.rules.credit(x.identity, a.Time)
	}
	clean := x.source.vote(a.Time, votedClean)
	x.unlock()
	if clean && d.proven {
		e.countNetworks(a, false)
	}
	return c
}

// earns tells whether a message earns credit, which must be paid for, and
// counts those that do. A recipient earns sources that are not seasoned only so
// much a day, all together, and a proven one by itself: or known addresses, and
// mailboxes of one's own, would buy the rest of the directory. Who has all the
// credit there is needs none, and is not counted.
func (e *Engine) earns(a *Attempt, d *Decision) bool {
	if !d.proven {
		return e.mayEarn(a)
	}
	full := func(t *table, key uint64) bool {
		s, known := t.peek(key)
		return known && s.evidence() < worst+e.rules.Wanted
	}
	key := e.sourceKey(a)
	if full(e.sources, key) && (a.Identity.Key == 0 || full(e.identities, a.Identity.Key)) {
		return true
	}
	return e.ownCredits.under(mix(a.Recipient, key), a.Time, ownCredits) && (d.seasoned || e.mayEarn(a))
}

// mayEarn takes one of the credits that a recipient has for strangers today.
func (e *Engine) mayEarn(a *Attempt) bool {
	return e.credits.under(a.Recipient, a.Time, e.rules.CreditsPerRecipient)
}

func (r *Rules) credit(s *state, now Time) (c Change) {
	was := s.proven(now, provenAge)
	if s.ham == 0 {
		s.first = hourOf(now)
	}
	increase(&s.ham)
	s.add(-r.Wanted)
	if s.nats < 0 {
		if s.flags&onParole != 0 {
			c.Kind = Absolved
		}
		s.flags &^= onParole
		s.setStrikes(0)
	}
	if s.nats <= 0 {
		s.bits, s.bad = 0, 0
	}
	if !was && s.proven(now, provenAge) {
		c.Kind = Trusted
	}
	c.Evidence = float32(s.evidence())
	return c
}
