package inflate

// code is what a symbol stands for: base and how many bits are added to it.
type code struct{ base, bits uint16 }

// lengths are those of symbols 257 to 285, distances those of all distance
// symbols (RFC 1951 section 3.2.5).
var (
	lengths   = spread(29, 3, 4, 8)
	distances = spread(30, 1, 2, 4)
)

// spread makes n codes that begin at base; the first zero have no extra bits,
// then each group of the same size has one more.
func spread(n int, base, group, zero int) []code {
	codes := make([]code, n)
	for i := range codes {
		bits := 0
		if i >= zero {
			bits = (i-zero)/group + 1
		}
		codes[i] = code{uint16(base), uint16(bits)}
		base += 1 << bits
	}
	if n == 29 {
		codes[28] = code{longest, 0} // the longest length has a code of its own
	}
	return codes
}

// The codes of blocks that bring none (RFC 1951 section 3.2.6).
var (
	fixedLit  = fixedLengths()
	fixedDist = [30]byte{5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}
)

func fixedLengths() (l [288]byte) {
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	return l
}

const (
	longestCode = 15
	quickBits   = 9
)

// huffman is a canonical code (RFC 1951 section 3.2.2). Codes of up to
// quickBits are found at once, others bit by bit.
type huffman struct {
	count  [longestCode + 1]uint16 // codes of each length
	symbol [288]uint16             // in the order of their codes
	quick  [1 << quickBits]uint16  // symbol and length of the code the bits begin with; 0: none
}

// build makes the code whose symbols have these lengths. It gives false when
// more codes are wanted than there are, or fewer, but for none, and for
// one of one bit, which encoders give alone.
func (h *huffman) build(lengths []byte) bool {
	*h = huffman{}
	for _, l := range lengths {
		h.count[l]++
	}
	used := len(lengths) - int(h.count[0])
	h.count[0] = 0
	left := 1
	var next, first [longestCode + 2]int // place of the first symbol of a length, and its code
	for l := 1; l <= longestCode; l++ {
		left = left<<1 - int(h.count[l])
		if left < 0 {
			return false
		}
		next[l+1] = next[l] + int(h.count[l])
		first[l+1] = (first[l] + int(h.count[l])) << 1
	}
	for sym, l := range lengths {
		if l == 0 {
			continue
		}
		h.symbol[next[l]] = uint16(sym)
		next[l]++
		if l <= quickBits {
			h.fill(uint(first[l]), uint(l), uint16(sym))
		}
		first[l]++
	}
	return left == 0 || used == 0 || used == 1 && h.count[1] == 1
}

// fill enters a code of l bits for all bits that may follow it. Codes come with
// their first bit lowest.
func (h *huffman) fill(c, l uint, sym uint16) {
	var turned uint
	for i := range l {
		turned |= c >> i & 1 << (l - 1 - i)
	}
	for i := turned; i < 1<<quickBits; i += 1 << l {
		h.quick[i] = sym<<4 | uint16(l)
	}
}

// decode reads one symbol, and no octet more than it needs.
func (h *huffman) decode(r *Reader) (int, error) {
	for {
		e := h.quick[r.bits&(1<<quickBits-1)]
		if l := uint(e & 15); l > 0 && l <= r.n {
			r.bits >>= l
			r.n -= l
			return int(e >> 4), nil
		}
		if sym, l := h.slow(r.bits, r.n); l > 0 {
			r.bits >>= l
			r.n -= l
			return sym, nil
		}
		if r.n >= longestCode {
			return 0, ErrCorrupt
		}
		if err := r.fetch(); err != nil {
			return 0, err
		}
	}
}

// slow finds the code that n bits begin with, bit by bit, and its length; 0
// when there is none, or not yet.
func (h *huffman) slow(bits uint32, n uint) (sym int, l uint) {
	var c, first, at int
	for l := uint(1); l <= min(n, longestCode); l++ {
		c |= int(bits & 1)
		bits >>= 1
		if k := int(h.count[l]); c-first < k {
			return int(h.symbol[at+c-first]), l
		}
		at += int(h.count[l])
		first = (first + int(h.count[l])) << 1
		c <<= 1
	}
	return 0, 0
}

// order is that in which the lengths of the code for lengths come (RFC 1951
// section 3.2.7).
var order = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// beginDynamic reads the codes of a block that brings its own.
func (r *Reader) beginDynamic() error {
	counts, err := r.take(14)
	if err != nil {
		return err
	}
	nlit, ndist, ncode := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if nlit > 286 || ndist > 30 {
		return ErrCorrupt
	}
	var own [19]byte
	for _, i := range order[:ncode] {
		v, err := r.take(3)
		if err != nil {
			return err
		}
		own[i] = byte(v)
	}
	if !r.lit.build(own[:]) { // until the real one is known
		return ErrCorrupt
	}
	var all [286 + 30]byte
	if err := r.readLengths(all[:nlit+ndist]); err != nil {
		return err
	}
	if !r.lit.build(all[:nlit]) || !r.dist.build(all[nlit:nlit+ndist]) {
		return ErrCorrupt
	}
	r.state = coded
	return nil
}

// readLengths reads code lengths, which are a code themselves, in r.lit.
func (r *Reader) readLengths(into []byte) error {
	for i := 0; i < len(into); {
		sym, err := r.lit.decode(r)
		if err != nil {
			return err
		}
		if sym < 16 {
			into[i] = byte(sym)
			i++
			continue
		}
		repeat := [3]code{{3, 2}, {3, 3}, {11, 7}}[sym-16]
		k, err := r.extra(repeat)
		if err != nil {
			return err
		}
		var length byte
		if sym == 16 {
			if i == 0 {
				return ErrCorrupt
			}
			length = into[i-1]
		}
		if i+k > len(into) {
			return ErrCorrupt
		}
		for range k {
			into[i] = length
			i++
		}
	}
	return nil
}
