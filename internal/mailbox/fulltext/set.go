package fulltext

import (
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// set is a set of UIDs, in pieces of 65,536.
type set map[uint16]*[1024]uint64

func (s set) add(uid uint32) {
	p := s[uint16(uid>>16)]
	if p == nil {
		p = new([1024]uint64)
		s[uint16(uid>>16)] = p
	}
	p[uid>>6&1023] |= 1 << (uid & 63)
}

func (s set) has(uid uint32) bool {
	p := s[uint16(uid>>16)]
	return p != nil && p[uid>>6&1023]&(1<<(uid&63)) != 0
}

func (s set) count() (n int) {
	for _, p := range s {
		for _, w := range p {
			n += bits.OnesCount64(w)
		}
	}
	return n
}

// keep takes out what is not in other.
func (s set) keep(other set) {
	for k, p := range s {
		q := other[k]
		if q == nil {
			delete(s, k)
			continue
		}
		for i := range p {
			p[i] &= q[i]
		}
	}
}

// all gives the members in their order.
func (s set) all() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, k := range slices.Sorted(maps.Keys(s)) {
			for i, w := range s[k] {
				for ; w != 0; w &= w - 1 {
					if !yield(uint32(k)<<16 | uint32(i)<<6 | uint32(bits.TrailingZeros64(w))) {
						return
					}
				}
			}
		}
	}
}
