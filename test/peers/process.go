package peers

import (
	"bufio"
	"errors"
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
	"syscall"
	"time"
)

const (
	readyTimeout = 20 * time.Second // from start to the first greeting
	stopTimeout  = 10 * time.Second // from the polite signal to SIGKILL
)

// account is a user that a peer runs as.
type account struct {
	name     string
	uid, gid int
}

func lookupAccount(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, &MissingError{What: "the account " + name}
	}
	uid, _ := strconv.Atoi(u.Uid) // numbers on every Unix
	gid, _ := strconv.Atoi(u.Gid)
	return account{name: name, uid: uid, gid: gid}, nil
}

func lookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, &MissingError{What: "the group " + name}
	}
	return strconv.Atoi(g.Gid)
}

// process is one server and the directory it lives in.
type process struct {
	dir  string
	log  string // path of what it writes to stdout and stderr
	cmd  *exec.Cmd
	stop syscall.Signal
	done chan struct{} // closed once it has ended, after err is set
	err  error
}

// startProcess starts cmd, as the user as if that is not nil, in a session and
// process group of its own, and asks the kernel to end it should this process die.
// Close removes dir.
func startProcess(dir string, cmd *exec.Cmd, stop syscall.Signal, as *account) (*process, error) {
	p := &process{dir: dir, log: filepath.Join(dir, "output"), cmd: cmd, stop: stop, done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Dir = dir
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: stop}
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process ID of the peer's first process.
func (p *process) Pid() int { return p.cmd.Process.Pid }

// waitReady calls probe until it succeeds, the process ends or time is up.
// A peer that does not get ready is closed.
func (p *process) waitReady(probe func() error) error { return p.waitReadyFor(readyTimeout, probe) }

// waitReadyFor is waitReady for a peer that takes its time.
func (p *process) waitReadyFor(limit time.Duration, probe func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := probe()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			err = fmt.Errorf("it ended: %v", p.err)
		case <-time.After(20 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
		}
		err = fmt.Errorf("%s is not ready: %w\n%s", filepath.Base(p.cmd.Path), err, p.Log())
		return errors.Join(err, p.Close())
	}
}

// Log returns what the peer has logged so far.
func (p *process) Log() string {
	var all strings.Builder
	for _, name := range []string{p.log, filepath.Join(p.dir, "log", "main")} {
		text, _ := os.ReadFile(name) // not every peer has both
		all.Write(text)
	}
	return all.String()
}

// Close ends the peer and every process it started, and removes its directory.
func (p *process) Close() error { return errors.Join(p.end(), removeAll(p.dir)) }

// end ends the peer and every process it started.
func (p *process) end() error {
	var err error
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(p.stop) // it may just have ended
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
			err = fmt.Errorf("%s did not end within %v of %v and was killed", p.cmd.Path, stopTimeout, p.stop)
		}
	}
	// The group was made for this peer: what is left of it is ours to end.
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	<-p.done
	return err
}

// removeAll tries again for a moment, as the last of a peer's processes may
// still be writing while they end.
func removeAll(dir string) error {
	var err error
	for range 50 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. It lies
// below the ports that the kernel gives to outgoing connections, so that none
// of those can take it before the peer does.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 10240 + rand.IntN(32768-10240)
		var l net.Listener
		if l, err = net.Listen("tcp", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("finding a free port: %w", err)
}

// freePorts returns n different free ports.
func freePorts(n int) ([]int, error) {
	var ports []int
	taken := make(map[int]bool)
	for len(ports) < n {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		if !taken[port] {
			taken[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// greets returns a probe that wants a line with that beginning from addr.
func greets(addr, beginning string) func() error { return greetsAfter("", addr, beginning) }

// greetsAfter is the same for a server that listens to something first.
func greetsAfter(hello, addr, beginning string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(c, hello); err != nil {
			return err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return fmt.Errorf("reading the greeting: %w", err)
		}
		if !strings.HasPrefix(line, beginning) {
			return fmt.Errorf("it greets with %q", line)
		}
		return nil
	}
}
