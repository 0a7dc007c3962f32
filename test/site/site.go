// Package site runs an installation of migiwa as its users do: made by
// quickstart, served by the built binary, on free ports of the loopback
// interface.
package site

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

// Domain is the mail domain of every site.
const Domain = "example.test"

// Ready is how long a site may take from its start until it serves.
const Ready = 30 * time.Second

// program builds migiwa once for all tests of the process.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "migiwa-site-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "migiwa")
	out, err := exec.Command("go", "build", "-o", path, "github.com/migiwa/migiwa/cmd/migiwa").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, err
})

// Main runs the tests of a package that uses sites, and removes the binary.
func Main(m *testing.M) int {
	defer func() {
		if path, _ := program(); path != "" { // the error was told to each test
			os.RemoveAll(filepath.Dir(path))
		}
	}()
	return m.Run()
}

// Site is one installation and, while it is served, the process that does it.
type Site struct {
	t      testing.TB
	binary string
	config string
	offset int

	serve *exec.Cmd
	log   *log // of all processes, one after the other
	ended chan error
}

// Install makes an installation that is not served yet. extra is added to its
// configuration; dsn, when set, names a PostgreSQL database for its rows. What
// it logs is shown when the test fails.
func Install(t testing.TB, extra, dsn string) *Site {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "node")
	s := &Site{t: t, binary: binary, config: filepath.Join(dir, "migiwa.toml"), offset: freeOffset(t), log: &log{}}
	args := []string{"quickstart", "--dir", dir, "--domain", Domain, "--hostname", "localhost." + Domain,
		"--listen", "127.0.0.1", "--port-offset", fmt.Sprint(s.offset)}
	if dsn != "" {
		args = append(args, "--dsn", dsn)
	}
	s.Run("", args...)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, append(text, "\n"+extra...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.serve != nil {
			s.Kill()
		}
		if t.Failed() {
			t.Logf("the server's log ends with:\n%s", s.log.tail(4000))
		}
	})
	return s
}

// freeOffset finds an offset at which every port that quickstart opens is
// free, and none is one that the kernel gives to outgoing connections.
func freeOffset(t testing.TB) int {
	t.Helper()
	for range 100 {
		offset := 10300 + rand.IntN(12000)
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

// Add adds an account of the site's domain.
func (s *Site) Add(user, password string) {
	s.t.Helper()
	s.Run(password+"\n", "account", "add", user+"@"+Domain, "--password-stdin")
}

// Import adds many accounts at once, all with one password.
func (s *Site) Import(password string, users ...string) {
	s.t.Helper()
	var csv strings.Builder
	csv.WriteString("address,name,password,quota_mb,forward_to,state\n")
	for _, u := range users {
		fmt.Fprintf(&csv, "%s@%s,,%s,,,\n", u, Domain, password)
	}
	path := filepath.Join(s.t.TempDir(), "accounts.csv")
	if err := os.WriteFile(path, []byte(csv.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Run("", "account", "import", path)
}

// Run runs a migiwa command, which must succeed, and gives what it printed.
func (s *Site) Run(stdin string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.binary, args...)
	cmd.Env = append(os.Environ(), "MIGIWA_CONFIG="+s.config)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("migiwa %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Serve starts the serving process and waits until it is ready. The test's end
// kills it if nobody has stopped it.
func (s *Site) Serve() {
	s.t.Helper()
	cmd := exec.Command(s.binary, "serve", "--config", s.config)
	cmd.Stderr = s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended, ready := make(chan error, 1), make(chan bool, 1)
	s.serve, s.ended = cmd, ended
	go func() {
		lines := bufio.NewScanner(stdout)
		ready <- lines.Scan() && lines.Text() == "migiwa ready"
		io.Copy(io.Discard, stdout)
		ended <- cmd.Wait()
	}()
	select {
	case ok := <-ready:
		if !ok {
			s.t.Fatalf("migiwa serve did not get ready:\n%s", s.log.tail(4000))
		}
	case <-time.After(Ready):
		s.t.Fatalf("migiwa serve is not ready after %v:\n%s", Ready, s.log.tail(4000))
	}
}

// Kill ends the serving process by SIGKILL. It must not have ended by itself.
func (s *Site) Kill() {
	s.t.Helper()
	s.serve.Process.Kill()
	err := <-s.ended
	if st, ok := s.serve.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		s.t.Errorf("migiwa ended by itself before it was killed: %v", err)
	}
	s.serve = nil
}

// Stop ends the serving process by SIGTERM and expects a clean end.
func (s *Site) Stop() {
	s.t.Helper()
	s.serve.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("migiwa serve ended with %v", err)
		}
	case <-time.After(45 * time.Second):
		s.serve.Process.Kill()
		s.t.Errorf("migiwa serve did not end on SIGTERM")
	}
	s.serve = nil
}

// Addr gives host:port for a standard port.
func (s *Site) Addr(standard int) string { return fmt.Sprintf("127.0.0.1:%d", standard+s.offset) }

// Cert is the file of the certificate that quickstart made.
func (s *Site) Cert() string { return filepath.Join(filepath.Dir(s.config), "tls", "cert.pem") }

// log collects what processes write while others read it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// tail gives the last octets, at most n.
func (l *log) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.buf.Bytes()
	return string(all[max(0, len(all)-n):])
}
