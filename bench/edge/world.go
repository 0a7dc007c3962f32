package main

import (
	"math"
	"math/rand/v2"
	"sort"
)

const (
	hour = 3600
	day  = 24 * hour
)

// world holds the assumptions of a generator. Everything in it is synthetic;
// README.md says what stands behind the figures.
type world struct {
	directory int     // valid addresses
	former    float64 // addresses that once existed, as a share of the directory

	networks int     // /16 networks in use by anybody
	dirty    int     // of them, with bots
	zipfWide float64 // how unevenly bots lie over these
	zipfNear float64 // and over the /24 of one
	dense    float64 // share of bots in /24 that are theirs altogether
	perDense int     // bots in one of those

	honest honestWorld
	bots   botWorld
}

// worldA is what the rules are tuned on.
//
// Its clustering is fitted to the list of attacking addresses IPsum of 22 August
// 2026 (61,962 addresses), of which was measured: 32,668 /24 and 13,129 /16; 29 %
// of the addresses lie in 154 /24 with 32 or more of them each, 118 on average.
// Of the others 64 % are alone in their /24, 18 % share it with three or more,
// 15 % are alone in their /16; a tenth of the /16 holds 49 % of them. A sample
// of the same size from what is below has 33,547 /24 and 12,885 /16, 29 % in 202
// dense /24, and of the others 65 %, 15 %, 11 % and 45 %. The list holds scanners
// of every kind; of harvesters alone nothing was at hand.
func worldA() world {
	return world{
		directory: 200_000, former: 0.5,
		networks: 28_000, dirty: 17_000, zipfWide: 0.72, zipfNear: 1.3, dense: 0.31, perDense: 118,
		honest: honestA(),
		bots:   botsA(),
	}
}

// worldB is for checking only: no constant of the engine is tuned on it. Bots
// are home computers of a few networks that come and go with new addresses,
// share one dictionary and keep hours; more of them have names and SPF, fewer
// of the honest do, and these try again by other schedules.
func worldB() world {
	return world{
		directory: 120_000, former: 0.2,
		networks: 20_000, dirty: 5_000, zipfWide: 1.0, zipfNear: 0.1, dense: 0.05, perDense: 30,
		honest: honestB(),
		bots:   botsB(),
	}
}

// source is an address.
type source struct {
	ip    uint32
	named bool // its name leads back to it
}

// zipf draws from 0 to n-1 with weight (i+1)^-s.
type zipf []float64

func newZipf(n int, s float64) zipf {
	z, sum := make(zipf, n), 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -s)
		z[i] = sum
	}
	return z
}

func (z zipf) draw(r *rand.Rand) int {
	return sort.SearchFloat64s(z, r.Float64()*z[len(z)-1])
}

// land deals out addresses.
type land struct {
	w      *world
	r      *rand.Rand
	wide   []int // the /16 in use, the dirty ones first
	zWide  zipf
	zNear  zipf
	used   map[uint32]struct{}
	block  uint32 // the dense /24 that is being filled
	filled int
	pure   int
}

func newLand(w *world, r *rand.Rand) *land {
	return &land{w: w, r: r, wide: r.Perm(1 << 16)[:w.networks], used: map[uint32]struct{}{},
		zWide: newZipf(w.dirty, w.zipfWide), zNear: newZipf(256, w.zipfNear), filled: w.perDense}
}

// bot gives an address that nobody has yet, where bots live.
func (l *land) bot() uint32 {
	for {
		ip := l.spot()
		if _, taken := l.used[ip]; !taken {
			l.used[ip] = struct{}{}
			return ip
		}
	}
}

func (l *land) spot() uint32 {
	if l.r.Float64() < l.w.dense {
		if l.filled >= l.w.perDense {
			l.filled = 0
			l.block = uint32(l.wide[l.r.IntN(l.w.dirty)])<<16 | uint32(l.r.IntN(256))<<8
		}
		l.filled++
		return l.block | uint32(l.r.IntN(256))
	}
	return l.near(l.zWide.draw(l.r))
}

// near gives a place in the dirty /16 of that rank.
func (l *land) near(rank int) uint32 {
	wide := uint32(l.wide[rank])
	narrow := (uint32(l.zNear.draw(l.r))*167 + uint32(mix64(uint64(wide)))) & 255
	return wide<<16 | narrow<<8 | uint32(l.r.IntN(256))
}

// again gives the new address of a bot whose provider has dealt it another.
func (l *land) again(ip uint32) uint32 { return ip&^0xffff | uint32(l.r.IntN(1<<16)) }

// clean gives a /24 of a provider's own, away from most bots.
func (l *land) clean() uint32 {
	l.pure++
	rest := l.wide[l.w.dirty+(l.w.networks-l.w.dirty)/3:]
	return uint32(rest[l.pure%len(rest)])<<16 | uint32(l.r.IntN(256))<<8
}

// anywhere gives a /24 of any network in use.
func (l *land) anywhere() uint32 {
	return uint32(l.wide[l.r.IntN(l.w.networks)])<<16 | uint32(l.r.IntN(256))<<8
}

// mix64 spreads a number over 64 bits (the finaliser of SplitMix64). All that is
// random after the world is built comes from it, by what is being decided, so
// that two defences meet the very same guesses and messages.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit turns 64 bits into [0,1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// The kinds of recipients; with a number they are an address.
const (
	valid      uint64 = iota + 1
	formerly          // existed once
	typo              // never existed
	befriended        // valid, known to the attacker beforehand, and not part of the directory to be found
	dead              // of a newsletter's list
)

// address is the hash of a recipient.
func address(kind, number uint64) uint64 { return mix64(kind<<56 ^ number) }
