// Package dbtest runs the tests of a store on both databases: SQLite in a
// temporary directory, and a real PostgreSQL server that it starts from the
// binaries of the system's package.
//
//	func TestThing(t *testing.T) {
//		dbtest.Run(t, func(t *testing.T, d *db.DB) { … })
//	}
//
// One PostgreSQL server serves a test process; every call gets a fresh, empty
// database in it with the schema up to date. The server writes without fsync,
// listens on loopback and on a Unix socket in its own temporary directory, and
// runs as user postgres or nobody when the tests run as root. It needs no
// TestMain: a shell watches a pipe from the test process, and when that ends,
// in whatever way, stops the server and removes the directory.
//
// Without PostgreSQL's binaries the half of it is skipped; with
// MIGIWA_REQUIRE_PEERS=1 in the environment it fails instead.
package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Run runs fn as two subtests, "sqlite" and "postgres", each with an empty
// database that is closed at the end.
func Run(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// SQLite gives an empty SQLite database.
func SQLite(t testing.TB) *db.DB {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
}

// Postgres gives an empty database on the PostgreSQL server of this process.
func Postgres(t testing.TB) *db.DB {
	t.Helper()
	return open(t, PostgresDSN(t))
}

func open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return d
}

// shared is the server that all tests of a process have in common.
var shared = sync.OnceValues(func() (*Server, error) { return StartServer(false) })

// PostgresDSN makes an empty database, without schema, on the PostgreSQL
// server of this process and gives its address. It is dropped at the end.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	s, err := shared()
	demand(t, err)
	dsn, err := s.NewDatabase()
	demand(t, err)
	t.Cleanup(func() {
		if err := s.Drop(dsn); err != nil {
			t.Logf("drop test database: %v", err)
		}
	})
	return dsn
}

// admin runs a statement in the server's own database.
func (s *Server) admin(statement string) error {
	pool, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
