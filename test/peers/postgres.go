package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// PostgresServer is a running PostgreSQL cluster with fsync on.
type PostgresServer struct {
	guard *exec.Cmd
	end   io.WriteCloser // closing it ends the cluster; a line starts it again
	bin   string         // where its programs are
	dir   string
	port  int
	made  atomic.Int64
}

// shared is the cluster that all tests of a process have in common. initdb
// takes about as long as a small package's tests; a database does not.
var shared = sync.OnceValues(StartPostgres)

// Postgres returns the DSN of a fresh, empty database for a test. All tests of
// the process share one cluster, which ends with the process.
func Postgres(t testing.TB) (dsn string) {
	t.Helper()
	cluster, err := shared()
	// The cluster outlives the test: what started closes is the database.
	db := started(t, "PostgreSQL", &postgresDatabase{cluster: cluster}, err)
	if err := db.create(); err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	return cluster.dsn(db.name)
}

// StartPostgres makes a cluster and starts it. It is ready on return.
func StartPostgres() (*PostgresServer, error) {
	postgres, err := findFile("/usr/lib/postgresql/*/bin/postgres", "/usr/local/pgsql/bin/postgres")
	if err != nil {
		return nil, err
	}
	var as *account // PostgreSQL refuses to run as root
	if os.Geteuid() == 0 {
		a, err := lookupAccount("postgres")
		if err != nil {
			return nil, err
		}
		as = &a
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := newDir("postgres")
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{bin: filepath.Dir(postgres), dir: dir, port: port}
	if err := s.initdb(as); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.start(as); err != nil {
		return nil, err
	}
	return s, s.waitReady()
}

func (s *PostgresServer) initdb(as *account) error {
	if as != nil {
		if err := os.Chown(s.dir, as.uid, as.gid); err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"--username=migiwa", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir = s.dir
	cmd.SysProcAttr = runAs(as)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// guardScript runs a server, again with each line it reads, and, once its
// standard input ends, stops the server and removes its directory. The other end of that input is a pipe
// from this process: however it ends, even by SIGKILL, nothing stays behind.
const guardScript = `
trap '' INT TERM HUP
"$@" >"$DIR/output" 2>&1 </dev/null &
while read -r again; do
	"$@" >>"$DIR/output" 2>&1 </dev/null &
done
kill -QUIT $!
wait $!
rm -rf "$DIR"
`

func (s *PostgresServer) start(as *account) error {
	data := filepath.Join(s.dir, "data")
	s.guard = exec.Command("/bin/sh", "-c", guardScript, "guard",
		filepath.Join(s.bin, "postgres"), "-D", data, "-k", s.dir, "-p", fmt.Sprint(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")
	s.guard.Dir = s.dir
	s.guard.Env = append(os.Environ(), "DIR="+s.dir)
	s.guard.SysProcAttr = runAs(as)
	end, err := s.guard.StdinPipe()
	if err != nil {
		return err
	}
	s.end = end
	return s.guard.Start()
}

func runAs(as *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if as != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	return attr
}

func (s *PostgresServer) waitReady() error {
	var err error
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.exec("SELECT 1"); err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "output"))
	return errors.Join(fmt.Errorf("postgres is not ready: %w\n%s", err, bytes.TrimSpace(log)), s.Close())
}

// exec runs one statement in the cluster's own database, by psql: this package
// is to test database drivers, not to rest on one.
func (s *PostgresServer) exec(statement string) error {
	psql := exec.Command(filepath.Join(s.bin, "psql"), "--no-psqlrc", "--quiet", "--command", statement, s.dsn("postgres"))
	psql.Dir = s.dir
	if out, err := psql.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// NewDatabase makes an empty database and returns its DSN.
func (s *PostgresServer) NewDatabase() (dsn string, err error) {
	db := postgresDatabase{cluster: s}
	if err := db.create(); err != nil {
		return "", err
	}
	return s.dsn(db.name), nil
}

func (s *PostgresServer) dsn(database string) string {
	return fmt.Sprintf("postgres://migiwa@%s/%s?sslmode=disable", loopback(s.port), database)
}

// Kill ends the cluster's first process by SIGKILL, upon which the others end
// themselves, as after a crash. Start starts it again.
func (s *PostgresServer) Kill() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("postmaster.pid says %q", first)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// Start starts the cluster after Kill. It is ready on return.
func (s *PostgresServer) Start() error {
	var err error
	for range 10 { // it refuses while children of the killed one are left
		if _, err = io.WriteString(s.end, "again\n"); err != nil {
			return err
		}
		for range 50 {
			if err = s.exec("SELECT 1"); err == nil {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return fmt.Errorf("postgres did not start again: %w", err)
}

// Close ends the cluster at once, whoever is connected, and removes it.
func (s *PostgresServer) Close() error {
	if err := s.end.Close(); err != nil {
		return err
	}
	// The exit status is that of rm, which must have removed everything but
	// possibly the directory itself: /tmp is not the server's to write.
	err := s.guard.Wait()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// postgresDatabase is one database of a cluster; closing drops it.
type postgresDatabase struct {
	cluster *PostgresServer
	name    string
}

func (d *postgresDatabase) create() error {
	d.name = fmt.Sprintf("migiwa_%d", d.cluster.made.Add(1))
	if err := d.cluster.exec("CREATE DATABASE " + d.name); err != nil {
		return fmt.Errorf("making the database %s: %w", d.name, err)
	}
	return nil
}

func (d *postgresDatabase) Close() error {
	return d.cluster.exec("DROP DATABASE IF EXISTS " + d.name + " WITH (FORCE)")
}
