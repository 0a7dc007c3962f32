package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"time"
)

// write is one function handed to the writer.
type write struct {
	fn     func(*Tx) error
	err    error // of fn, when the others of the batch were committed
	result chan error
}

const (
	maxAttempts    = 6                // of one batch
	batchTimeout   = 60 * time.Second // of one attempt on PostgreSQL
	connectTimeout = 5 * time.Second
)

// writer is the only goroutine that writes. It ends when writes is closed and
// empty.
func (d *DB) writer(c *conn) {
	defer close(d.done)
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	batch := make([]*write, 0, maxBatch)
	for {
		first, ok := d.next(c)
		if !ok {
			return
		}
		batch = d.gather(append(batch[:0], first))
		start := time.Now()
		var err error
		c, err = d.commit(c, batch)
		d.stats.count(len(batch), time.Since(start), err)
		for _, w := range batch {
			if err != nil {
				w.err = err
			}
			w.result <- w.err
		}
		clear(batch)
		d.boundWAL(c)
	}
}

// gather takes what has been handed in meanwhile, without waiting; those who
// are just about to hand something in are let ahead.
func (d *DB) gather(batch []*write) []*write {
	runtime.Gosched()
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

// errUncertain marks a failure of COMMIT itself: it may have been done.
var errUncertain = errors.New("commit")

// commit makes the batch durable but for the functions that fail, whose write
// gets err. The error it gives is that of all. What it knows not to have been
// done it tries again: at first as it is, then, when a function fails, with a
// savepoint around each.
func (d *DB) commit(c *conn, batch []*write) (_ *conn, err error) {
	careful := false
	for attempt := range maxAttempts {
		if c, err = d.healthy(context.Background(), c, false); err != nil {
			return nil, err
		}
		failed, err := c.commitAll(batch, careful)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, errUncertain) && c.broken:
			return c, err
		case attempt == maxAttempts-1:
			return c, err
		case c.broken:
		case errors.Is(err, ErrFull) && attempt == 0:
			d.checkpoint(c, shortWait) // what the log gives back may be enough
		case conflict(err):
			time.Sleep(time.Duration(1+rand.IntN(10<<attempt)) * time.Millisecond)
		case failed && !careful && len(batch) > 1:
			careful = true
		default:
			return c, err
		}
		d.stats.retries.Add(1)
	}
	return c, err
}

// commitAll runs the batch in one transaction and commits it. failed tells
// that it was one of the functions that failed.
func (c *conn) commitAll(batch []*write, careful bool) (failed bool, err error) {
	ctx := context.Background()
	if c.dialect == Postgres { // a server that hangs must not hang us for ever
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, batchTimeout)
		defer cancel()
	}
	if err := c.begin(ctx); err != nil {
		return false, err
	}
	before := map[string]chan error{} // by name, what BeforeCommit has begun
	var after []func()
	for _, w := range batch {
		tx := &Tx{ctx: ctx, conn: c, before: before}
		w.err = nil
		if careful {
			err = c.runCareful(w, tx)
		} else {
			err = c.run(w.fn, tx)
		}
		if err != nil {
			c.rollback()
			return true, err
		}
		if w.err == nil {
			after = append(after, tx.after...)
		}
	}
	for _, done := range before {
		if err := <-done; err != nil {
			c.rollback()
			return false, fmt.Errorf("before commit: %w", err)
		}
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil {
		err = c.explain(fmt.Errorf("%w: %w", errUncertain, err))
		c.rollback()
		return false, err
	}
	for _, f := range after {
		f()
	}
	return false, nil
}

// run runs one function. One that goes on after a failed statement has failed:
// PostgreSQL would roll back, and what it does on SQLite must not differ.
func (c *conn) run(fn func(*Tx) error, tx *Tx) error {
	err := call(fn, tx)
	if err == nil && tx.failed != nil {
		err = fmt.Errorf("transaction went on after a failed statement: %w", tx.failed)
	}
	if err == nil && c.aborted() {
		err = errors.New("transaction went on after a failed statement")
	}
	return c.explain(err)
}

// runCareful runs one function so that its failure is its own: w.err. The
// error it gives is one that ends the whole transaction.
func (c *conn) runCareful(w *write, tx *Tx) error {
	if _, err := c.ExecContext(tx.ctx, "SAVEPOINT one"); err != nil {
		return c.explain(fmt.Errorf("savepoint: %w", err))
	}
	end := "RELEASE SAVEPOINT one"
	if w.err = c.run(w.fn, tx); w.err != nil {
		if c.broken || conflict(w.err) || errors.Is(w.err, ErrFull) {
			return w.err
		}
		end = "ROLLBACK TO SAVEPOINT one"
	}
	if _, err := c.ExecContext(tx.ctx, end); err != nil {
		return c.explain(fmt.Errorf("savepoint: %w", errors.Join(err, w.err)))
	}
	return nil
}

// call contains a panic of fn: the writer serves everybody. It closes what fn
// left open; afterwards tx is of no use.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in transaction: %v\n%s", p, debug.Stack())
		}
		if tx.rows != nil {
			tx.rows.Close()
		}
		tx.conn = nil
	}()
	return fn(tx)
}
