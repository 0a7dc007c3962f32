package digest

import (
	"math"
	"math/bits"
	"time"
)

// How reporters earn belief.
const (
	newcomer     = 0.2 // weight of one nothing is known of
	youngLimit   = 0.4 // most that one weighs in the first week
	youngFor     = 7 * 24 * time.Hour
	wrongCost    = 4
	recordHalf   = 60 * 24 * time.Hour // half-life of a record
	newAgreeing  = 4                   // others, not seen to agree before, that prove a report right
	provenMet    = 12                  // others that have agreed at some time
	provenRight  = 6                   // right reports for each wrong one
	opposing     = 2                   // others that prove it wrong
	circleFull   = 128                 // of the 256 bits of circle; then it starts anew
	maxReporters = 50_000
)

// reporter is the record of one account.
type reporter struct {
	First, Last  time.Time // reports
	Right, Wrong float64   // as of Last, fading
	Circle       [4]uint64 // a Bloom filter of those who agreed before
	Met          uint64    // how many were put into it
	reports      []*report // kept, oldest first
}

// fade brings the record to now.
func (r *reporter) fade(now time.Time) {
	if r.First.IsZero() {
		r.First, r.Last = now, now
	}
	if now.After(r.Last) {
		f := faded(now.Sub(r.Last), recordHalf)
		r.Right, r.Wrong, r.Last = r.Right*f, r.Wrong*f, now
	}
}

// weight is how much a report of r counts, 0 to 1: 0.2 of a newcomer, 0.73 after
// 5 right ones, 0.9 after 17, 0.77 with 20 right and one wrong, 0.08 of one who
// was wrong the first time.
func (r *reporter) weight(now time.Time) float64 {
	if r == nil || r.First.IsZero() {
		return newcomer
	}
	f := faded(now.Sub(r.Last), recordHalf)
	right, wrong := r.Right*f, r.Wrong*f
	w := (right + 0.5) / (right + wrongCost*wrong + 2.5)
	if now.Sub(r.First) < youngFor {
		w = min(w, youngLimit)
	}
	return w
}

// proven tells whether r proved right before, was seldom wrong, and does not only
// belong to a small circle: 12 others have agreed, and a week has passed.
func (r *reporter) proven(now time.Time) bool {
	return r != nil && r.Met >= provenMet && now.Sub(r.First) >= youngFor && r.Right > provenRight*r.Wrong
}

// strangers counts the others who were not seen to agree before.
func (r *reporter) strangers(others []uint64) int {
	n := 0
	for _, o := range others {
		if r.Circle[o>>62]>>(o>>56&63)&1 == 0 {
			n++
		}
	}
	return n
}

// agreed takes the others into the circle.
func (r *reporter) agreed(others []uint64) {
	r.Met += uint64(r.strangers(others))
	set := 0
	for _, w := range r.Circle {
		set += bits.OnesCount64(w)
	}
	if set > circleFull {
		r.Circle = [4]uint64{}
	}
	for _, o := range others {
		r.Circle[o>>62] |= 1 << (o >> 56 & 63)
	}
}

// faded is what is left after d with a half-life.
func faded(d, half time.Duration) float64 {
	if d <= 0 {
		return 1
	}
	return math.Exp2(-d.Hours() / half.Hours())
}
