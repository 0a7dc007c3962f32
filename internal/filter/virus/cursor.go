package virus

import (
	"encoding/binary"
	"errors"
)

// errPacking means that a file is packed in a way that is not known here.
var errPacking = errors.New("packed in an unknown way")

// cursor reads fields of an archive's directory. Behind the end it gives zeros
// and is bad.
type cursor struct {
	data []byte
	bad  bool
}

// take gives the next n octets.
func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.data)) {
		c.bad, c.data = true, nil
		return nil
	}
	b := c.data[:n:n]
	c.data = c.data[n:]
	return b
}

func (c *cursor) octet() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// multibyte reads a number as xz and RAR 5 write it: seven bits an octet, the
// lowest first.
func (c *cursor) multibyte() uint64 {
	n, length := binary.Uvarint(c.data)
	if length <= 0 {
		c.bad = true
	}
	c.take(uint64(max(length, 0)))
	return n
}
