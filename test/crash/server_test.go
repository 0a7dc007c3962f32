// Package crash proves from outside that 250 means on disk: it runs the migiwa
// binary under load, ends it or what it stands on at random moments, starts it
// again, and counts what is left.
//
// Every client keeps a ledger of what it was told. Afterwards each message
// that was answered with 250 must be in each of its mailboxes exactly once,
// with the same octets; what had no answer may be there once; what was not
// sent must not be there. The queue may send again only what was on its way
// when the process died.
//
// MIGIWA_LONG=1 kills many more times. The tests for full disks need root, to
// mount a small file system, and say so when they cannot run.
package crash

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const domain = "example.test"

// binary builds migiwa once for all tests of the process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "migiwa-crash-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "migiwa")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/migiwa")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); path != "" {
		_ = err // was told to each test
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// long tells whether there is time for many kills.
func long() bool { return os.Getenv("MIGIWA_LONG") == "1" }

// server is one installation and the process that serves it.
type server struct {
	t      testing.TB
	bin    string
	Dir    string
	Config string
	offset int

	cmd   *exec.Cmd
	log   *lockedBuffer // of all processes, one after the other
	ended chan error

	slowest time.Duration // from start to ready
}

// install makes an installation in dir with accounts for users, each with its
// own local part as password. extra is added to its configuration, and may
// name another database.
func install(t testing.TB, dir, extra string, users ...string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, bin: bin, Dir: dir, Config: filepath.Join(dir, "migiwa.toml"), offset: freeOffset(t), log: &lockedBuffer{}}
	s.run("", "quickstart", "--dir", dir, "--domain", domain, "--hostname", "localhost."+domain,
		"--listen", "127.0.0.1", "--port-offset", fmt.Sprint(s.offset))
	text, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Config, append(text, "\n"+extra...), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(extra, "dsn =") {
		s.run("", "domain", "add", domain) // quickstart's own is in SQLite
	}
	for _, u := range users {
		s.run(u+"\n", "account", "add", u+"@"+domain, "--password-stdin")
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
		if t.Failed() {
			t.Logf("the server's log ends with:\n%s", s.log.tail(6000))
		}
	})
	return s
}

// freeOffset finds an offset at which every port that quickstart opens is
// free, and no port is one that the kernel gives to outgoing connections.
func freeOffset(t testing.TB) int {
	t.Helper()
	for range 100 {
		offset := 10300 + rand.IntN(12000)
		free := true
		for _, p := range []int{25, 110, 465, 587, 995, 9125} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p+offset))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free ports")
	return 0
}

// run runs a migiwa command, which must succeed, and gives what it printed.
func (s *server) run(stdin string, args ...string) string {
	s.t.Helper()
	out, code := s.try(stdin, args...)
	if code != 0 {
		s.t.Fatalf("migiwa %s: exit status %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// try runs a migiwa command and gives its output and exit status.
func (s *server) try(stdin string, args ...string) (string, int) {
	s.t.Helper()
	cmd := exec.Command(s.bin, args...)
	cmd.Env = append(os.Environ(), "MIGIWA_CONFIG="+s.Config)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// serve starts the serving process and waits until it is ready.
func (s *server) serve() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "serve", "--config", s.Config)
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended, ready := make(chan error, 1), make(chan bool, 1)
	s.ended = ended
	go func(cmd *exec.Cmd) {
		sc := bufio.NewScanner(stdout)
		ready <- sc.Scan() && sc.Text() == "migiwa ready"
		io.Copy(io.Discard, stdout)
		ended <- cmd.Wait()
		close(ended)
	}(s.cmd)
	select {
	case ok := <-ready:
		if !ok {
			s.cmd = nil
			s.t.Fatalf("migiwa serve did not get ready:\n%s", s.log.tail(4000))
		}
	case <-time.After(30 * time.Second):
		s.t.Fatalf("migiwa serve is not ready after 30 s:\n%s", s.log.tail(4000))
	}
	s.slowest = max(s.slowest, time.Since(start))
}

// kill ends the serving process by SIGKILL. What it wrote stays with the
// kernel: for what a power cut would do, see the tests of the stores.
func (s *server) kill() {
	s.t.Helper()
	s.cmd.Process.Kill()
	err := <-s.ended
	if st, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		s.t.Errorf("migiwa ended by itself before it was killed: %v", err)
	}
	s.cmd = nil
}

// stop ends the serving process by SIGTERM and expects a clean end.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("migiwa serve ended with %v", err)
		}
	case <-time.After(45 * time.Second):
		s.cmd.Process.Kill()
		s.t.Errorf("migiwa serve did not end on SIGTERM")
	}
	s.cmd = nil
}

// addr gives host:port for a standard port.
func (s *server) addr(standard int) string { return fmt.Sprintf("127.0.0.1:%d", standard+s.offset) }

// eventually waits until ok gives true, and fails after the time.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after %v still not: %s", within, what)
}

// lockedBuffer collects what processes write while others read it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// tail gives the last octets, at most n.
func (b *lockedBuffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.buf.Bytes()
	return string(all[max(0, len(all)-n):])
}
