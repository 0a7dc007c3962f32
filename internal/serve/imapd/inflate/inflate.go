// Package inflate reads DEFLATE (RFC 1951) from a peer that talks: what has come
// is handed out, whether or not the sender has ended a block or flushed on an
// octet. The standard library's reader holds octets back until a block of no
// octets comes (Z_SYNC_FLUSH) or its window is full; clients that flush with
// less (Z_PARTIAL_FLUSH) would wait for an answer for ever.
//
// A Reader takes 36 KB, most of it the window. It is no faster than commands
// need: some tens of megabytes a second.
package inflate

import (
	"bufio"
	"errors"
	"io"
)

// ErrCorrupt is given for what is no DEFLATE.
var ErrCorrupt = errors.New("inflate: corrupt data")

const (
	windowSize = 1 << 15
	longest    = 258 // octets of one match
)

// What is being read.
const (
	header = iota // of a block
	stored        // octets as they are
	coded         // Huffman codes
	ended
)

// Reader is one stream. It is used by one goroutine.
type Reader struct {
	in     *bufio.Reader
	bits   uint32 // the low n bits came and are not used
	n      uint
	state  int
	last   bool // no block comes behind this one
	left   int  // octets of a stored block
	lit    huffman
	dist   huffman
	window [windowSize]byte
	wrote  uint64 // octets put into the window
	read   uint64 // octets handed out
	err    error
}

// NewReader reads from in, and never further than it must.
func NewReader(in *bufio.Reader) *Reader { return &Reader{in: in} }

// Read gives what can be decoded of what has come; it waits only when that is
// nothing. At the end of the stream it gives io.EOF, after an error of in that.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && r.wrote-r.read < windowSize-longest && (r.wrote == r.read || r.ready()) {
		r.err = r.step()
	}
	if r.wrote == r.read {
		return 0, r.err
	}
	at := r.read % windowSize
	k := copy(p, r.window[at:min(windowSize, at+r.wrote-r.read)])
	r.read += uint64(k)
	return k, nil
}

// ready tells whether a step is sure not to wait for the peer.
func (r *Reader) ready() bool {
	switch r.state {
	case ended:
		return false
	case header:
		return r.in.Buffered() >= 512 // more than any header takes
	}
	return r.in.Buffered() >= 8
}

// step reads a header, a symbol or an octet.
func (r *Reader) step() error {
	switch r.state {
	case stored:
		return r.copyStored()
	case coded:
		return r.symbol()
	case ended:
		return io.EOF
	}
	return r.block()
}

// take gives the next n bits, at most 16.
func (r *Reader) take(n uint) (uint32, error) {
	for r.n < n {
		if err := r.fetch(); err != nil {
			return 0, err
		}
	}
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.n -= n
	return v, nil
}

func (r *Reader) fetch() error {
	b, err := r.in.ReadByte()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.bits |= uint32(b) << r.n
	r.n += 8
	return nil
}

// block reads the header of a block (RFC 1951 section 3.2.3).
func (r *Reader) block() error {
	if r.last {
		r.state = ended
		return io.EOF
	}
	h, err := r.take(3)
	if err != nil {
		return err
	}
	r.last = h&1 != 0
	switch h >> 1 {
	case 0:
		return r.beginStored()
	case 1:
		r.lit.build(fixedLit[:])
		r.dist.build(fixedDist[:])
		r.state = coded
		return nil
	case 2:
		return r.beginDynamic()
	}
	return ErrCorrupt
}

func (r *Reader) beginStored() error {
	r.bits >>= r.n % 8
	r.n -= r.n % 8
	size, err := r.take(16)
	if err != nil {
		return err
	}
	check, err := r.take(16)
	if err != nil {
		return err
	}
	if size != ^check&0xffff {
		return ErrCorrupt
	}
	r.left, r.state = int(size), stored
	return nil
}

func (r *Reader) copyStored() error {
	if r.left == 0 {
		r.state = header
		return nil
	}
	b, err := r.take(8)
	if err != nil {
		return err
	}
	r.put(byte(b))
	r.left--
	return nil
}

func (r *Reader) put(b byte) {
	r.window[r.wrote%windowSize] = b
	r.wrote++
}

// symbol decodes a literal, a match or the end of a block (RFC 1951 section
// 3.2.5).
func (r *Reader) symbol() error {
	sym, err := r.lit.decode(r)
	switch {
	case err != nil:
		return err
	case sym < 256:
		r.put(byte(sym))
		return nil
	case sym == 256:
		r.state = header
		return nil
	case sym > 285:
		return ErrCorrupt
	}
	length, err := r.extra(lengths[sym-257])
	if err != nil {
		return err
	}
	if sym, err = r.dist.decode(r); err != nil {
		return err
	}
	if sym > 29 {
		return ErrCorrupt
	}
	distance, err := r.extra(distances[sym])
	if err != nil {
		return err
	}
	if uint64(distance) > min(r.wrote, windowSize) {
		return ErrCorrupt
	}
	for range length {
		r.put(r.window[(r.wrote-uint64(distance))%windowSize])
	}
	return nil
}

// extra gives a base with the bits that follow a symbol added.
func (r *Reader) extra(c code) (int, error) {
	v, err := r.take(uint(c.bits))
	return int(c.base) + int(v), err
}
