package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// SQLite copies its log into the database by itself every 4000 pages, but
// begins the log anew only when no reader is using it at that moment. Under
// steady reading it would grow for ever, so the writer sees to it.
const (
	largeWAL  = 64 << 20 // octets: readers are held back for a moment
	hugeWAL   = 4 * largeWAL
	quiet     = time.Second     // without writes: the log is emptied
	walEvery  = 5 * time.Second // between two looks at its size
	scarce    = 4 * largeWAL    // octets that are free: it is looked at each time
	shortWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// next waits for the next function to run; ok is false when there will be
// none. A quiet moment is used to empty the log.
func (d *DB) next(c *conn) (w *write, ok bool) {
	if d.dialect == SQLite && d.logged {
		t := time.NewTimer(quiet)
		select {
		case w, ok = <-d.writes:
			t.Stop()
			return w, ok
		case <-t.C:
			d.checkpoint(c, shortWait)
			d.logged = false
		}
	}
	w, ok = <-d.writes
	d.logged = ok
	return w, ok
}

// boundWAL empties the log when it is large, and when it is larger than a
// quarter of what is free on the disk. Emptying it can make the database grow
// by as much: on a disk without room for that it could never be emptied again,
// and nothing be deleted.
func (d *DB) boundWAL(c *conn) {
	if d.dialect != SQLite {
		return
	}
	free := freeOctets(filepath.Dir(d.path))
	if free >= scarce && time.Since(d.looked) < walEvery {
		return
	}
	d.looked = time.Now()
	info, err := os.Stat(d.path + "-wal")
	if err != nil || info.Size() < min(largeWAL, free/4) {
		return
	}
	wait := shortWait
	if info.Size() > hugeWAL {
		wait = longWait
	}
	d.checkpoint(c, wait)
}

// checkpoint empties the log while no reader of this process is at work, if
// they end within wait. When another process reads, it is tried again later.
func (d *DB) checkpoint(c *conn, wait time.Duration) {
	if c == nil || c.broken {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	var held []*conn
	defer func() {
		for _, r := range held {
			d.readers <- r
		}
	}()
	for len(held) < cap(d.readers) {
		select {
		case r := <-d.readers:
			held = append(held, r)
		case <-t.C:
			return
		}
	}
	ctx := context.Background()
	busy := func(ms int64) error {
		_, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", ms))
		return err
	}
	if busy(shortWait.Milliseconds()) != nil {
		return
	}
	// That it could not is seen by the size of the log the next time.
	if _, err := c.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err == nil {
		d.stats.checkpoints.Add(1)
	}
	if busy(busyTimeout.Milliseconds()) != nil {
		c.broken = true
	}
}
