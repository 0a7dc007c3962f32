package edge

import (
	"math"
	"math/bits"
	"unsafe"
)

// flow is what a source, or the network around it, has lately brought. Each
// limit is one word: how long from `last` it takes until all that was spent is
// forgiven (GCRA), in 1/32768 s.
type flow struct {
	last Time
	open uint16 // sessions; while there are any the entry keeps its place
	idle uint16 // how long from last until nothing is left to forgive, in 4 s
	debt [quantities]uint32
}

const (
	debtShift = 15
	debtMost  = 86400 << debtShift // a day's window
	idleShift = debtShift + 2
)

// cost is a Rate in the terms of a debt.
type cost struct {
	unit  uint64 // debt that `count` are worth together
	count uint64
	most  uint64 // debt that may be had
}

// cost gives what it costs where so many times as much is allowed.
func (r Rate) cost(times int64) cost {
	if r.Count <= 0 || times <= 0 {
		return cost{}
	}
	unit := uint64(r.Seconds) << debtShift
	c := cost{unit: unit, count: uint64(r.Count * times)}
	burst := uint64(max(r.Burst, 1) * times)
	c.most = min(c.debt(burst), debtMost)
	// What is rounded up a piece must not cost the burst its last one.
	c.most += min(burst*c.debt(1)-min(burst*c.debt(1), c.most), 1<<debtShift)
	return c
}

// of gives the debt that n cost, at most all that may be had.
func (c *cost) of(n int64) uint64 {
	if c.count == 0 || n <= 0 {
		return 0
	}
	return min(c.debt(uint64(n)), c.most)
}

// debt rounds up, so that nothing is free; what overflows is too much anyway.
func (c *cost) debt(n uint64) uint64 {
	hi, lo := bits.Mul64(n, c.unit)
	lo, carry := bits.Add64(lo, c.count-1, 0)
	if hi += carry; hi >= c.count {
		return debtMost
	}
	q, _ := bits.Div64(hi, lo, c.count)
	return q
}

// forgive brings an entry to now.
func (f *flow) forgive(now Time) {
	if now <= f.last {
		return
	}
	passed := uint64(now-f.last) << debtShift
	f.last, f.idle = now, 0
	for i, d := range f.debt {
		left := uint64(d) - min(uint64(d), passed)
		f.debt[i] = uint32(left)
		f.idle = max(f.idle, idle(left))
	}
}

// idle gives a debt in the unit of flow.idle, rounded up.
func idle(debt uint64) uint16 { return uint16((debt + 1<<idleShift - 1) >> idleShift) }

// over gives the limit that n more would break; first is that of the first
// rate.
func (f *flow) over(costs *[quantities]cost, what int, n int64, first Limit) Limit {
	for i := what; i < what+2; i++ {
		if c := &costs[i]; c.count > 0 && n > 0 && uint64(f.debt[i])+c.of(n) > c.most {
			return first + Limit(i)
		}
	}
	return Within
}

// spend takes n from both windows. The debt stays within twice of what may be
// had, so that it ends.
func (f *flow) spend(costs *[quantities]cost, what int, n int64) {
	for i := what; i < what+2; i++ {
		if c := &costs[i]; c.count > 0 {
			old := uint64(f.debt[i])
			debt := max(old, min(old+c.of(n), c.most+c.most/2))
			f.debt[i] = uint32(debt)
			f.idle = max(f.idle, idle(debt))
		}
	}
}

// take spends n unless a limit forbids it.
func (f *flow) take(costs *[quantities]cost, what int, n int64, first Limit) Limit {
	l := f.over(costs, what, n, first)
	if l == Within {
		f.spend(costs, what, n)
	}
	return l
}

// full tells whether there are as many sessions as may be; 0 is no limit but
// what can be counted.
func (f *flow) full(sessions int64) bool {
	return sessions > 0 && int64(f.open) >= sessions || f.open == math.MaxUint16
}

// left is how long it takes from now until nothing would be forgotten with the
// entry, in seconds.
func (f *flow) left(now Time) Time {
	left := Time(f.idle) << (idleShift - debtShift)
	if now <= f.last {
		return left
	}
	return left - min(left, now-f.last)
}

