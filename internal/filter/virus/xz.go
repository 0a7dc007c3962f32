package virus

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader unpacks a file of type xz. The library's own reader of them takes as
// much memory as the file asks for; this one asks before. Checksums are not
// looked at: what comes out is judged, not used. r should have a buffer.
type xzReader struct {
	r          io.Reader
	dictionary func(size int64) (release func(), err error)

	read    int64 // octets of the stream
	check   int   // length of each block's checksum
	block   io.Reader
	release func()
}

var errXZ = errors.New("not a proper file of type xz")

const xzHeader, xzMagic = 12, "\xfd7zXZ\x00"

// take reads the next n octets.
func (x *xzReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(count{x}, b)
	return b, err
}

// count counts what is read, for the padding of blocks.
type count struct{ x *xzReader }

func (c count) Read(p []byte) (int, error) {
	n, err := c.x.r.Read(p)
	c.x.read += int64(n)
	return n, err
}

func (c count) ReadByte() (byte, error) {
	b, err := c.x.take(1)
	return b[0], err
}

// Read gives what is in all blocks.
func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.Read(p)
		if err == io.EOF {
			x.Close()
			if _, err = x.take(int(-x.read&3) + x.check); err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close gives the memory of the block at hand back.
func (x *xzReader) Close() error {
	if x.block != nil {
		x.block = nil
		x.release()
	}
	return nil
}

// next goes to the next block, be it one of a stream that follows.
func (x *xzReader) next() error {
	if x.read == 0 {
		if err := x.stream(); err != nil {
			return err
		}
	}
	size, err := x.take(1)
	for ; err == nil && size[0] == 0; size, err = x.take(1) {
		if err := x.index(); err != nil {
			return err
		}
		if err := x.stream(); err != nil {
			return err
		}
	}
	if err != nil {
		return errXZ
	}
	h, err := x.take(int(size[0])*4 + 3)
	if err != nil {
		return errXZ
	}
	dictionary, err := xzDictionary(h[:len(h)-4])
	if err != nil {
		return err
	}
	if x.release, err = x.dictionary(dictionary); err != nil {
		return err
	}
	x.block, err = lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}.NewReader2(count{x})
	if err != nil {
		x.release()
		x.block = nil
	}
	return err
}

// stream reads the header of a stream; io.EOF means that there is none.
func (x *xzReader) stream() error {
	first := x.read == 0
	h, err := x.take(4)
	for !first && err == nil && string(h) == "\x00\x00\x00\x00" {
		h, err = x.take(4)
	}
	if err == io.EOF && !first {
		return err
	}
	rest, rerr := x.take(xzHeader - 4)
	if h = append(h, rest...); err != nil || rerr != nil || string(h[:6]) != xzMagic || h[6] != 0 || h[7] > 15 {
		return errXZ
	}
	x.check = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[h[7]]
	return nil
}

// index passes over the index, whose first octet was read, and the footer.
func (x *xzReader) index() error {
	begin := x.read - 1
	n, err := binary.ReadUvarint(count{x})
	for ; err == nil && n > 0; n-- {
		if _, err = binary.ReadUvarint(count{x}); err == nil {
			_, err = binary.ReadUvarint(count{x})
		}
	}
	if err == nil {
		_, err = x.take(int((begin-x.read)&3) + 4 + xzHeader)
	}
	if err != nil {
		return errXZ
	}
	return nil
}

// xzDictionary gives the size of the dictionary from a block's header.
// Filters that change programs before they are packed are let be: they leave
// the beginnings of files, by which these are judged, as they were.
func xzDictionary(h []byte) (int64, error) {
	c := cursor{data: h}
	flags := c.octet()
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			c.multibyte()
		}
	}
	for range flags&3 + 1 {
		id, size := c.multibyte(), c.multibyte()
		properties := c.take(size)
		switch {
		case c.bad:
			return 0, errXZ
		case id == 0x21 && len(properties) == 1:
			return lzma.DecodeDictCap(properties[0])
		case id < 4 || id > 11:
			return 0, errPacking
		}
	}
	return 0, errXZ
}
