// Package inflate reads a DEFLATE stream (RFC 1951) that comes piece by piece,
// as zlib reads it: each octet is given as soon as the bits read tell it. The
// reader of the standard library waits for the end of a sync flush, which a
// client of COMPRESS need not send (RFC 4978, 4): mbsync flushes partially, and
// holds up to seven bits back.
package inflate

import (
	"bufio"
	"errors"
	"io"
)

// ErrCorrupt is returned for what is no DEFLATE stream.
var ErrCorrupt = errors.New("inflate: corrupt stream")

// errShort says that the bits held do not suffice for a step.
var errShort = errors.New("inflate: more input is wanted")

const windowSize = 32 << 10

// Reader decompresses. It takes some 35 KB.
type Reader struct {
	r *bufio.Reader

	held  uint64 // bits read and not used, the next one lowest
	count uint   // how many

	step  func(*Reader) error // what comes next; it uses its bits whole or returns errShort
	final bool                // the block is the last one

	lengths  [maxLiterals + maxDistances]uint8 // of codes, while they are read
	known    int                               // so many of them are
	nLit     int
	nDist    int
	nMeta    int
	meta     code
	literals code
	distance code

	raw    int // octets to come of a stored block
	copied int // octets to come of a copy
	back   int // how far back they are

	window [windowSize]byte
	at     int  // where in window the next octet goes
	full   bool // the window has been filled once

	out []byte // where the caller wants it, what is left of it
	err error
}

// NewReader reads from r. An error of r that is not io.EOF does not end the
// stream: Read may be called again.
func NewReader(r *bufio.Reader) *Reader { return &Reader{r: r, step: (*Reader).block} }

// Read fulfils io.Reader. It waits for input only while it has nothing to give.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.out = p; z.err == nil && len(z.out) > 0; {
		held, count := z.held, z.count
		err := z.step(z)
		switch {
		case err == errShort:
			z.held, z.count = held, count
			if z.r.Buffered() == 0 && len(z.out) < len(p) {
				return len(p) - len(z.out), nil
			}
			if err := z.fill(); err != nil {
				return len(p) - len(z.out), err
			}
		case err != nil:
			z.err = err
		}
	}
	n := len(p) - len(z.out)
	z.out = nil
	if n > 0 {
		return n, nil
	}
	return 0, z.err
}

// fill takes in an octet, and what else is there.
func (z *Reader) fill() error {
	for {
		b, err := z.r.ReadByte()
		if err == io.EOF {
			z.err = io.ErrUnexpectedEOF
			return z.err
		}
		if err != nil {
			return err
		}
		z.held |= uint64(b) << z.count
		z.count += 8
		if z.count > 64-8 || z.r.Buffered() == 0 {
			return nil
		}
	}
}

// take uses n bits, at most 32.
func (z *Reader) take(n uint) (int, error) {
	if z.count < n {
		return 0, errShort
	}
	v := z.held & (1<<n - 1)
	z.held >>= n
	z.count -= n
	return int(v), nil
}

// put gives one octet.
func (z *Reader) put(b byte) {
	z.out[0] = b
	z.out = z.out[1:]
	z.window[z.at] = b
	if z.at++; z.at == windowSize {
		z.at, z.full = 0, true
	}
}

// block reads the head of a block (RFC 1951, 3.2.3).
func (z *Reader) block() error {
	if z.final {
		return io.EOF
	}
	head, err := z.take(3)
	if err != nil {
		return err
	}
	z.final = head&1 == 1
	switch head >> 1 {
	case 0:
		z.held >>= z.count % 8
		z.count -= z.count % 8
		z.step = (*Reader).storedHead
	case 1:
		z.literals, z.distance = fixedLiterals, fixedDistances
		z.step = (*Reader).symbol
	case 2:
		z.step = (*Reader).dynamicHead
	default:
		return ErrCorrupt
	}
	return nil
}

// storedHead reads LEN and NLEN (3.2.4).
func (z *Reader) storedHead() error {
	v, err := z.take(32)
	if err != nil {
		return err
	}
	if v&0xffff != ^v>>16&0xffff {
		return ErrCorrupt
	}
	z.raw = v & 0xffff
	z.step = (*Reader).stored
	return nil
}

func (z *Reader) stored() error {
	if z.raw == 0 {
		z.step = (*Reader).block
		return nil
	}
	b, err := z.take(8)
	if err == nil {
		z.raw--
		z.put(byte(b))
	}
	return err
}

// symbol reads a literal, a length with its distance, or the end of the block
// (3.2.5).
func (z *Reader) symbol() error {
	v, err := z.decode(&z.literals)
	switch {
	case err != nil:
		return err
	case v < endOfBlock:
		z.put(byte(v))
		return nil
	case v == endOfBlock:
		z.step = (*Reader).block
		return nil
	}
	length, err := z.extended(v-endOfBlock-1, lengthBase[:], lengthBits[:])
	if err != nil {
		return err
	}
	v, err = z.decode(&z.distance)
	if err != nil {
		return err
	}
	back, err := z.extended(v, distanceBase[:], distanceBits[:])
	if err != nil {
		return err
	}
	if back > z.at && !z.full {
		return ErrCorrupt
	}
	z.copied, z.back = length, back
	z.step = (*Reader).again
	return nil
}

// extended gives the number that a symbol stands for with the bits behind it.
func (z *Reader) extended(symbol int, base []uint16, bits []uint8) (int, error) {
	if symbol >= len(base) {
		return 0, ErrCorrupt
	}
	more, err := z.take(uint(bits[symbol]))
	return int(base[symbol]) + more, err
}

// again gives what was there before.
func (z *Reader) again() error {
	for ; z.copied > 0 && len(z.out) > 0; z.copied-- {
		z.put(z.window[(z.at-z.back+windowSize)%windowSize])
	}
	if z.copied == 0 {
		z.step = (*Reader).symbol
	}
	return nil
}
