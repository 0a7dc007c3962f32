package edge

// Suspicion is how warily a client is received.
type Suspicion uint8

// The suspicions. The last two cost the client time, and nothing else.
const (
	Unsuspected Suspicion = iota
	Pause                 // is to wait for its greeting: who cannot wait is no mail server
	Tarpit                // is in penalty: may get its answers slowly
)

// String names the suspicion as events and metrics do.
func (s Suspicion) String() string { return [...]string{"none", "pause", "tarpit"}[s] }

// suspicious is the evidence from which a client waits for its greeting: half
// of an unknown recipient, or early talk.
const suspicious = 1.0

// Suspect tells how to receive a client that has just connected. Proven sources
// and those that have proved to be mail servers never wait without a penalty;
// newcomers do where those around them mostly guess. It changes nothing.
func (e *Engine) Suspect(now Time, s Source) Suspicion {
	key := e.keyOf(s, now)
	p := e.sources.place(key)
	p.lock.Lock()
	st := p.find(key)
	if st == nil {
		p.lock.Unlock()
		return e.suspectStranger(now, s)
	}
	e.rules.decay(st, now)
	seen := *st
	p.lock.Unlock()
	switch {
	case seen.pen > now:
		return Tarpit
	case seen.proven(now, provenAge):
		return Unsuspected
	case seen.flags&onParole != 0 || seen.evidence() >= suspicious:
		return Pause
	case seen.flags&admitted != 0:
		return Unsuspected
	}
	return e.suspectStranger(now, s)
}

// Knows tells whether a source has a history of wanted mail.
func (e *Engine) Knows(now Time, s Source) bool {
	key := e.keyOf(s, now)
	p := e.sources.place(key)
	p.lock.Lock()
	defer p.lock.Unlock()
	st := p.find(key)
	return st != nil && st.proven(now, provenAge)
}

// suspectStranger judges one of whom nothing is known by its networks and the
// times: it waits where it more likely guesses than not.
func (e *Engine) suspectStranger(now Time, s Source) Suspicion {
	if e.prior(&Attempt{Time: now, Source: s}) > 0 {
		return Pause
	}
	return Unsuspected
}
