package dbtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL server of the tests' own.
type Server struct {
	bin     string // directory of the binaries
	dir     string // everything it owns
	port    int
	creds   *syscall.Credential // whom it runs as; nil: ourselves
	durable bool
	made    atomic.Int64 // databases

	leash  io.WriteCloser // the server ends when this is closed
	waited chan error
}

// ErrMissing means that PostgreSQL is not installed.
var ErrMissing = errors.New("PostgreSQL's initdb is not installed (Debian: postgresql)")

// NewServer starts a PostgreSQL server for one test, which may stop and start
// it, and gives the address of an empty database in it.
func NewServer(t testing.TB) (s *Server, dsn string) {
	t.Helper()
	s, err := StartServer(false)
	demand(t, err)
	t.Cleanup(func() { s.Close() })
	dsn, err = s.NewDatabase()
	demand(t, err)
	return s, dsn
}

// demand fails the test for an error. Where PostgreSQL is missing it skips it,
// unless peers are required.
func demand(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrMissing) && os.Getenv("MIGIWA_REQUIRE_PEERS") != "1":
		t.Skipf("SKIPPED ON POSTGRESQL: %v", err)
	default:
		t.Fatal(err)
	}
}

// binaries finds PostgreSQL.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrMissing
}

// StartServer makes a server in a new directory and waits until it answers.
// A durable one keeps its data on a disk, with fsync and PostgreSQL's own
// settings, as installations do; another is made for speed.
func StartServer(durable bool) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	where := ""
	if !durable {
		where = place()
	}
	dir, err := os.MkdirTemp(where, "migiwa-pg")
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{bin: bin, dir: dir, durable: durable}
	if err := s.initialize(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	for range 3 { // another process may take the port in between
		if s.port, err = freePort(); err == nil {
			err = s.Start()
		}
		if err == nil {
			return s, nil
		}
	}
	os.RemoveAll(dir)
	return nil, err
}

// place gives the directory for temporary files that is fastest: memory where
// it is large enough.
func place() string {
	const memory, enough = "/dev/shm", 1 << 30
	var s syscall.Statfs_t
	if syscall.Statfs(memory, &s) == nil && int64(s.Bavail)*int64(s.Bsize) > enough {
		return memory
	}
	return ""
}

// initialize hands the directory to the server's user and runs initdb.
func (s *Server) initialize() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			if u, err = user.Lookup("nobody"); err != nil {
				return err
			}
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
		s.creds = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	cmd := s.command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"-U", "migiwa", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if !s.durable {
		cmd.Args = append(cmd.Args, "--wal-segsize=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.creds}
	return cmd
}

// watch runs the server until standard input ends, then ends it; when the test
// process is gone, nobody else removes the directory.
const watch = `"$0" "$@" & pid=$!
read line; kill -QUIT $pid; wait $pid
[ "$line" = keep ] || rm -rf "$PWD"`

// Start starts a stopped server and waits until it answers.
func (s *Server) Start() error {
	var err error
	for range 20 {
		if err = s.launch(); !errors.Is(err, errChildren) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// errChildren means that processes of a killed server are still there.
var errChildren = errors.New("processes of the last one still run")

// launch starts the server once.
func (s *Server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("/bin/sh", "-c", watch, filepath.Join(s.bin, "postgres"),
		"-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-c", "max_connections=200")
	if !s.durable {
		cmd.Args = append(cmd.Args, "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_wal_size=32MB")
	}
	cmd.Stdout, cmd.Stderr = log, log
	if s.leash, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.waited = make(chan error, 1)
	go func() { s.waited <- cmd.Wait() }()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if err = s.admin(`SELECT 1`); err == nil {
			return nil
		}
		said, _ := os.ReadFile(log.Name())
		switch {
		case bytes.Contains(said, []byte("still in use")):
			s.Stop()
			return errChildren
		case time.Now().After(deadline), bytes.Contains(said, []byte("could not create any TCP/IP sockets")):
			s.Stop()
			return fmt.Errorf("start PostgreSQL: %w\n%s", err, said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop ends the server at once, as a crash would, and waits for it. Its data
// stay; Start brings it back on the same port.
func (s *Server) Stop() {
	if s.leash == nil {
		return
	}
	io.WriteString(s.leash, "keep\n")
	s.leash.Close()
	<-s.waited
	s.leash = nil
}

// Kill ends the server's first process by SIGKILL, upon which the others end
// themselves. Start brings it back.
func (s *Server) Kill() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("postmaster.pid says %q", first)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	s.Stop() // of the shell that watched it
	return nil
}

// Close ends the server and removes all that is its.
func (s *Server) Close() error {
	s.Stop()
	return os.RemoveAll(s.dir)
}

// NewDatabase makes an empty database, without schema, and gives its address.
func (s *Server) NewDatabase() (dsn string, err error) {
	name := fmt.Sprintf("test%d", s.made.Add(1))
	if err := s.admin(`CREATE DATABASE ` + name); err != nil {
		return "", err
	}
	return s.dsn(name), nil
}

// Drop removes a database that NewDatabase made, whoever is connected.
func (s *Server) Drop(dsn string) error {
	u, err := url.Parse(dsn)
	if err != nil {
		return err
	}
	return s.admin(`DROP DATABASE ` + strings.TrimPrefix(u.Path, "/") + ` WITH (FORCE)`)
}

func (s *Server) dsn(database string) string {
	return fmt.Sprintf("postgres://migiwa@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
