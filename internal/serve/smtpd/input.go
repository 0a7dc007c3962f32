package smtpd

import (
	"io"
	"sync"
)

// bigSize is that of a borrowed buffer, in octets.
const bigSize = 32 << 10

var bigBuffers = sync.Pool{New: func() any { return new([bigSize]byte) }}

// input holds what the peer has sent and nobody has read yet. It lives in its
// small buffer and borrows a big one when more is needed, so that a waiting
// connection is cheap. A slice that bytes returns is good until the next fill,
// shrink or release.
type input struct {
	small [512]byte
	big   *[bigSize]byte // nil while small is enough
	r, w  int            // unread octets are buffer[r:w]
	err   error          // the end of the stream, behind what is unread
	total int64          // octets ever read
}

func (in *input) buffer() []byte {
	if in.big != nil {
		return in.big[:]
	}
	return in.small[:]
}

// bytes gives what is unread.
func (in *input) bytes() []byte { return in.buffer()[in.r:in.w] }

// buffered counts what is unread.
func (in *input) buffered() int { return in.w - in.r }

// skip marks n octets as read.
func (in *input) skip(n int) { in.r += n }

// fill reads once from src, behind what is unread. It makes room by sliding
// and by borrowing; io.ErrShortBuffer says that even the big buffer is full.
// Timeouts are not remembered, other errors are.
func (in *input) fill(src io.Reader) error {
	if in.err != nil {
		return in.err
	}
	if in.w == len(in.buffer()) || in.r == in.w {
		in.slide()
	}
	if in.w == len(in.buffer()) {
		if in.big != nil {
			return io.ErrShortBuffer
		}
		in.grow()
	}
	n, err := src.Read(in.buffer()[in.w:])
	in.w += n
	in.total += int64(n)
	if err != nil && !isTimeout(err) {
		in.err = err
	}
	if n > 0 {
		return nil
	}
	return err
}

func (in *input) slide() {
	b := in.buffer()
	in.w = copy(b, b[in.r:in.w])
	in.r = 0
}

// grow borrows the big buffer.
func (in *input) grow() {
	if in.big != nil {
		return
	}
	big := bigBuffers.Get().(*[bigSize]byte)
	in.w = copy(big[:], in.small[in.r:in.w])
	in.r = 0
	in.big = big
}

// shrink gives the big buffer back if what is unread fits the small one.
func (in *input) shrink() {
	if in.big == nil || in.buffered() > len(in.small) {
		return
	}
	in.w = copy(in.small[:], in.big[in.r:in.w])
	in.r = 0
	bigBuffers.Put(in.big)
	in.big = nil
}

// release throws everything unread away and gives the big buffer back.
func (in *input) release() {
	in.r, in.w = 0, 0
	in.shrink()
}
