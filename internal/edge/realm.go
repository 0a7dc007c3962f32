package edge

import "sync/atomic"

// realm is the population level of one protected domain, so that an attack on
// one tenant does not gate the strangers of the others.
type realm struct {
	key   atomic.Uint64
	level level
	nulls budget // null-sender mail to it
}

const realmProbes = 8

// realm finds the level of a protected domain. Where all its places are taken
// by others that are busy, there is none, and the root speaks for it.
func (e *Engine) realm(key uint64, now Time) *realm {
	if key == 0 {
		return nil
	}
	at := mix(key, e.secret[0])
	for i := range uint64(realmProbes) {
		r := &e.realms[(at+i)%uint64(len(e.realms))]
		switch k := r.key.Load(); {
		case k == key:
			return r
		case k == 0:
			if r.key.CompareAndSwap(0, key) || r.key.Load() == key {
				return r
			}
		}
	}
	return e.reuseRealm(at, key, now)
}

// reuseRealm takes the place of a realm in which nothing happens any more.
func (e *Engine) reuseRealm(at, key uint64, now Time) *realm {
	for i := range uint64(realmProbes) {
		r := &e.realms[(at+i)%uint64(len(e.realms))]
		if r.level.last.Load() == 0 {
			continue
		}
		r.level.decay(now, e.rules.LevelFade, rootLimit)
		if bad, good := r.level.counts(); bad+good < 0.5 {
			if old := r.key.Load(); r.key.CompareAndSwap(old, key) {
				return r
			}
		}
	}
	return nil
}
