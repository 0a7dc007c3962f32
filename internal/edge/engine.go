package edge

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	mrand "math/rand/v2"
	"unsafe"

	"github.com/dchest/siphash"
)

// Sizes says how much an engine remembers, in entries.
type Sizes struct {
	Sources    int // default 1<<20, 50 octets each
	Identities int // default Sources/8, 48 octets each
	Networks   int // default Sources/2, 24 octets each
	Realms     int // default 1<<12, 40 octets each
}

func (z Sizes) withDefaults() Sizes {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&z.Sources, 1<<20)
	def(&z.Identities, max(z.Sources/8, 1<<12))
	def(&z.Networks, max(z.Sources/2, 1<<12))
	def(&z.Realms, 1<<12)
	return z
}

// Engine judges attempts. Its methods may be called from any number of
// goroutines; none allocates, none waits for anything but another core.
type Engine struct {
	rules      Rules
	sizes      Sizes
	secret     [2]uint64 // of Hash; kept in snapshots, since fingerprints are made with it
	sources    *table
	identities *table
	networks   *netTable
	realms     []realm
	credits    *sketch  // accepted messages by recipient and day
	ownCredits *sketch  // those of proven sources by source, recipient and day
	nulls      *budgets // null-sender mail by recipient
	shown      shown    // behaviour by source and hour

	root       level  // unproven sources: with an unknown recipient, and without
	second     level  // answers to admitted, unproven sources: unknown, and not
	disclosure budget // unknown recipients told of to unproven sources
	ration     budget // retries that count while retrying tells nothing

	counts  [reasons]counter // decisions by Reason
	weather weather
}

// New makes an engine with empty tables. Close gives their memory back.
func New(rules Rules, sizes Sizes) (*Engine, error) {
	var seed [32]byte
	rand.Read(seed[:])
	return newEngine(rules, sizes, seed)
}

// NewSeeded makes an engine whose secrets anybody can work out from the seed. It
// is for simulations, which must be repeatable.
func NewSeeded(rules Rules, sizes Sizes, seed uint64) (*Engine, error) {
	var long [32]byte
	binary.LittleEndian.PutUint64(long[:], seed)
	return newEngine(rules, sizes, long)
}

func newEngine(rules Rules, sizes Sizes, seed [32]byte) (_ *Engine, err error) {
	e := &Engine{rules: rules, sizes: sizes.withDefaults()}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	secrets := mrand.NewChaCha8(seed)
	e.secret = [2]uint64{secrets.Uint64(), secrets.Uint64()}
	if e.sources, err = newTable(e.sizes.Sources, secrets.Uint64()); err != nil {
		return nil, err
	}
	if e.identities, err = newTable(e.sizes.Identities, secrets.Uint64()); err != nil {
		return nil, err
	}
	if e.networks, err = newNetTable(e.sizes.Networks, secrets.Uint64()); err != nil {
		return nil, err
	}
	e.realms = make([]realm, e.sizes.Realms)
	e.credits, e.ownCredits = newSketch(), newSketch()
	e.nulls = new(budgets)
	e.shown = newShown(e.sizes.Sources / 4)
	return e, nil
}

// Close frees the tables. The engine must not be used any more.
func (e *Engine) Close() {
	if e.sources != nil {
		e.sources.close()
	}
	if e.identities != nil {
		e.identities.close()
	}
	if e.networks != nil {
		e.networks.close()
	}
}

// Rules gives the rules in force.
func (e *Engine) Rules() Rules { return e.rules }

// Hash is how the engine knows names: recipients, senders, domains. It is keyed
// with a secret that snapshots carry on, and never 0.
func (e *Engine) Hash(name string) uint64 {
	return siphash.Hash(e.secret[0], e.secret[1], unsafe.Slice(unsafe.StringData(name), len(name))) | 1
}

// Pair is the identity of a sender domain that nothing proves: it holds for
// this source only.
func (e *Engine) Pair(s Source, domain string) Identity {
	return Identity{Key: mix(e.Hash(domain)^s.key, e.secret[1]) | 1}
}

// prior gives what the networks around a source and the unproven sources of the
// realm have lately done, as log odds that an unproven source guesses.
func (e *Engine) prior(a *Attempt) float64 {
	q := e.rootShare(a.Time)
	if r := e.realm(a.Realm, a.Time); r != nil {
		r.level.decay(a.Time, e.rules.LevelFade, rootLimit)
		q = r.level.share(q, realmWeight)
	}
	all := q
	q = e.networkShare(a.Source.wide, a.Time, wideLife, wideWeight, q)
	q = e.networkShare(a.Source.narrow, a.Time, narrowLife, narrowWeight, q)
	if !a.mayLean() {
		q = max(q, all)
	}
	return e.odds(q)
}

func (e *Engine) networkShare(key uint64, now Time, halfLife, weight, q float64) float64 {
	n, l := e.networks.locked(key, now, halfLife, false)
	if n != nil {
		q = (float64(n.bad) + weight*q) / (float64(n.bad+n.good) + weight)
	}
	l.Unlock()
	return q
}

// odds turns a share of unknown recipients into log odds that whoever shows it
// guesses.
func (e *Engine) odds(q float64) float64 {
	pi := e.guessers(q)
	return math.Log(pi / (1 - pi))
}

// guessers turns a share of unknown recipients into the share of those who
// guess, which would explain it.
func (e *Engine) guessers(q float64) float64 {
	pi := (q - e.rules.Honest) / (e.rules.Guesser - e.rules.Honest)
	return min(max(pi, leastShare), mostShare)
}
