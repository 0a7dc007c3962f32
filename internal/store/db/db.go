// Package db is the one way to the database: SQLite in the data directory, or
// PostgreSQL when the configuration gives its address. Everything above it is
// written once for both; where the dialects differ, the two statements stand
// side by side at the call (Tx.Pick).
//
// # Writing
//
// Write is a group commit. The functions that sessions hand in at the same
// time run one after the other on one connection inside one transaction, and
// the single fsync of its commit makes all of them durable; each Write returns
// only after that. When one of them fails, the batch is rolled back and run
// again with a savepoint around each, so that a failure reaches only whom it
// belongs to and the others still share one fsync. After a conflict with
// another process (SQLITE_BUSY, SQLSTATE 40001, 40P01), or on a connection that
// turns out to be broken before its commit, the batch is run again, too.
//
// A function given to Write may therefore run more than once and must touch
// nothing but its Tx and variables it sets afresh. A failed statement is the
// end of its function: going on after it, and returning nil, is a failure.
//
// # Reading
//
// Read runs on a pool of read-only connections, each time on one snapshot.
//
// # Failures
//
// ErrFull and ErrUnavailable are temporary and end by themselves: connections
// that broke are replaced before their next use, for at most five seconds of
// waiting each time. Only when the connection breaks at the commit itself is it
// unknown whether a batch was done; its functions get ErrUnavailable.
//
// # The files of SQLite
//
// PATH, PATH-wal and PATH-shm have mode 0600. The log is on disk at each commit
// (synchronous=FULL) and is emptied when writing rests for a second, when it
// has grown beyond 64 MiB, and at Close. Nobody may open and close these files
// by other means in the same process: POSIX drops SQLite's locks.
//
// # Conventions
//
// Queries use ? as placeholder on both databases and are constants: each
// connection keeps its prepared statements by query text. Times are Unix
// milliseconds. Truth values are 0 and 1.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// Dialect tells the two databases apart.
type Dialect int

// The two dialects.
const (
	SQLite Dialect = iota
	Postgres
)

const (
	maxBatch   = 256 // functions in one group commit
	queueDepth = 1024

	busyTimeout = 15 * time.Second // for another process's transaction on SQLite
)

// DB is an open database. Its methods may be called from many goroutines.
type DB struct {
	pool    *sql.DB
	dialect Dialect
	path    string // of the SQLite file
	writes  chan *write
	readers chan *conn    // a nil one is to be connected
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has ended
	stats   counters

	// The writer's own.
	logged bool      // something was written since the log was emptied
	looked time.Time // at the log's size

	mu     sync.RWMutex // held for reading while handing to writes
	closed bool
}

// Open opens the database of dsn, "sqlite:PATH" or "postgres://…", and brings
// its schema up to date.
func Open(ctx context.Context, dsn string) (*DB, error) {
	d := &DB{writes: make(chan *write, queueDepth), closing: make(chan struct{}), done: make(chan struct{})}
	driver, source, err := d.parse(dsn)
	if err != nil {
		return nil, err
	}
	if d.pool, err = sql.Open(driver, source); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	n := 2 * runtime.GOMAXPROCS(0)
	d.pool.SetMaxOpenConns(n + 1)
	d.pool.SetMaxIdleConns(n + 1)
	if err := migrate(ctx, d.pool, d.dialect); err != nil {
		d.pool.Close()
		if d.dialect == SQLite && !errors.Is(err, ErrFull) && noRoom(filepath.Dir(d.path)) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return nil, err
	}
	if err := d.start(ctx, n); err != nil {
		d.pool.Close()
		return nil, err
	}
	return d, nil
}

func (d *DB) parse(dsn string) (driver, source string, err error) {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok && path != "" {
		d.dialect, d.path = SQLite, path
		if err := secure(path); err != nil {
			return "", "", fmt.Errorf("open database: %w", err)
		}
		q := url.Values{"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
			"temp_store(MEMORY)", "cache_size(-16000)", "wal_autocheckpoint(4000)",
		}}
		return "sqlite", "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode(), nil
	}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		d.dialect = Postgres
		return "pgx", dsn, nil
	}
	return "", "", fmt.Errorf("open database: %q is neither sqlite:PATH nor postgres://…", dsn)
}

// secure makes the file so that only its owner can read it; SQLite gives its
// other files the same mode. It opens no file that exists.
func secure(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return f.Close()
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(path, 0o600)
	}
	return nil
}

func (d *DB) start(ctx context.Context, readers int) error {
	w, err := d.connect(ctx, false)
	if err != nil {
		return err
	}
	d.readers = make(chan *conn, readers)
	for range readers {
		r, err := d.connect(ctx, true)
		if err != nil {
			return err
		}
		d.readers <- r
	}
	go d.writer(w)
	return nil
}

// Dialect tells which database it is.
func (d *DB) Dialect() Dialect { return d.dialect }

// Close ends the writer after what was handed in, and closes all connections.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.writes)
	close(d.closing)
	d.mu.Unlock()
	<-d.done
	for range cap(d.readers) {
		if r := <-d.readers; r != nil {
			r.close()
		}
	}
	return d.pool.Close()
}

// Read runs fn on a snapshot. fn must not write. When ctx ends, so do the
// waiting for a connection and the statement that is running.
func (d *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	var c *conn
	select {
	case <-d.closing:
		return ErrClosed
	default:
	}
	select {
	case c = <-d.readers:
	case <-d.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { d.readers <- c }()
	for retried := false; ; retried = true {
		var err error
		if c, err = d.healthy(ctx, c, true); err != nil {
			return err
		}
		begun, err := c.read(ctx, fn)
		if begun || !c.broken || retried {
			return err
		}
	}
}

// Write runs fn in a transaction and returns when what it did is on disk, or
// with fn's error when nothing of it was done. See the package comment for
// what fn may do. ctx bounds only the waiting for a place in the queue of the
// writer: once fn is handed in, it will run, and Write tells how that ended.
// On SQLite this takes as long as the disk; on PostgreSQL at most a few
// minutes, when the server hangs.
func (d *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	w := &write{fn: fn, result: make(chan error, 1)}
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return ErrClosed
	}
	select {
	case d.writes <- w:
		d.mu.RUnlock()
	case <-ctx.Done():
		d.mu.RUnlock()
		return ctx.Err()
	}
	return <-w.result
}
