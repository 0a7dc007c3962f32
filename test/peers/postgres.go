package peers

import (
	"errors"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// PostgresServer is a running PostgreSQL cluster with fsync on: NewDatabase
// makes an empty database, Kill and Start play a crash, Close ends it. The
// store's own tests use the same one without fsync.
type PostgresServer = dbtest.Server

// shared is the cluster that all tests of a process have in common. initdb
// takes about as long as a small package's tests; a database does not.
var shared = sync.OnceValues(StartPostgres)

// Postgres returns the DSN of a fresh, empty database for a test. All tests of
// the process share one cluster, which ends with the process.
func Postgres(t testing.TB) (dsn string) {
	t.Helper()
	cluster, err := shared()
	db := postgresDatabase{cluster: cluster}
	if err == nil {
		db.dsn, err = cluster.NewDatabase()
	}
	// The cluster outlives the test: what started closes is the database.
	return started(t, "PostgreSQL", db, err).dsn
}

// StartPostgres makes a cluster and starts it. It is ready on return.
func StartPostgres() (*PostgresServer, error) {
	s, err := dbtest.StartServer(true)
	if errors.Is(err, dbtest.ErrMissing) {
		err = &MissingError{What: "PostgreSQL"}
	}
	return s, err
}

// postgresDatabase is one database of a cluster; closing drops it.
type postgresDatabase struct {
	cluster *PostgresServer
	dsn     string
}

func (d postgresDatabase) Close() error { return d.cluster.Drop(d.dsn) }
