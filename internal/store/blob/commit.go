package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"time"
)

// segment is a file of small bodies that this process has made.
type segment struct {
	file  *os.File
	name  string
	end   int64 // where the next record goes
	dirty bool  // something was appended since the last sync began
	busy  bool  // a sync is running
	err   error // of the sync that failed: nothing in it is sure any more
}

// append puts a record, whose header is still empty, behind the others. It is
// durable after Sync. Only a reserved one may use the reserve.
func (d *Disk) append(record []byte, reserved bool) (Stored, error) {
	length := int64(len(record) - headerSize)
	sum := crc32.Checksum(record[headerSize:], castagnoli)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return Stored{}, ErrClosed
	}
	if !reserved && d.RoomNow()-int64(len(record)) < d.Reserve {
		return Stored{}, ErrFull
	}
	if d.current != nil && d.current.end >= d.SegmentSize {
		d.seal()
	}
	if d.current == nil {
		err := d.begin()
		if errors.Is(err, fs.ErrNotExist) {
			err = d.begin()
		}
		if err != nil {
			return Stored{}, fmt.Errorf("begin segment: %w", full(err))
		}
	}
	s := d.current
	d.fresh.touch(s.name)
	putHeader(record, s.name, sum, length)
	if _, err := d.put(s.file, record, s.end); err != nil {
		if err = full(err); !errors.Is(err, ErrFull) || s.file.Truncate(s.end) != nil {
			d.seal()
		}
		return Stored{}, fmt.Errorf("append to segment: %w", err)
	}
	at := s.end
	s.end += int64(len(record))
	s.dirty = true
	d.stats.bodies.Add(1)
	d.stats.octets.Add(length)
	return Stored{Ref: place{true, s.name, at, length}.ref(), Size: length}, nil
}

// Sync returns when all bodies that were committed to a segment are on disk.
// When it fails, those that no earlier Sync made durable are lost, and each
// further Sync of that segment says so: the kernel may have dropped pages that
// a second fsync would call safe. A body in a file of its own needs no Sync.
func (d *Disk) Sync(name string) error {
	d.syncing.Lock()
	defer d.syncing.Unlock()
	d.mu.Lock()
	s := d.segments[name]
	switch {
	case d.closed:
		d.mu.Unlock()
		return ErrClosed
	case s == nil: // sealed and synced
		d.mu.Unlock()
		return nil
	case s.err != nil || !s.dirty:
		d.mu.Unlock()
		return s.err
	}
	s.dirty, s.busy = false, true
	d.mu.Unlock()

	start := time.Now()
	err := d.sync(s.file)
	d.stats.syncs.Add(1)
	d.stats.nanos.Add(int64(time.Since(start)))

	d.mu.Lock()
	defer d.mu.Unlock()
	s.busy = false
	if err != nil {
		s.err = fmt.Errorf("sync segment: %w", full(err))
		if d.current == s {
			d.current = nil
		}
		s.file.Close()
		return s.err
	}
	if d.current != s && !s.dirty {
		d.drop(s)
	}
	return nil
}

// begin makes a new segment and locks it for this process. It needs d.mu.
func (d *Disk) begin() error {
	name := newName()
	path := d.path(true, name)
	d.fresh.touch(name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = lock(f, true) // waits at most for another process that looks whether it is taken
	if err == nil {
		_, err = os.Stat(path) // before it was locked, somebody may have taken it for left behind
	}
	if err == nil {
		_, err = f.WriteString(segmentMagic)
	}
	if err == nil {
		err = syncDir(d.path(true, ""))
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return err
	}
	d.current = &segment{file: f, name: name, end: int64(len(segmentMagic))}
	d.segments[name] = d.current
	return nil
}

// seal ends appending to the current segment. If something in it is not on
// disk yet, Sync closes it. It needs d.mu.
func (d *Disk) seal() {
	if s := d.current; !s.dirty && !s.busy {
		d.drop(s)
	}
	d.current = nil
}

// drop closes a segment, which gives its lock back. It needs d.mu.
func (d *Disk) drop(s *segment) {
	s.file.Close() // every body in it has been synced or refused
	delete(d.segments, s.name)
}

// Seal ends appending to the present segment, so that it can be collected
// before it has grown to its size.
func (d *Disk) Seal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	s := d.current
	if s != nil {
		d.seal()
	}
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := d.Sync(s.name); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	return nil
}

// Active gives the segment that this process appends to; ok is false when
// there is none.
func (d *Disk) Active() (s Segment, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return Segment{}, false
	}
	return Segment{d.current.name, d.current.end}, true
}

// holds tells whether a segment is open here, so that nobody can remove it.
func (d *Disk) holds(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.segments[name] != nil
}
