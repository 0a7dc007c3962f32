package dbtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL server of the tests' own.
type Server struct {
	bin   string // directory of the binaries
	dir   string // everything it owns
	port  int
	creds *syscall.Credential // whom it runs as; nil: ourselves

	leash  io.WriteCloser // the server ends when this is closed
	waited chan error
}

// NewServer starts a PostgreSQL server for one test, which may stop and start
// it, and gives the address of an empty database in it.
func NewServer(t testing.TB) (s *Server, dsn string) {
	t.Helper()
	s, err := start(binaries(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(s.dir)
	})
	if err := s.admin(`CREATE DATABASE test`); err != nil {
		t.Fatal(err)
	}
	return s, s.dsn("test")
}

// binaries finds PostgreSQL, or skips the test, or fails it when peers are
// required.
func binaries(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	const missing = "PostgreSQL's initdb is not installed (Debian: postgresql)"
	if os.Getenv("MIGIWA_REQUIRE_PEERS") == "1" {
		t.Fatal(missing)
	}
	t.Skip("SKIPPED ON POSTGRESQL: " + missing)
	return ""
}

// start makes a server in a new directory and waits until it answers.
func start(bin string) (*Server, error) {
	dir, err := os.MkdirTemp(place(), "migiwa-pg")
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{bin: bin, dir: dir}
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
		"-U", "migiwa", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
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
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("/bin/sh", "-c", watch, filepath.Join(s.bin, "postgres"),
		"-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "max_wal_size=32MB")
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
		if time.Now().After(deadline) || bytes.Contains(said, []byte("could not create any TCP/IP sockets")) {
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
