package blob

import (
	"bytes"
	"context"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// Bounds of what a Near reads, in octets.
const (
	maxNear   = 16 << 10  // a body that is read whole when it is opened
	maxWindow = 128 << 10 // what is read at once
)

// Near opens bodies of which many lie behind one another, as those of a mailbox
// do: it keeps the file of the last segment open and reads on when the next body
// is wanted, more each time. It is for many goroutines and must be closed.
type Near struct {
	disk *Disk

	mu      sync.Mutex
	closed  bool
	segment string
	file    *os.File // of segment; nil: none yet
	at      int64    // where window lies in it
	window  []byte   // never changed: readers have parts of it
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
	n.file, n.window = nil, nil
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

// read gives a body, if it is what was stored. The window may have been read
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
	from := p.offset - n.at
	if from < 0 || from+size > int64(len(n.window)) {
		want := size
		if from >= 0 && from <= int64(len(n.window)) { // it goes on where the window ends
			want = max(size, min(2*int64(len(n.window)), maxWindow))
		}
		window := make([]byte, want)
		got, err := n.file.ReadAt(window, p.offset)
		if err != nil && err != io.EOF {
			return nil, false
		}
		n.at, n.window, from = p.offset, window[:got], 0
	}
	if from+size > int64(len(n.window)) {
		return nil, false
	}
	return n.window[from : from+size], true
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
	n.segment, n.file = segment, file
	return true
}

// whole reads a body that is in memory, and was verified.
type whole struct{ *io.SectionReader }

// Close fulfils io.Closer.
func (whole) Close() error { return nil }
