package edge

import "math/bits"

// What a Logins remembers of accounts and networks lies in the engine's table
// of identities, and so in its snapshots, under five kinds of keys:
//
//   - place: an account in a /24 or /56. It is the identity of attempts.
//   - wide: an account in a /16 or /48. That it was used there speaks for an
//     unknown place in the same network, as of a telephone that moves.
//   - pair: an account and a password in a /24 or /56: right there (timeB is
//     when last), or wrong there (timeA), or right once and now wrong (ham and
//     timeA). With a hidden password it stands for all of them.
//   - waiting: a pair that was held there, because of others; timeA is when first.
//
// The fields of a state that logins do not use otherwise are timeB of a place,
// which bounds how many guesses from a user's own network may be compared with
// what was right there (spare), and bad of a hidden pair, failures since the
// last success.

// placeKeys are where an attempt leaves its traces.
type placeKeys struct{ place, wide, pair, waiting uint64 }

const (
	familiarFor = 90 * 86400 // seconds since the last success for which a place is known
	staleFor    = 14 * 86400 // seconds since the last try for which a wrong pair is no news
	guessEvery  = 60         // seconds that a held guess from a user's own place costs …
	guessBurst  = 1000       // … of so many at once
	hiddenEvery = 256        // of so many hidden passwords that failed one counts in the end; a power of two
)

func (e *Engine) keysOf(s Source, account, pair uint64) placeKeys {
	at := func(network, what uint64) uint64 { return mix(what^mix(network, e.secret[0]), e.secret[1]) | 1 }
	return placeKeys{place: at(s.narrow, account), wide: at(s.wide, account), pair: at(s.narrow, pair), waiting: at(^s.narrow, pair)}
}

// entry gives the state of a key under its lock, which must be unlocked; nil
// where there is none and create is false.
func (e *Engine) entry(key uint64, now Time, create bool) (*state, *stripe) {
	p := e.identities.place(key)
	p.lock.Lock()
	s := p.find(key)
	if s == nil && create {
		s = e.identities.insert(p, key, now)
	}
	if s != nil {
		e.rules.decay(s, now)
	}
	return s, p.lock
}

// knows tells whether there was a success under the key, not too long ago.
func (e *Engine) knows(key uint64, now Time) bool {
	s, l := e.entry(key, now, false)
	defer l.Unlock()
	return s != nil && s.timeB != 0 && now < s.timeB+familiarFor
}

// familiar tells whether the very password was right at the very place before.
// Such an attempt is looked at whatever others did. That makes an oracle for
// whoever guesses from the user's own network; so the guesses held there are
// counted (spend), and beyond the bound they are judged like any other.
func (e *Engine) familiar(k *placeKeys, now Time) bool {
	if !e.knows(k.pair, now) {
		return false
	}
	s, l := e.entry(k.place, now, false)
	defer l.Unlock()
	return s != nil && s.timeB < now+guessBurst*guessEvery
}

// spend counts an attempt that was held at a place, if the account is known
// there.
func (e *Engine) spend(place uint64, now Time) {
	s, l := e.entry(place, now, false)
	defer l.Unlock()
	if s != nil && s.ham > 0 && s.timeB < now+guessBurst*guessEvery {
		s.timeB = max(s.timeB, now) + guessEvery
	}
}

// excused tells whether an attempt is looked at although its source is in
// penalty: the same password was tried here long enough ago, and the ration is
// not used up. The slots of source and place cannot tell, which whoever is
// guilty fills.
func (e *Engine) excused(a *Attempt, k *placeKeys) bool {
	s, l := e.entry(k.waiting, a.Time, true)
	defer l.Unlock()
	switch {
	case s.timeA == 0 || a.Time-s.timeA > holdA:
		s.timeA = a.Time
		return false
	case a.Time-s.timeA < Time(e.rules.RetryMax), e.ration.fill(a.Time, e.rules.Rationed, e.rules.Rationed/4) < 1:
		return false
	}
	s.timeA = 0
	return e.ration.take(a.Time, 1, e.rules.Rationed, e.rules.Rationed/4)
}

// remember takes a success. It tells whether it is the account's first at this
// place today.
func (e *Engine) remember(k *placeKeys, now Time) (first bool) {
	for _, key := range [...]uint64{k.pair, k.wide} {
		s, l := e.entry(key, now, true)
		first = first || key == k.pair && s.timeB/86400 != now/86400
		e.rules.credit(s, now)
		s.timeA, s.timeB, s.bad = 0, now, 0
		l.Unlock()
	}
	s, l := e.entry(k.place, now, true)
	defer l.Unlock()
	// Nobody but the owner, or who has the password, gets this far: one success
	// makes an identity proven that otherwise needs two and a day.
	e.rules.credit(s, now)
	s.ham = max(s.ham, provenMessages)
	s.first = hourOf(now) - identityAge
	return first
}

// mark takes a failure. It tells whether it is news: not when the pair failed
// here before, and not when it was right here once, as after a change of
// password. Of hidden passwords nobody knows which are the same; of their
// failures the first, second, fourth, eighth … since the last success count,
// and from hiddenEvery on each that is a multiple of it.
func (e *Engine) mark(k *placeKeys, now Time, hidden bool) (news bool) {
	s, l := e.entry(k.pair, now, true)
	defer l.Unlock()
	news = s.ham == 0 && (s.timeA == 0 || now >= s.timeA+staleFor)
	if hidden {
		if s.bad++; s.bad == 2*hiddenEvery {
			s.bad = hiddenEvery
		}
		news = bits.OnesCount16(s.bad) == 1
	}
	s.timeA, s.timeB = now, 0
	return news
}

// unproved takes back what a retry proved, after it brought a wrong password.
func (e *Engine) unproved(a *Attempt) {
	key := e.sourceKey(a)
	p := e.sources.place(key)
	p.lock.Lock()
	if s := p.find(key); s != nil {
		s.flags &^= admitted
	}
	p.lock.Unlock()
	if s, l := e.entry(a.Identity.Key, a.Time, false); true {
		if s != nil {
			s.flags &^= admitted
		}
		l.Unlock()
	}
}
