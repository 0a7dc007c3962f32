package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrFull means that the database has no room left on its disk. Nothing was
// done; writing works again as soon as there is room.
var ErrFull = errors.New("database disk full")

// ErrClosed is what Read and Write give after Close.
var ErrClosed = errors.New("database closed")

// ErrUnavailable means that the database server does not answer now. What
// Write was to do was not done, unless the error says that it was its commit
// that failed: then it may have been.
var ErrUnavailable = errors.New("database not reachable")

// explain turns what the drivers say of a full disk into ErrFull, of a lost
// server into ErrUnavailable, and notices when the connection is of no more
// use.
func (c *conn) explain(err error) error {
	if err == nil {
		return nil
	}
	if c.dialect == SQLite {
		return c.explainSQLite(err)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "53100": // disk full
			return fmt.Errorf("%w: %w", ErrFull, err)
		case "0A000", "26000": // its prepared statements are out of date
			c.broken = true
			return err
		case "57P01", "57P02", "57P03", "25006": // it shuts down, starts, or is a standby now
			c.broken = true
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	raw := c.Raw(func(dc any) error {
		if dc.(*stdlib.Conn).Conn().IsClosed() {
			return net.ErrClosed
		}
		return nil
	})
	if raw != nil {
		c.broken = true
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func (c *conn) explainSQLite(err error) error {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return err
	}
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN: // it does not say why
		if noRoom(c.dir) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// noRoom tells whether so little is free on the disk of dir that this must be
// the reason of a failure.
func noRoom(dir string) bool { return freeOctets(dir) < 1<<20 }

// freeOctets is what may still be written to the disk of dir; very much when
// that cannot be told.
func freeOctets(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 1 << 62
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// explainConnect says of a connection that could not be made what it means.
func explainConnect(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// conflict tells whether err is due to another process alone, so that the same
// may work now.
func conflict(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code()&0xff == sqlite3.SQLITE_BUSY
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	return errors.Is(err, driver.ErrBadConn)
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
