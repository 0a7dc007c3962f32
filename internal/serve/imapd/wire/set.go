package wire

import (
	"slices"
	"strconv"
)

// Star is the number that "*" stands for in a Set: the largest in use.
const Star = 1<<32 - 1

// Range is First to Last, both included. As a client wrote it, First may be
// larger.
type Range struct{ First, Last uint32 }

// Compare orders ranges, of which First is not larger, and numbers: a number is
// equal to the range that it lies in.
func (r Range) Compare(n uint32) int {
	switch {
	case r.Last < n:
		return -1
	case r.First > n:
		return 1
	}
	return 0
}

// Set is a sequence-set (RFC 9051 section 9) as the client wrote it. Saved
// stands for "$", the result of the last SEARCH (RFC 5182); it has no ranges.
type Set struct {
	Ranges []Range
	Saved  bool
}

// maxRanges bounds a set. A client that names single messages stays below it:
// the command would be too long.
const maxRanges = 100_000

// Set reads a sequence-set.
func (d *Decoder) Set() (s Set) {
	if d.Accept('$') {
		return Set{Saved: true}
	}
	for d.err == nil {
		r := Range{First: d.setNumber()}
		r.Last = r.First
		if d.Accept(':') {
			r.Last = d.setNumber()
		}
		s.Ranges = append(s.Ranges, r)
		if len(s.Ranges) > maxRanges {
			d.Fail("Set too large")
		}
		if !d.Accept(',') {
			break
		}
	}
	if d.err != nil {
		return Set{}
	}
	return s
}

func (d *Decoder) setNumber() uint32 {
	if d.Accept('*') {
		return Star
	}
	n := d.Number()
	if n == 0 {
		d.Fail("0 is no message")
	}
	return min(n, Star-1) // no message has the largest number: there must be a UIDNEXT behind it
}

// Normal gives the ranges with "*" as largest, in order and without overlap.
func (s Set) Normal(largest uint32) []Range {
	ranges := slices.Clone(s.Ranges)
	for i, r := range ranges {
		if r.First == Star {
			r.First = largest
		}
		if r.Last == Star {
			r.Last = largest
		}
		ranges[i] = Range{min(r.First, r.Last), max(r.First, r.Last)}
	}
	slices.SortFunc(ranges, func(a, b Range) int { return int(int64(a.First) - int64(b.First)) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && int64(r.First) <= int64(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Max gives the largest number the set names; Star where "*" does.
func (s Set) Max() (n uint32) {
	for _, r := range s.Ranges {
		n = max(n, r.First, r.Last)
	}
	return n
}

// AppendSet writes numbers, which must be in ascending order, as a set.
func AppendSet(b []byte, numbers []uint32) []byte {
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		b = appendRange(b, i > 0, Range{numbers[i], numbers[j]})
		i = j + 1
	}
	return b
}

func appendRange(b []byte, comma bool, r Range) []byte {
	if comma {
		b = append(b, ',')
	}
	b = strconv.AppendUint(b, uint64(r.First), 10)
	if r.Last != r.First {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(r.Last), 10)
	}
	return b
}
