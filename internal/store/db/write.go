package db

import (
	"context"
	"fmt"
	"runtime/debug"
)

// write is one function handed to the writer.
type write struct {
	fn     func(*Tx) error
	result chan error
}

// writer is the only goroutine that writes. It ends when writes is closed and
// empty.
func (d *DB) writer(c *conn) {
	defer close(d.done)
	defer func() { c.close() }()
	batch := make([]*write, 0, maxBatch)
	for first := range d.writes {
		batch = append(batch[:0], first)
		batch = d.gather(batch)
		if c = d.healthy(c); c == nil {
			return
		}
		if err := c.commitAll(batch); err != nil {
			for _, w := range batch {
				w.result <- c.commitAll([]*write{w})
			}
			continue
		}
		for _, w := range batch {
			w.result <- nil
		}
	}
}

// gather takes what has been handed in meanwhile, without waiting.
func (d *DB) gather(batch []*write) []*write {
	for len(batch) < maxBatch {
		select {
		case w, ok := <-d.writes:
			if !ok {
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commitAll runs the batch in one transaction and commits it.
func (c *conn) commitAll(batch []*write) (err error) {
	ctx := context.Background()
	if _, err := c.ExecContext(ctx, c.begin); err != nil {
		return explain(fmt.Errorf("begin: %w", err))
	}
	tx := &Tx{ctx: ctx, conn: c}
	for _, w := range batch {
		if err := call(w.fn, tx); err != nil {
			c.rollback(ctx)
			return explain(err)
		}
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil {
		c.rollback(ctx)
		return explain(fmt.Errorf("commit: %w", err))
	}
	for _, f := range tx.after {
		f()
	}
	return nil
}

// call contains a panic of fn: the writer serves everybody.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}