// The table is built as that of states is (table.go): groups of buckets of
// eight, a key has two buckets to live in. A network and all its sources share
// a group, so that one lock holds both.
type flowBucket struct {
	key  [ways]uint64 // 0: empty
	body [ways]flow
}

type flowBuckets [groupSize]flowBucket

type flowTable struct {
	groups []flowBuckets
	locks  []stripe
	mem    memory
	secret uint64
	live   counter
	lost   counter // entries with a debt that made room for others
}

func newFlowTable(slots int, secret uint64) (*flowTable, error) {
	n := max((slots+groupSlots-1)/groupSlots, 1)
	mem, err := allocate(n * int(unsafe.Sizeof(flowBuckets{})))
	if err != nil {
		return nil, err
	}
	return &flowTable{groups: unsafe.Slice((*flowBuckets)(mem.base()), n), mem: mem,
		locks: stripes(n), secret: secret | 1}, nil
}

func (t *flowTable) close() { t.mem.free() }

// flowGroup is where a source and its network live.
type flowGroup struct {
	table   *flowTable
	lock    *stripe
	buckets *flowBuckets
}

func (t *flowTable) group(s Source) flowGroup {
	i, _ := bits.Mul64(mix(s.narrow, t.secret), uint64(len(t.groups)))
	return flowGroup{t, &t.locks[i%uint64(len(t.locks))], &t.groups[i]}
}

// pair gives the two buckets of a key.
func (g flowGroup) pair(key uint64) [2]*flowBucket {
	h := mix(key, g.table.secret^0xd6e8feb86659fd93)
	x, y := h>>58, h>>52&(groupSize-1)
	if x == y {
		y ^= 1
	}
	return [2]*flowBucket{&g.buckets[x], &g.buckets[y]}
}

// find gives the entry of a key, or nil. The group is locked by the caller,
// here and below.
func (g flowGroup) find(key uint64) *flow {
	for _, b := range g.pair(key) {
		for i, k := range b.key {
			if k == key {
				return &b.body[i]
			}
		}
	}
	return nil
}

// entry gives the entry of a key at now, a new one where there is none; nil
// when all its places have open sessions.
func (g flowGroup) entry(key uint64, now Time) *flow {
	f := g.find(key)
	if f == nil {
		return g.insert(key, now)
	}
	f.forgive(now)
	return f
}

// insert takes an empty place, in the bucket that has more of them, or that of
// the entry that is idle soonest.
func (g flowGroup) insert(key uint64, now Time) *flow {
	var best *flowBucket
	at, empty, soonest := 0, 0, never
	for _, b := range g.pair(key) {
		n, first := b.empty()
		switch {
		case n > empty:
			best, at, empty = b, first, n
		case empty == 0:
			if i, left := b.idlest(now); left < soonest {
				best, at, soonest = b, i, left
			}
		}
	}
	switch {
	case best == nil:
		return nil
	case empty > 0:
		g.table.live.add(1)
	case soonest > 0:
		g.table.lost.add(1)
	}
	best.key[at] = key
	best.body[at] = flow{last: now}
	return &best.body[at]
}

// empty gives how many places are, and one of them.
func (b *flowBucket) empty() (n, one int) {
	for i, k := range b.key {
		if k == 0 {
			n, one = n+1, i
		}
	}
	return n, one
}

// never is later than any entry is idle.
const never = ^Time(0)

// idlest gives the entry without sessions that is idle soonest, and when: never
// when there is none.
func (b *flowBucket) idlest(now Time) (at int, left Time) {
	left = never
	for i := range b.body {
		if f := &b.body[i]; f.open == 0 {
			if l := f.left(now); l < left {
				at, left = i, l
			}
		}
	}
	return at, left
}

// both gives the entries of a source and, unless it is trusted, of its network.
// Either may be nil.
func (g flowGroup) both(s Source, trusted bool, now Time) (own, net *flow) {
	own = g.entry(s.key, now)
	if own == nil || trusted {
		return own, nil
	}
	own.open++ // keeps its place
	net = g.entry(s.narrow, now)
	own.open--
	return own, net
}

// leave ends a session. The entry is there, since it had one.
func (g flowGroup) leave(key uint64) {
	if f := g.find(key); f != nil && f.open > 0 {
		f.open--
	}
}
