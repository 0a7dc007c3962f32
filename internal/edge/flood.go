package edge

// floodLimit is how many /64 of one /48 (or of one /56) get entries of their
// own; whoever owns a /48 has 65,536 to spend.
const floodLimit = 64

// sourceKey is the entry an attempt belongs to: its own, or that of the network
// around it where too many have appeared.
func (e *Engine) sourceKey(a *Attempt) uint64 { return e.keyOf(a.Source, a.Time) }

func (e *Engine) keyOf(s Source, now Time) uint64 {
	if s.isIPv4() {
		return s.key
	}
	narrow, wide := e.crowded(s.narrow, now, narrowLife), e.crowded(s.wide, now, wideLife)
	switch {
	case !narrow && !wide, e.known(s.key): // whoever was there before stays
		return s.key
	case narrow && wide:
		return s.wide
	}
	return s.narrow
}

func (e *Engine) crowded(key uint64, now Time, halfLife float64) bool {
	n, l := e.networks.locked(key, now, halfLife, false)
	defer l.Unlock()
	return n != nil && n.sources > floodLimit
}

func (e *Engine) known(key uint64) bool {
	p := e.sources.place(key)
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.find(key) != nil
}

// appeared counts a new source in its networks. Those of IPv4 count when they
// misbehave (sawBad).
func (e *Engine) appeared(a *Attempt) {
	if a.Source.isIPv4() {
		return
	}
	for _, k := range a.Source.networks() {
		n, l := e.networks.locked(k.key, a.Time, k.life, true)
		increase(&n.sources)
		l.Unlock()
	}
}
