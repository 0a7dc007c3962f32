package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"
	"time"
)

// commit is a small body on its way to a segment.
type commit struct {
	buf      *[]byte // header, still empty, and body; nil: seal the segment
	reserved bool    // may use the reserve
	result   chan result
}

func (c *commit) size() int64 {
	if c.buf == nil {
		return 0
	}
	return int64(len(*c.buf))
}

type result struct {
	stored Stored
	err    error
}

// hand gives c to the committer.
func (d *Disk) hand(ctx context.Context, c *commit) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return ErrClosed
	}
	select {
	case d.queue <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// committer appends to segments. All of it runs on one goroutine.
type committer struct {
	d     *Disk
	file  *os.File // nil: none yet, or abandoned
	name  string
	end   int64 // where the next record goes
	batch []*commit
	join  []byte // the records of a batch, one after the other
}

// run ends when the queue is closed and empty.
func (c *committer) run() {
	defer close(c.d.done)
	defer c.seal()
	for first := range c.d.queue {
		c.gather(first)
		c.refuse()
		if len(c.batch) == 0 {
			continue
		}
		start := time.Now()
		stored, err := c.store()
		c.d.stats.nanos.Add(int64(time.Since(start)))
		for i, w := range c.batch {
			r := result{err: err}
			if err == nil {
				r.stored = stored[i]
			}
			buffers.Put(w.buf)
			w.result <- r
		}
		clear(c.batch)
	}
}

// refuse answers those of the batch that are not to be stored: all but a few
// when only the reserve is left, and who asked for a seal.
func (c *committer) refuse() {
	full := c.d.room(0) < c.d.Reserve
	keep := c.batch[:0]
	for _, w := range c.batch {
		switch {
		case w.buf == nil:
			c.seal()
			w.result <- result{}
		case full && !w.reserved:
			buffers.Put(w.buf)
			w.result <- result{err: ErrFull}
		default:
			keep = append(keep, w)
		}
	}
	clear(c.batch[len(keep):])
	c.batch = keep
}

// gather takes what else is waiting, without waiting for more.
func (c *committer) gather(first *commit) {
	c.batch = append(c.batch[:0], first)
	for size := first.size(); size < min(maxBatch, c.d.SegmentSize); {
		select {
		case w, ok := <-c.d.queue:
			if !ok {
				return
			}
			c.batch = append(c.batch, w)
			size += w.size()
		default:
			return
		}
	}
}

// store makes the batch durable, or none of it.
func (c *committer) store() ([]Stored, error) {
	if c.file != nil && c.end >= c.d.SegmentSize {
		c.seal()
	}
	if c.file == nil {
		err := c.begin()
		if errors.Is(err, fs.ErrNotExist) {
			err = c.begin()
		}
		if err != nil {
			return nil, fmt.Errorf("begin segment: %w", full(err))
		}
	}
	stored := make([]Stored, len(c.batch))
	at := c.end
	c.join = c.join[:0]
	for i, w := range c.batch {
		record := *w.buf
		length := int64(len(record) - headerSize)
		putHeader(record, c.name, crc32.Checksum(record[headerSize:], castagnoli), length)
		stored[i] = Stored{Ref: place{true, c.name, at, length}.ref(), Size: length}
		at += int64(len(record))
		if len(c.batch) > 1 {
			c.join = append(c.join, record...)
		}
	}
	records := c.join
	if len(c.batch) == 1 {
		records = *c.batch[0].buf
	}
	if err := c.write(records); err != nil {
		return nil, err
	}
	c.end = at
	c.d.active.set(c.name, at)
	s := &c.d.stats
	s.bodies.Add(int64(len(stored)))
	s.octets.Add(int64(len(records) - headerSize*len(stored)))
	s.syncs.Add(1)
	return stored, nil
}

// write puts records at the end and on the disk. What fails leaves the segment
// as it was, or without a committer.
func (c *committer) write(records []byte) error {
	c.d.fresh.touch(c.name)
	if _, err := c.d.put(c.file, records, c.end); err != nil {
		err = full(err)
		if !errors.Is(err, ErrFull) || c.file.Truncate(c.end) != nil {
			c.seal()
		}
		return fmt.Errorf("append to segment: %w", err)
	}
	if err := c.d.sync(c.file); err != nil {
		c.seal()
		return fmt.Errorf("append to segment: %w", full(err))
	}
	return nil
}

// begin makes a new segment and locks it for this process.
func (c *committer) begin() error {
	name := newName()
	path := c.d.path(true, name)
	c.d.fresh.touch(name)
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
		err = syncDir(c.d.path(true, ""))
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return err
	}
	c.file, c.name, c.end = f, name, int64(len(segmentMagic))
	return nil
}

// seal ends appending to the segment. Closing it gives its lock back.
func (c *committer) seal() {
	if c.file != nil {
		c.d.active.set("", 0)
		c.file.Close() // every body in it has been synced or refused
		c.file = nil
	}
}

// active is the segment that is being written, for those who ask.
type active struct {
	mu sync.Mutex
	Segment
}

func (a *active) set(name string, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Segment = Segment{name, size}
}

// Active gives the segment that this process appends to; ok is false when
// there is none.
func (d *Disk) Active() (s Segment, ok bool) {
	d.active.mu.Lock()
	defer d.active.mu.Unlock()
	return d.active.Segment, d.active.Name != ""
}

// Seal ends appending to the present segment, so that it can be collected
// before it has grown to its size.
func (d *Disk) Seal(ctx context.Context) error {
	c := &commit{result: make(chan result, 1)}
	if err := d.hand(ctx, c); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	return (<-c.result).err
}
