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
// only after that. When one of them fails, the whole batch is rolled back and
// its members are run again, each in a transaction of its own, so that a
// failure reaches only whom it belongs to. A function given to Write may
// therefore run more than once and must touch nothing but its Tx and
// variables it sets afresh.
//
// # Reading
//
// Read runs on a pool of read-only connections, each time on one snapshot.
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
	"runtime"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"modernc.org/sqlite"               // driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Dialect tells the two databases apart.
type Dialect int

// The two dialects.
const (
	SQLite Dialect = iota
	Postgres
)

// ErrFull means that the database has no room left on its disk.
var ErrFull = errors.New("database disk full")

// ErrClosed is what Read and Write give after Close.
var ErrClosed = errors.New("database closed")

const (
	maxBatch   = 256 // functions in one group commit
	queueDepth = 1024
)

// DB is an open database. Its methods may be called from many goroutines.
type DB struct {
	pool    *sql.DB
	dialect Dialect
	writes  chan *write
	readers chan *conn
	done    chan struct{} // closed when the writer has ended

	mu     sync.RWMutex // held for reading while handing to writes
	closed bool
}

// Open opens the database of dsn, "sqlite:PATH" or "postgres://…", and brings
// its schema up to date.
func Open(ctx context.Context, dsn string) (*DB, error) {
	d := &DB{writes: make(chan *write, queueDepth), done: make(chan struct{})}
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
		d.dialect = SQLite
		q := url.Values{"_pragma": {
			"busy_timeout(15000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
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

func (d *DB) start(ctx context.Context, readers int) error {
	w, err := d.connect(ctx)
	if err != nil {
		return err
	}
	d.readers = make(chan *conn, readers)
	for range readers {
		r, err := d.connect(ctx)
		if err != nil {
			return err
		}
		if d.dialect == SQLite {
			if _, err := r.ExecContext(ctx, "PRAGMA query_only = ON"); err != nil {
				return fmt.Errorf("open database: %w", err)
			}
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
	d.mu.Unlock()
	<-d.done
	for range cap(d.readers) {
		(<-d.readers).close()
	}
	return d.pool.Close()
}

// Read runs fn on a snapshot. fn must not write.
func (d *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	d.mu.RLock()
	closed := d.closed
	d.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	select {
	case c := <-d.readers:
		defer func() { d.readers <- c }()
		return c.read(ctx, fn)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write runs fn in a transaction and returns when what it did is on disk, or
// with fn's error when nothing of it was done. See the package comment for
// what fn may do. Once handed in, it is not cancelled by ctx.
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

// explain turns what the drivers say of a full disk into ErrFull.
func explain(err error) error {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "53100" {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// IsUnique tells whether err says that a row with the same key exists.
func IsUnique(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		c := lite.Code()
		return c == sqlite3.SQLITE_CONSTRAINT_UNIQUE || c == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}
