package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"
)

// commit is a small body on its way to a segment.
type commit struct {
	buf    *[]byte // header, still empty, and body
	result chan result
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

// gather takes what else is waiting, without waiting for more.
func (c *committer) gather(first *commit) {
	c.batch = append(c.batch[:0], first)
	for size := len(*first.buf); size < maxBatch; {
		select {
		case w, ok := <-c.d.queue:
			if !ok {
				return
			}
			c.batch = append(c.batch, w)
			size += len(*w.buf)
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
		if err := c.begin(); err != nil {
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
		c.file.Close() // every body in it has been synced or refused
		c.file = nil
	}
}
