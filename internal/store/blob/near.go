package blob

import (
	"bytes"
	"context"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// What a Near reads, in octets.
const (
	maxNear   = 16 << 10 // a body that is read whole when it is opened
	blockSize = 64 << 10 // what is read at once, and the end of the last record
	maxBlock  = blockSize + headerSize + maxNear
	blocks    = 4 // of them that are kept
)

// Near opens bodies of which many lie near one another, as those of a mailbox
// do: it keeps the file of the last segment open and reads it block by block,
// as soon as a body is wanted that is not far from the last. It keeps some
// blocks, as mail that comes in side by side is in no strict order. It is for
// many goroutines and must be closed; up to then a segment that was deleted may
// keep its room on the disk.
type Near struct {
	disk *Disk

	mu      sync.Mutex
	closed  bool
	segment string
	file    *os.File      // of segment; nil: none yet
	last    int64         // where the last record was
	kept    [blocks]block // the last one read first
}

// block is a part of a segment. It never changes: readers have parts of it.
type block struct {
	at     int64
	octets []byte
}

// record gives size octets at a place in the segment, if they are in the block.
func (b *block) record(at, size int64) ([]byte, bool) {
	if at -= b.at; at < 0 || at+size > int64(len(b.octets)) {
		return nil, false
	}
	return b.octets[at : at+size], true
}

// Near begins to read bodies.
func (d *Disk) Near() *Near { return &Near{disk: d} }

// Close ends reading on. What was opened can still be read.
func (n *Near) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.leave()
}

// leave needs n.mu.
func (n *Near) leave() {
	if n.file != nil {
		n.file.Close()
	}
	n.file, n.kept = nil, [blocks]block{}
}

// Open is Open of the Disk.
func (n *Near) Open(ctx context.Context, ref Ref) (Reader, error) {
	p, err := parseRef(ref)
	if err == nil && p.segment && p.length <= maxNear {
		if body, ok := n.read(p); ok {
			return whole{io.NewSectionReader(bytes.NewReader(body), 0, p.length)}, nil
		}
	}
	return n.disk.Open(ctx, ref)
}

// read gives a body, if it is what was stored. The block may have been read
// before the body was written.
func (n *Near) read(p place) ([]byte, bool) {
	record, ok := n.record(p)
	if !ok {
		return nil, false
	}
	sum, length, ok := parseHeader(record, p.name)
	body := record[headerSize:]
	return body, ok && length == p.length && crc32.Checksum(body, castagnoli) == sum
}

func (n *Near) record(p place) ([]byte, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.enter(p.name) {
		return nil, false
	}
	size := headerSize + p.length
	far := max(p.offset-n.last, n.last-p.offset) > blockSize
	n.last = p.offset
	for i := range n.kept {
		if record, ok := n.kept[i].record(p.offset, size); ok {
			return record, true
		}
	}
	b := block{at: p.offset, octets: make([]byte, size)}
	if !far {
		b = block{at: p.offset - p.offset%blockSize, octets: make([]byte, maxBlock)}
	}
	got, err := n.file.ReadAt(b.octets, b.at)
	if err != nil && err != io.EOF {
		return nil, false
	}
	if b.octets = b.octets[:got]; !far {
		copy(n.kept[1:], n.kept[:])
		n.kept[0] = b
	}
	return b.record(p.offset, size)
}

// enter opens a segment. It needs n.mu.
func (n *Near) enter(segment string) bool {
	if n.closed || n.file != nil && n.segment == segment {
		return !n.closed
	}
	n.leave()
	file, err := os.Open(n.disk.path(true, segment))
	if err != nil {
		return false
	}
	n.segment, n.file, n.last = segment, file, -2*blockSize
	return true
}

// whole reads a body that is in memory, and was verified.
type whole struct{ *io.SectionReader }

// Close fulfils io.Closer.
func (whole) Close() error { return nil }
