package db

import (
	"sync/atomic"
	"time"
)

// Stats counts since Open.
type Stats struct {
	Batches     int64         // transactions of group commit
	Writes      int64         // functions in them, failed ones too
	Failed      int64         // batches that failed as a whole
	Retries     int64         // batches run once more
	Reconnects  int64         // broken connections replaced
	Checkpoints int64         // of SQLite, beyond those it makes by itself
	Writing     time.Duration // time spent in batches
}

type counters struct {
	batches, writes, failed, retries, reconnects, checkpoints, nanos atomic.Int64
}

func (c *counters) count(writes int, took time.Duration, err error) {
	c.batches.Add(1)
	c.writes.Add(int64(writes))
	c.nanos.Add(int64(took))
	if err != nil {
		c.failed.Add(1)
	}
}

// Stats gives the counters.
func (d *DB) Stats() Stats {
	c := &d.stats
	return Stats{
		Batches: c.batches.Load(), Writes: c.writes.Load(), Failed: c.failed.Load(), Retries: c.retries.Load(),
		Reconnects: c.reconnects.Load(), Checkpoints: c.checkpoints.Load(), Writing: time.Duration(c.nanos.Load()),
	}
}
