package edge

import "math"

// Decide tells whether a may be answered truthfully. It changes nothing but
// what a deferral leaves behind: the transaction that waits for its retry. A
// client that is answered has spent nothing until Learn is told what it heard.
func (e *Engine) Decide(a *Attempt) Decision {
	d := e.consider(a)
	e.counts[d.Why].add(1)
	return d
}

// consider is Decide without the statistics, for who may know more soon.
func (e *Engine) consider(a *Attempt) Decision {
	d := Decision{Prior: float32(e.prior(a)), Gate: float32(e.gateAt(a.Time))}
	x := e.parties(a)
	e.judge(a, &d, x.source, x.identity)
	x.unlock()
	return d
}

// parties are the entries of an attempt's source and identity, brought to its
// time, under their locks, the source's first. Without an identity it is nil.
type parties struct {
	source, identity *state
	locks            [2]*stripe
}

func (e *Engine) parties(a *Attempt) (x parties) {
	var fresh bool
	x.source, x.locks[0], fresh = e.sources.entry(e.sourceKey(a), a.Time)
	if fresh {
		e.appeared(a)
	}
	e.rules.decay(x.source, a.Time)
	if a.Identity.Key != 0 {
		x.identity, x.locks[1], _ = e.identities.entry(a.Identity.Key, a.Time)
		e.rules.decay(x.identity, a.Time)
	}
	return x
}

func (x *parties) unlock() {
	if x.locks[1] != nil {
		x.locks[1].Unlock()
	}
	x.locks[0].Unlock()
}

// fill is the level of the disclosure budget, from -1 to 1.
func (e *Engine) fill(now Time) float64 {
	if e.rules.Disclosure <= 0 {
		return 0
	}
	b := e.rules.Disclosure * burst
	return e.disclosure.fill(now, e.rules.Disclosure, b) / b
}

// gateAt is the score above which newcomers are gated.
func (e *Engine) gateAt(now Time) float64 { return e.rules.Gate * math.Max(-e.rules.Sunk, e.fill(now)) }

// judge decides, with the entries of source and identity in hand; id may be
// nil.
func (e *Engine) judge(a *Attempt, d *Decision, s, id *state) {
	d.Evidence = float32(s.evidence())
	identityProven := id != nil && id.proven(a.Time, identityAge)
	d.proven = identityProven || s.proven(a.Time, provenAge)
	d.seasoned = id != nil && id.seasoned(a.Time) || s.seasoned(a.Time)
	d.Score = float32(e.score(a, float64(d.Prior), d.proven, s.flags&onParole != 0))
	switch {
	case id != nil && a.Time < id.pen:
		d.Defer, d.Why, d.Until = true, IdentityPenalty, id.pen
	case a.Time < s.pen && !identityProven:
		d.Defer, d.Why, d.Until = true, Penalty, s.pen
	case d.proven:
		d.Why = Proven
	case s.flags&admitted != 0 || id != nil && id.flags&admitted != 0:
		d.Why = Admitted
	case d.Score <= d.Gate:
		d.Why = Calm
	default:
		e.gate(a, d, s, id)
	}
	if d.Defer && d.Why != Rationed {
		hold(a, Time(d.Wait), s, id)
	}
	d.slotted = d.Defer && s.holds(a.print())
}

// score is the prior with what look-ups found.
func (e *Engine) score(a *Attempt, prior float64, proven, parole bool) float64 {
	score := prior
	switch a.Named {
	case Yes:
		score -= e.rules.Named
	case No:
		score += e.rules.Nameless
	}
	if a.SPF == Yes {
		score -= e.rules.SPF
	}
	if parole {
		score += e.rules.Parole
	}
	if proven {
		score = min(score, math.Log(leastShare/mostShare))
	}
	return score
}

