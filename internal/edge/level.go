package edge

import (
	"math"
	"sync/atomic"
)

// counter is a number that many cores change.
type counter struct{ atomic.Int64 }

func (c *counter) add(n int64) { c.Int64.Add(n) }

// parts are the fractions in which a level counts, so that it can be decayed
// without a lock.
const parts = 1 << 16

// level is a pair of decaying counts of a population: sources that lately met
// unknown recipients, and sources that did not.
type level struct {
	bad, good atomic.Int64 // in 1/65536
	last      atomic.Uint32
}

// decay brings l to now, in steps of a minute. Of several cores that notice,
// one does it.
func (l *level) decay(now Time, halfLife, limit float64) {
	last := l.last.Load()
	if uint32(now) <= last+60 && last != 0 || !l.last.CompareAndSwap(last, uint32(now)) {
		return
	}
	f := fade(now, Time(last), halfLife)
	if last == 0 {
		f = 1
	}
	if n := float64(l.bad.Load()+l.good.Load()) / parts * f; n > limit {
		f *= limit / n
	}
	scale(&l.bad, f)
	scale(&l.good, f)
}

// scale multiplies what others may be adding to.
func scale(v *atomic.Int64, f float64) {
	for {
		old := v.Load()
		if v.CompareAndSwap(old, int64(float64(old)*f)) {
			return
		}
	}
}

// share is the share of bad with pseudo counts weight around expected.
func (l *level) share(expected, weight float64) float64 {
	bad, good := l.counts()
	return (bad + weight*expected) / (bad + good + weight)
}

func (l *level) counts() (bad, good float64) {
	return float64(max(l.bad.Load(), 0)) / parts, float64(max(l.good.Load(), 0)) / parts
}

// budget is a store of tokens that fills with time: so many an hour, up to a burst, and
// may be overdrawn down to its negative. It is kept as the time at which it
// would be full again (GCRA), in 1/65536 s, so that one word holds it.
type budget struct{ full atomic.Int64 }

// fill gives the level in tokens at now.
func (b *budget) fill(now Time, perHour, burst float64) float64 {
	behind := float64(b.full.Load()-int64(now)*parts) / parts
	return burst - math.Max(behind, 0)*perHour/3600
}

// take takes n tokens, not below -burst, and tells whether there was a whole
// one before.
func (b *budget) take(now Time, n, perHour, burst float64) bool {
	if perHour <= 0 {
		return false
	}
	cost := int64(n * 3600 / perHour * parts)
	floor := int64(2 * burst * 3600 / perHour * parts)
	for {
		old := b.full.Load()
		start := max(old, int64(now)*parts)
		next := min(start+cost, int64(now)*parts+floor)
		if b.full.CompareAndSwap(old, next) {
			behind := float64(start-int64(now)*parts) / parts
			return burst-behind*perHour/3600 >= 1
		}
	}
}
