package edge

import (
	"math"
	"math/bits"
	"unsafe"
)

// network is what is known of a /24 or /16 (a /56 or /48): how often, by one
// vote a source and hour, unknown recipients and wanted mail came from it, both
// decaying with time.
type network struct {
	key     uint64
	bad     float32
	good    float32
	last    Time
	unknown uint16 // unknown recipients, decaying like bad; for words
	sources uint16 // sources that first appeared in it, decaying likewise; for words and the flood guard
}

const netWays = 4

type netSet [netWays]network

// netTable maps prefix keys to networks, in sets of four. The wide ones, of which
// there are few, lie together at its beginning: there they stay in the caches of
// the processor.
type netTable struct {
	sets   []netSet
	wide   uint64 // sets at the beginning for /16 and /48
	locks  []stripe
	mem    memory
	secret uint64
	live   counter
	lost   counter // networks that made room for others
}

func newNetTable(slots int, secret uint64) (*netTable, error) {
	n := max(slots/netWays, 1)
	mem, err := allocate(n * int(unsafe.Sizeof(netSet{})))
	if err != nil {
		return nil, err
	}
	return &netTable{sets: unsafe.Slice((*netSet)(mem.base()), n), mem: mem, wide: uint64(min(n/4, 1<<15)),
		locks: stripes(n), secret: secret | 1}, nil
}

// at gives the set of a key.
func (t *netTable) at(key uint64) uint64 {
	from, n := t.wide, uint64(len(t.sets))-t.wide
	if isWide(key) && t.wide > 0 {
		from, n = 0, t.wide
	}
	i, _ := bits.Mul64(mix(key, t.secret), n)
	return from + i
}

// locked gives the network of a prefix key, decayed to now, under its lock; nil
// when there is none and make is false. It must be unlocked.
func (t *netTable) locked(key uint64, now Time, halfLife float64, create bool) (*network, *stripe) {
	i := t.at(key)
	set, l := &t.sets[i], &t.locks[i&uint64(len(t.locks)-1)]
	l.Lock()
	for j := range set {
		if n := &set[j]; n.key == key {
			n.decay(now, halfLife)
			return n, l
		}
	}
	if !create {
		return nil, l
	}
	least := &set[0]
	for j := range set {
		if n := &set[j]; n.weight(now, halfLife) < least.weight(now, halfLife) {
			least = n
		}
	}
	if least.key == 0 {
		t.live.add(1)
	} else {
		t.lost.add(1)
	}
	*least = network{key: key, last: now}
	return least, l
}

// weight is what would be lost with n.
func (n *network) weight(now Time, halfLife float64) float64 {
	if n.key == 0 {
		return -1
	}
	return (float64(n.bad) + float64(n.good) + 0.1) * fade(now, n.last, halfLife)
}

// decay brings n to now. Small steps are gathered: a minute of the shortest
// half-life is a thousandth.
func (n *network) decay(now Time, halfLife float64) {
	if now < n.last+60 {
		return
	}
	f := float32(fade(now, n.last, halfLife))
	n.bad *= f
	n.good *= f
	chance := mix(n.key^uint64(now), uint64(now)|1)
	n.unknown = scaled(n.unknown, f, uint32(chance))
	n.sources = scaled(n.sources, f, uint32(chance>>32))
	n.last = now
}

// scaled is v times f, up or down by chance so that it is right on average:
// always cut, a small count would lose one with every step.
func scaled(v uint16, f float32, chance uint32) uint16 {
	return uint16(float32(v)*f + float32(chance>>8)/(1<<24))
}

// increase adds one to a count that stays at its largest.
func increase(v *uint16) {
	if *v < math.MaxUint16 {
		*v++
	}
}

// networkKey is a network around a source, and its half-life in seconds.
type networkKey struct {
	key  uint64
	life float64
}

func (s Source) networks() [2]networkKey {
	return [2]networkKey{{s.narrow, narrowLife}, {s.wide, wideLife}}
}

// lifeOf gives the half-life of the network of a key.
func lifeOf(key uint64) float64 {
	switch prefixOf(key).Bits() {
	case 16, 48:
		return wideLife
	}
	return narrowLife
}

// fade is what time leaves of something: 2^-(age/halfLife), 1 for the future.
func fade(now, since Time, halfLife float64) float64 {
	if now <= since {
		return 1
	}
	return math.Exp2(-float64(now-since) / halfLife)
}

func (t *netTable) close() { t.mem.free() }
