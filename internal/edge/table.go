package edge

import (
	"math"
	"math/bits"
	"sync"
	"unsafe"
)

// state is the entry of a source, an identity or a login: 40 octets, which with
// the key make 48. There are no pointers in it, so that neither the garbage
// collector nor a snapshot has anything to follow.
type state struct {
	bits  uint64 // distinct recipients counted, by Attempt.bit
	last  Time   // when evidence was last decayed
	pen   Time   // end of the penalty; 0: none
	timeA Time   // first try of the transaction held in slot A; 0: empty
	timeB Time   // the same for slot B
	prinA uint16 // Attempt.print of A
	prinB uint16 // of B
	nats  int16  // evidence in 1/1024 nat
	ham   uint16 // wanted messages; it stays at its largest
	first uint16 // hour of the first of them (hourOf)
	hour  uint16 // hour of the votes below
	bad   uint16 // distinct unknown recipients counted since `since`
	flags uint8
	since uint8 // hour, modulo 256, of the first of bad
}

// The flags of a state. The four votes are of its hour: a source has one vote
// an hour in what aggregates count, so that a noisy one cannot make the weather.
const (
	admitted   uint8 = 1 << iota // has proved to be a mail server
	onParole                     // its penalty is over; one unknown recipient begins the next
	votedBad                     // root: an unknown recipient
	votedGood                    // root: known ones only
	votedNets                    // prefixes: an unknown recipient
	votedClean                   // prefixes: wanted mail
	strikeOne                    // two bits: penalties begun, at most 3
	strikeTwo
)

const (
	votes       = votedBad | votedGood | votedNets | votedClean
	strikeShift = 6
	milli       = 1024 // parts of a nat in state.nats
)

func (s *state) strikes() int { return int(s.flags >> strikeShift) }

func (s *state) setStrikes(n int) {
	s.flags = s.flags&^(strikeOne|strikeTwo) | uint8(n)<<strikeShift
}

// kinds estimates how many different recipients left their bit, from how many
// bits there are (linear counting).
func (s *state) kinds() int {
	if n := bits.OnesCount64(s.bits); n < 63 {
		return int(math.Round(-64 * math.Log(1-float64(n)/64)))
	}
	return 64 * 4
}

// evidence is in nats.
func (s *state) evidence() float64 { return float64(s.nats) / milli }

func (s *state) setEvidence(e float64) { s.nats = int16(e * milli) }

func hourOf(t Time) uint16 { return uint16(t / 3600) }

// vote tells whether the flag is still free in the hour of t, and takes it.
func (s *state) vote(t Time, flag uint8) bool {
	if !s.voted(t, flag) {
		s.flags |= flag
		return true
	}
	return false
}

func (s *state) voted(t Time, flag uint8) bool {
	if h := hourOf(t); s.hour != h {
		s.hour = h
		s.flags &^= votes
	}
	return s.flags&flag != 0
}

// The table is an array of groups. A key hashes to one group and two buckets in
// it, so that one lock and one neighbourhood of memory hold all its sixteen
// places. The keys of a bucket fill one cache line.
const (
	ways       = 8
	groupSize  = 64 // buckets
	groupSlots = groupSize * ways
)

type bucket struct {
	key  [ways]uint64 // 0: empty
	body [ways]state
}

type group [groupSize]bucket

// table maps 64-bit keys to states, in a fixed number of slots.
type table struct {
	groups []group
	locks  []stripe
	mem    memory
	secret uint64
	live   counter
	lost   counter // entries that made room for others
}

// stripe is a lock alone on its cache line.
type stripe struct {
	sync.Mutex
	_ [64 - unsafe.Sizeof(sync.Mutex{})]byte
}

// stripes gives the locks of n groups: a power of two, at most n, and few
// enough to stay in the caches of the processor.
func stripes(n int) []stripe { return make([]stripe, 1<<min(bits.Len(uint(n))-1, 10)) }

func newTable(slots int, secret uint64) (*table, error) {
	n := max((slots+groupSlots-1)/groupSlots, 1)
	mem, err := allocate(n * int(unsafe.Sizeof(group{})))
	if err != nil {
		return nil, err
	}
	return &table{
		groups: unsafe.Slice((*group)(mem.base()), n), mem: mem,
		locks: stripes(n), secret: secret | 1,
	}, nil
}

