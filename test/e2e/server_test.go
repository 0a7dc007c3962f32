// Package e2e runs the migiwa binary as its users do: by its command line and
// with the clients and servers of others.
package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const domain = "example.test"

// program builds migiwa once for all tests of the process.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "migiwa-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "migiwa")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/migiwa")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if common.s != nil {
		if err := common.s.end(); err != nil {
			fmt.Fprintln(os.Stderr, "the common installation:", err)
			code = 1
		}
		os.RemoveAll(filepath.Dir(common.s.Dir))
	}
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// common is an installation that tests share which need nothing special of it
// but accounts of their own.
var common struct {
	once sync.Once
	s    *server
}

// shared gives the common installation to a test that runs beside others.
func shared(t *testing.T, users ...string) *server {
	t.Helper()
	t.Parallel()
	common.once.Do(func() {
		dir, err := os.MkdirTemp("", "migiwa-e2e-common-")
		if err != nil {
			t.Fatal(err)
		}
		s := installIn(t, filepath.Join(dir, "node"), "[queue]\nretry_first = \"1s\"\n")
		s.serveOn()
		common.s = s
	})
	if common.s == nil {
		t.Fatal("the common installation did not start")
	}
	s := common.s.in(t)
	s.add(users...)
	return s
}

// in gives the server to another test, which does not end it.
func (s *server) in(t testing.TB) *server {
	other := *s
	other.t = t
	return &other
}

// add adds accounts, each with its own local part as password.
func (s *server) add(users ...string) {
	s.t.Helper()
	for _, u := range users {
		s.run(u+"\n", "account", "add", u+"@"+domain, "--password-stdin")
	}
}

// server is one installation and the process that serves it.
type server struct {
	t      testing.TB
	bin    string
	Dir    string
	Config string
	offset int
	cmd    *exec.Cmd
	log    *syncBuffer
	ended  chan error
}

// install makes an installation on free ports of the loopback interface. extra
// is added to its configuration.
func install(t testing.TB, extra string, more ...string) *server {
	t.Helper()
	return installIn(t, filepath.Join(t.TempDir(), "node"), extra, more...)
}

func installIn(t testing.TB, dir, extra string, more ...string) *server {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, bin: bin, Dir: dir, Config: filepath.Join(dir, "migiwa.toml"), offset: freeOffset(t)}
	args := []string{"quickstart", "--dir", dir, "--domain", domain, "--hostname", "localhost." + domain,
		"--listen", "127.0.0.1", "--port-offset", fmt.Sprint(s.offset)}
	s.run("", append(args, more...)...)
	s.configure(extra)
	return s
}

// configure adds lines to the configuration.
func (s *server) configure(extra string) {
	s.t.Helper()
	text, err := os.ReadFile(s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.Config, append(text, "\n"+extra...), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start installs, adds the accounts, each with its own local part as password,
// and serves.
func start(t testing.TB, extra string, users ...string) *server {
	t.Helper()
	s := install(t, extra)
	s.add(users...)
	s.serve()
	return s
}

// freeOffset finds an offset at which every port that quickstart opens is free.
func freeOffset(t testing.TB) int {
	t.Helper()
	for range 100 {
		offset := 11000 + rand.IntN(12000) // below the ports of outgoing connections
		free := true
		for _, p := range []int{25, 110, 143, 443, 465, 587, 993, 995, 9125} {
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

// serve starts the serving process, waits until it is ready, and ends it with
// the test.
func (s *server) serve() {
	s.t.Helper()
	s.serveOn()
	s.t.Cleanup(s.stop)
}

// serveOn starts the serving process and waits until it is ready.
func (s *server) serveOn() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "serve", "--config", s.Config)
	s.log = &syncBuffer{}
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, ended := s.cmd, make(chan error, 1)
	s.ended = ended
	ready := make(chan bool, 1)
	go func() {
		sc := bufio.NewScanner(stdout)
		ready <- sc.Scan() && sc.Text() == "migiwa ready"
		io.Copy(io.Discard, stdout)
		ended <- cmd.Wait()
	}()
	select {
	case ok := <-ready:
		if !ok {
			s.t.Fatalf("migiwa serve did not get ready:\n%s", s.log)
		}
	case <-time.After(30 * time.Second):
		s.cmd.Process.Kill()
		s.t.Fatalf("migiwa serve is not ready after 30 s:\n%s", s.log)
	}
}

// stop ends the serving process by SIGTERM and expects a clean end.
func (s *server) stop() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Error(err)
	}
}

func (s *server) end() error {
	if s.cmd == nil {
		return nil
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	cmd := s.cmd
	s.cmd = nil
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("migiwa serve ended with %w:\n%s", err, s.log)
		}
		return nil
	case <-time.After(45 * time.Second):
		cmd.Process.Kill()
		return fmt.Errorf("migiwa serve did not end:\n%s", s.log)
	}
}

// kill ends the serving process as a power cut would.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// port gives the port that stands for a standard one.
func (s *server) port(standard int) string { return fmt.Sprint(standard + s.offset) }

// addr gives host:port for a standard port.
func (s *server) addr(standard int) string { return net.JoinHostPort("127.0.0.1", s.port(standard)) }

// cert is the file of the self-signed certificate.
func (s *server) cert() string { return filepath.Join(s.Dir, "tls", "cert.pem") }

// found gives the path of somebody else's program. One that is not installed
// skips the test, or fails it where peers are required.
func found(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("MIGIWA_REQUIRE_PEERS") != "" {
			t.Fatalf("%s is not installed: run scripts/test-deps", name)
		}
		t.Skipf("%s is not installed: run scripts/test-deps", name)
	}
	return path
}

// tool runs somebody else's program.
func tool(t testing.TB, stdin, name string, args ...string) (string, error) {
	t.Helper()
	return toolAs(t, false, stdin, name, args...)
}

// toolAs is tool as another user than root, where asked for: some programs
// refuse to be root's.
func toolAs(t testing.TB, other bool, stdin, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(found(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	if uid, gid := ordinary(t); other && uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	limit := time.Minute
	if long() {
		limit = 10 * time.Minute
	}
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ordinary gives a user who is not root: us, or nobody.
func ordinary(t testing.TB) (uid, gid int) {
	t.Helper()
	if os.Getuid() != 0 {
		return os.Getuid(), os.Getgid()
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ = strconv.Atoi(u.Uid) // numbers on every Unix
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// othersDir makes a directory of the ordinary user.
func othersDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "migiwa-e2e-") // t.TempDir is not every user's to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, gid := ordinary(t)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shortly is as long as something may take that happens at once.
const shortly = 20 * time.Second

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

// syncBuffer collects what a process writes while others read it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
