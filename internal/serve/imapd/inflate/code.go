package inflate

const (
	maxLiterals  = 288
	maxDistances = 32
	maxBits      = 15
	endOfBlock   = 256
)

// What the symbols of lengths and distances stand for (RFC 1951, 3.2.5).
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
		131, 163, 195, 227, 258}
	lengthBits   = [29]uint8{8: 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
		2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceBits = [30]uint8{4: 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	metaOrder    = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// code is a canonical Huffman code (3.2.2): how many codes have each length,
// and their symbols in the order of the codes.
type code struct {
	lengths [maxBits + 1]uint16
	symbols [maxLiterals]uint16
}

// make sets the code whose symbols have these lengths, and tells whether it is
// one: no two codes alike, and none left over but beside a single one.
func (h *code) make(lengths []uint8) bool {
	h.lengths = [maxBits + 1]uint16{}
	for _, n := range lengths {
		h.lengths[n]++
	}
	var first [maxBits + 2]uint16
	left, used := 1, len(lengths)-int(h.lengths[0])
	h.lengths[0] = 0
	for n := 1; n <= maxBits; n++ {
		if left = left*2 - int(h.lengths[n]); left < 0 {
			return false
		}
		first[n+1] = first[n] + h.lengths[n]
	}
	for symbol, n := range lengths {
		if n > 0 {
			h.symbols[first[n]] = uint16(symbol)
			first[n]++
		}
	}
	return left == 0 || used == 0 || used == 1 && h.lengths[1] == 1
}

// decode reads one symbol, bit by bit.
func (z *Reader) decode(h *code) (int, error) {
	value, first, index := 0, 0, 0 // of the codes of a length
	for n := uint(1); n <= maxBits; n++ {
		if n > z.count {
			return 0, errShort
		}
		value |= int(z.held >> (n - 1) & 1)
		same := int(h.lengths[n])
		if value-first < same {
			z.held >>= n
			z.count -= n
			return int(h.symbols[index+value-first]), nil
		}
		index += same
		first = (first + same) << 1
		value <<= 1
	}
	return 0, ErrCorrupt
}

// The codes of blocks that bring none (3.2.6).
var fixedLiterals, fixedDistances = fixed()

func fixed() (literals, distances code) {
	var lengths [maxLiterals]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	literals.make(lengths[:])
	for i := range lengths {
		lengths[i] = 5
	}
	distances.make(lengths[:maxDistances])
	return literals, distances
}

// dynamicHead reads how many codes a block brings (3.2.7).
func (z *Reader) dynamicHead() error {
	v, err := z.take(14)
	if err != nil {
		return err
	}
	z.nLit, z.nDist, z.nMeta = v&31+257, v>>5&31+1, v>>10+4
	if z.nLit > maxLiterals-2 || z.nDist > maxDistances-2 {
		return ErrCorrupt
	}
	z.known = 0
	clear(z.lengths[:])
	z.step = (*Reader).metaLength
	return nil
}

// metaLength reads a length of the code that the lengths of codes have.
func (z *Reader) metaLength() error {
	n, err := z.take(3)
	if err != nil {
		return err
	}
	z.lengths[metaOrder[z.known]] = uint8(n)
	if z.known++; z.known < z.nMeta {
		return nil
	}
	if !z.meta.make(z.lengths[:len(metaOrder)]) {
		return ErrCorrupt
	}
	z.known = 0
	z.step = (*Reader).length
	return nil
}

// length reads the length of a code, or of several alike.
func (z *Reader) length() error {
	v, err := z.decode(&z.meta)
	if err != nil {
		return err
	}
	times, same := 1, uint8(v)
	switch v {
	case 16:
		if z.known == 0 {
			return ErrCorrupt
		}
		times, err = z.take(2)
		times, same = times+3, z.lengths[z.known-1]
	case 17:
		times, err = z.take(3)
		times, same = times+3, 0
	case 18:
		times, err = z.take(7)
		times, same = times+11, 0
	}
	if err != nil {
		return err
	}
	all := z.nLit + z.nDist
	if z.known+times > all {
		return ErrCorrupt
	}
	for range times {
		z.lengths[z.known] = same
		z.known++
	}
	if z.known < all {
		return nil
	}
	if !z.literals.make(z.lengths[:z.nLit]) || !z.distance.make(z.lengths[z.nLit:all]) {
		return ErrCorrupt
	}
	z.step = (*Reader).symbol
	return nil
}