// mix spreads a key with a secret, so that nobody can aim at a place.
func mix(key, secret uint64) uint64 {
	hi, lo := bits.Mul64(key^secret, 0x9e3779b97f4a7c15^secret>>7)
	hi2, lo2 := bits.Mul64(hi^lo, secret)
	return hi2 ^ lo2
}

// place is where a key may live: its group's lock and its two buckets.
type place struct {
	lock *stripe
	a, b *bucket
}

func (t *table) place(key uint64) place {
	h := mix(key, t.secret)
	hi, lo := bits.Mul64(h, uint64(len(t.groups)))
	g := &t.groups[hi]
	x := int(lo >> 58)
	y := int(lo>>52) & (groupSize - 1)
	if x == y {
		y ^= 1
	}
	return place{&t.locks[hi&uint64(len(t.locks)-1)], &g[x], &g[y]}
}

// find gives the entry of key, or nil. The place is locked by the caller.
func (p place) find(key uint64) *state {
	for i := range p.a.key {
		if p.a.key[i] == key {
			return &p.a.body[i]
		}
	}
	for i := range p.b.key {
		if p.b.key[i] == key {
			return &p.b.body[i]
		}
	}
	return nil
}

// insert gives the new entry of a key that is not there. Where all places are
// taken, the one that is worth least makes room. The place is locked.
func (t *table) insert(p place, key uint64, now Time) *state {
	free := func(b *bucket) (n, first int) {
		first = -1
		for i := ways - 1; i >= 0; i-- {
			if b.key[i] == 0 {
				n++
				first = i
			}
		}
		return n, first
	}
	na, ia := free(p.a)
	nb, ib := free(p.b)
	b, i := p.a, ia
	switch {
	case na == 0 && nb == 0:
		b, i = p.victim(now)
		t.lost.add(1)
	case nb > na:
		b, i = p.b, ib
		t.live.add(1)
	default:
		t.live.add(1)
	}
	b.key[i] = key
	b.body[i] = state{last: now}
	return &b.body[i]
}

// entry gives the entry of key, made where there was none (fresh), under its
// lock, which the caller gives back.
func (t *table) entry(key uint64, now Time) (s *state, l *stripe, fresh bool) {
	p := t.place(key)
	p.lock.Lock()
	if s = p.find(key); s == nil {
		s, fresh = t.insert(p, key, now), true
	}
	return s, p.lock, fresh
}

// victim gives the place whose entry is worth least: by worth, then by age.
func (p place) victim(now Time) (*bucket, int) {
	var least *bucket
	at, worst, oldest := 0, 99, Time(0)
	for _, b := range [2]*bucket{p.a, p.b} {
		for i := range b.body {
			s := &b.body[i]
			w := s.worth(now)
			if w < worst || w == worst && s.last < oldest {
				least, at, worst, oldest = b, i, w, s.last
			}
		}
	}
	return least, at
}

// worth is how much would be lost with an entry. A newcomer that is forgotten
// is gated again: that delays, but answers nothing.
func (s *state) worth(now Time) int {
	switch {
	case s.ham >= provenMessages && s.nats < 0:
		return 6
	case s.pen > now:
		return 5
	case s.flags&(admitted|onParole) != 0 || s.ham > 0:
		return 4
	case s.bits != 0:
		return 3 // evidence, one way or the other
	case s.timeA != 0 && now-s.timeA < holdA:
		return 2 // waits for its retry
	case now-s.last < 3600:
		return 1
	}
	return 0
}

// forEach calls fn for every entry, group by group under its lock.
func (t *table) forEach(fn func(key uint64, s *state)) {
	for g := range t.groups {
		l := &t.locks[g&(len(t.locks)-1)]
		l.Lock()
		for b := range t.groups[g] {
			bk := &t.groups[g][b]
			for i, k := range bk.key {
				if k != 0 {
					fn(k, &bk.body[i])
				}
			}
		}
		l.Unlock()
	}
}

// remove forgets a key and tells whether it was there.
func (t *table) remove(key uint64) bool {
	p := t.place(key)
	p.lock.Lock()
	defer p.lock.Unlock()
	for _, b := range [2]*bucket{p.a, p.b} {
		for i := range b.key {
			if b.key[i] == key {
				b.key[i], b.body[i] = 0, state{}
				t.live.add(-1)
				return true
			}
		}
	}
	return false
}

func (t *table) slots() int { return len(t.groups) * groupSlots }

func (t *table) close() { t.mem.free() }