// gate lets a newcomer through that proves to be a mail server, by trying the
// same transaction again after a while.
func (e *Engine) gate(a *Attempt, d *Decision, s, id *state) {
	r := &e.rules
	d.gated = true
	limit := r.RetryMax
	if a.proofed() {
		limit = r.RetryVouched
	}
	second := e.secondStage(a.Time)
	// In steps: a single vote more or less in the population is not to be seen.
	d.Wait = uint32(min(limit, r.Retry*math.Exp2(math.Round(2*(float64(d.Score)+second.wait))/2)))
	fp, wait := a.print(), Time(d.Wait)
	if !s.waited(fp, a.Time, wait) && !(id != nil && a.Identity.Proven && id.waited(fp, a.Time, wait)) {
		d.Defer, d.Why = true, Gate
		return
	}
	d.Why = Retried
	switch {
	case second.share > rationShare && !a.proofed() && !e.ration.spend(a.Time, r.Rationed),
		r.Strict && e.fill(a.Time) <= 0:
		d.Defer, d.Why = true, Rationed
		return
	}
	s.flags |= admitted
	s.timeA, s.timeB = 0, 0
	if id != nil && a.Identity.Proven {
		id.flags |= admitted
	}
}

// stage tells how much retrying still tells of newcomers.
type stage struct {
	share float64 // of unknown recipients among the answers to those who retried
	wait  float64 // what that adds to their waiting time, as a power of two, 0 to 2
}

func (e *Engine) secondStage(now Time) stage {
	e.second.decay(now, secondLife, math.MaxFloat64)
	q := e.second.share(expected, secondWeight)
	return stage{q, min(max(e.odds(q)+e.rules.Doubt, 0), 2)}
}

// decay brings an entry to now: evidence and credit fade, and a penalty that is
// over leaves the initial state, on parole.
func (r *Rules) decay(s *state, now Time) {
	if now > s.last+30 {
		life := r.CreditFade
		if s.nats > 0 {
			life = r.Fade
		}
		s.nats = faded(s.nats, fade(now, s.last, life), now)
		s.last = now
	}
	if s.pen != 0 && now >= s.pen {
		s.pen = 0
		s.nats = min(s.nats, 0)
		s.bits, s.bad = 0, 0
		s.flags = s.flags&^admitted | onParole
	}
}

// faded is nats times f, up or down by chance so that it is right on average:
// always cut, evidence would be gone in hours where a client shows itself every
// half minute.
func faded(nats int16, f float64, now Time) int16 {
	chance := mix(uint64(now), uint64(uint16(nats))|1) >> 11
	return int16(math.Floor(float64(nats)*f + float64(chance)/(1<<53)))
}

// proven tells whether wanted mail has come for long enough.
func (s *state) proven(now Time, age uint16) bool {
	return s.ham >= provenMessages && s.nats < 0 && hourOf(now)-s.first >= age
}

// seasoned tells whether much wanted mail has come for days, more than those who
// guess can afford to send to addresses they know already.
func (s *state) seasoned(now Time) bool {
	return s.ham >= seasonedMessages && s.proven(now, seasonedAge)
}

// holds tells whether the transaction waits in a slot.
func (s *state) holds(print uint16) bool {
	return s.timeA != 0 && s.prinA == print || s.timeB != 0 && s.prinB == print
}

// waited tells whether the transaction was first tried long enough ago, and not
// too long.
func (s *state) waited(print uint16, now, wait Time) bool {
	old := func(first Time, p uint16) bool {
		return first != 0 && p == print && now-first >= wait && now-first <= holdA
	}
	return old(s.timeA, s.prinA) || old(s.timeB, s.prinB)
}

// hold remembers a deferred transaction. Two are kept: the first, for as long
// as mail servers try, and a newer one, so that a client whose first one was
// given up still gets through: kept until a while after it may be answered.
func hold(a *Attempt, wait Time, s, id *state) {
	fp := a.print()
	if !s.holds(fp) {
		switch {
		case s.timeA == 0 || a.Time-s.timeA > holdA:
			s.timeA, s.prinA = a.Time, fp
		case s.timeB == 0 || a.Time-s.timeB > wait+renewB:
			s.timeB, s.prinB = a.Time, fp
		}
	}
	if id != nil && a.Identity.Proven && (id.timeA == 0 || a.Time-id.timeA > holdA) {
		id.timeA, id.prinA = a.Time, fp
	}
}
