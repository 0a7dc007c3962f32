package digest

import (
	"container/list"
	"context"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Deliveries.
const (
	// epochs are how time is counted: what was delivered in the last but one
	// epoch or before, 8 to 16 hours ago, had time to be reported.
	epochs = 8 * time.Hour
	// keptEpochs is how long deliveries count after the last of them: 30 days.
	keptEpochs = 90
	// nearInboxes is how many of the near fingerprints of a text are counted:
	// enough to know what is delivered widely.
	nearInboxes = 6
	// nearAgree is how many of them must have been.
	nearAgree = 2
)

// inbox counts the accounts that got a fingerprint, by setting one of 256 bits
// for each: good up to some 1,000 accounts, and the same wherever it is counted.
type inbox struct {
	print Print
	epoch int64
	now   [4]uint64 // in epoch
	last  [4]uint64 // in the one before
	old   [4]uint64 // earlier
	place *list.Element
}

func epochOf(t time.Time) int64 { return t.UnixNano() / int64(epochs) }

// at gives b as it is in an epoch.
func (b inbox) at(epoch int64) inbox {
	switch n := epoch - b.epoch; {
	case n <= 0:
		return b
	case n > keptEpochs:
		return inbox{print: b.print, epoch: epoch, place: b.place}
	case n == 1:
		b.old = or(b.old, b.last)
		b.last, b.now = b.now, [4]uint64{}
	default:
		b.old = or(or(b.old, b.last), b.now)
		b.last, b.now = [4]uint64{}, [4]uint64{}
	}
	b.epoch = epoch
	return b
}

// add sets bits of an epoch, which may be past.
func (b *inbox) add(epoch int64, set [4]uint64) {
	*b = b.at(epoch)
	if b.epoch-epoch > keptEpochs {
		return
	}
	switch b.epoch - epoch {
	case 0:
		b.now = or(b.now, set)
	case 1:
		b.last = or(b.last, set)
	default:
		b.old = or(b.old, set)
	}
}

func or(a, b [4]uint64) [4]uint64 {
	for i := range a {
		a[i] |= b[i]
	}
	return a
}

// estimate gives how many accounts set the bits: linear counting.
func estimate(set [4]uint64) int {
	n := 0
	for _, w := range set {
		n += bits.OnesCount64(w)
	}
	zero := max(float64(256-n), 0.5)
	return int(math.Round(-256 * math.Log(zero/256)))
}

// Deliver implements Store.
func (m *Memory) Deliver(_ context.Context, account string, prints []Print) error {
	if account == "" || len(prints) == 0 {
		return nil
	}
	who, _ := m.account(account)
	var set [4]uint64
	set[who>>62] = 1 << (who >> 56 & 63)
	epoch := epochOf(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	for _, g := range groups(prints[:min(len(prints), maxPrints)]) {
		for _, p := range g.prints[:min(len(g.prints), nearInboxes)] {
			m.deliver(p, epoch, set)
			m.log.deliver(p, epoch, set)
		}
	}
	return nil
}

func (m *Memory) deliver(p Print, epoch int64, set [4]uint64) {
	b, ok := m.inboxes[p]
	if ok {
		m.recent.MoveToFront(b.place)
	} else {
		b = &inbox{print: p, epoch: epoch}
		b.place = m.recent.PushFront(b)
		m.inboxes[p] = b
	}
	b.add(epoch, set)
	limit := m.MaxDeliveries
	if limit <= 0 {
		limit = MaxDeliveries
	}
	for len(m.inboxes) > limit {
		delete(m.inboxes, m.recent.Remove(m.recent.Back()).(*inbox).print)
	}
}

// kept estimates how many accounts got a group long enough ago.
func (m *Memory) kept(g group, now time.Time) int {
	epoch := epochOf(now)
	var counts []int
	for _, p := range g.prints[:min(len(g.prints), nearInboxes)] {
		n := 0
		if b, ok := m.inboxes[p]; ok {
			n = estimate(b.at(epoch).old)
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if g.need > 1 && len(counts) >= nearAgree {
		return counts[len(counts)-nearAgree]
	}
	return counts[len(counts)-1]
}
