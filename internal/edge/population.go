package edge

// Population counts sources by how they stand now.
type Population struct {
	Known    int `json:"known"`
	Proven   int `json:"proven"`   // have sent wanted mail for long enough
	Admitted int `json:"admitted"` // have proved to be mail servers
	Waiting  int `json:"waiting"`  // deferred, and held nothing against: they are let in when they try again
	Penalty  int `json:"penalty"`
	Parole   int `json:"parole"`
}

// Population looks at all sources: some tenths of a second for millions.
func (e *Engine) Population(c *Clock) Population {
	now := c.Now()
	var p Population
	e.sources.forEach(func(_ uint64, entry *state) {
		s := *entry
		e.rules.decay(&s, now)
		p.Known++
		switch {
		case s.pen != 0:
			p.Penalty++
		case s.proven(now, provenAge):
			p.Proven++
		case s.flags&onParole != 0:
			p.Parole++
		case s.flags&admitted != 0:
			p.Admitted++
		case s.timeA != 0 && now-s.timeA <= holdA:
			p.Waiting++
		}
	})
	return p
}

// RealmStatus is what unproven sources lately do that write to a domain of ours.
type RealmStatus struct {
	Domain   string  `json:"domain"`
	Sources  float64 `json:"sources"` // fading count of those that came, once an hour each
	Unknown  float64 `json:"unknown_share"`
	Guessers float64 `json:"guesser_share"`
}

// Realm tells of one protected domain, and whether anything is known of it.
func (e *Engine) Realm(c *Clock, domain string) (RealmStatus, bool) {
	now, key := c.Now(), e.Hash(domain)
	root := e.rootShare(now)
	at := mix(key, e.secret[0])
	for i := range uint64(realmProbes) {
		r := &e.realms[(at+i)%uint64(len(e.realms))]
		if r.key.Load() != key {
			continue
		}
		r.level.decay(now, e.rules.LevelFade, rootLimit)
		bad, good := r.level.counts()
		q := r.level.share(root, realmWeight)
		return RealmStatus{Domain: domain, Sources: bad + good, Unknown: q, Guessers: e.guessers(q)}, true
	}
	return RealmStatus{}, false
}
