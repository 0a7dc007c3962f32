// Package contestant brings Postfix and migiwa up in the same shape, so that a
// benchmark can load both the same way, and reads back what has arrived.
package contestant

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// Domain is the contestants' mail domain.
const Domain = "example.test"

// Recipient is the one mailbox that takes all the mail of a run.
const Recipient = "bench@" + Domain

// password is the recipient's at migiwa, for reading the mailbox by POP3.
const password = "bench-reads-its-own-mail"

// The ports that are not a service's own, before the offset: where quickstart
// has the metrics, and the listener behind the PROXY protocol.
const (
	metricsPort = 9125
	proxyPort   = 26
)

// startTimeout is how long migiwa may take until it is ready.
const startTimeout = time.Minute

// Server is one contestant with an empty mailbox.
type Server interface {
	// Name is its name in the tables.
	Name() string
	// Addr is the host:port of its SMTP listener.
	Addr() string
	// Delivered returns how many messages lie in the mailbox of Recipient.
	Delivered() (int, error)
	// RetryNow asks it to try everything in its queue at once.
	RetryNow() error
	// Close ends it and removes all it wrote.
	Close() error
}

// Start brings one contestant up.
type Start func(relay map[string]string) (Server, error)

// Postfix starts a Postfix as Debian configures it, with its log left to
// syslog. relay maps further domains to the host:port they are passed on to.
func Postfix(relay map[string]string) (Server, error) {
	p, err := peers.StartPostfix(peers.PostfixOptions{
		Mailboxes: []string{Recipient},
		Relay:     relay,
		Quiet:     true,
	})
	if err != nil {
		return nil, err
	}
	return postfix{p}, nil
}

type postfix struct{ server *peers.PostfixServer }

func (p postfix) Name() string            { return "postfix" }
func (p postfix) Addr() string            { return p.server.Addr }
func (p postfix) Delivered() (int, error) { return p.server.Mailbox(Recipient).Count() }
func (p postfix) Close() error            { return p.server.Close() }

func (p postfix) RetryNow() error {
	if out, err := p.server.Command("postqueue", "-f").CombinedOutput(); err != nil {
		return fmt.Errorf("postqueue -f: %w: %s", err, out)
	}
	return nil
}

// Migiwa returns the start of a migiwa made by quickstart. Its binary is at
// path. A relay becomes one mailertable route of migiwa.toml for each domain.
// Its rows are in SQLite, or in a database of postgres unless that is nil.
func Migiwa(path string, postgres *peers.PostgresServer) Start {
	return func(relay map[string]string) (_ Server, err error) {
		dsn := ""
		if postgres != nil {
			if dsn, err = postgres.NewDatabase(); err != nil {
				return nil, err
			}
		}
		m, err := startMigiwa(path, setUp{dsn: dsn, relay: relay})
		if err != nil {
			return nil, err
		}
		return m, nil
	}
}

// MigiwaAs is Migiwa under a name of its own, with lines added to its
// configuration.
func MigiwaAs(name, path, extra string) Start {
	return func(relay map[string]string) (Server, error) {
		m, err := startMigiwa(path, setUp{relay: relay, extra: extra})
		if err != nil {
			return nil, err
		}
		m.name = name
		return m, nil
	}
}

// StartMigiwa starts a migiwa without routes.
func StartMigiwa(path string) (*MigiwaServer, error) { return startMigiwa(path, setUp{}) }

// MigiwaServer is a running migiwa.
type MigiwaServer struct {
	binary, dir string
	name        string // empty: migiwa
	offset      int
	serve       *exec.Cmd
}

// setUp is what a migiwa is to be, besides one mailbox.
type setUp struct {
	dsn   string // of its database; empty: SQLite
	relay map[string]string
	crowd *Crowd
	extra string // lines of its configuration
}

func startMigiwa(binary string, o setUp) (*MigiwaServer, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	offset, err := freeOffset()
	if err != nil {
		return nil, err
	}
	parent, err := os.MkdirTemp("", "migiwa-bench-")
	if err != nil {
		return nil, err
	}
	m := &MigiwaServer{binary: binary, dir: filepath.Join(parent, "node"), offset: offset}
	if err := m.start(o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *MigiwaServer) start(o setUp) error {
	args := []string{"quickstart", "--dir", m.dir, "--domain", Domain,
		"--hostname", "mx." + Domain, "--listen", "127.0.0.1", "--port-offset", strconv.Itoa(m.offset)}
	if o.crowd != nil {
		args = append(args, "--mx-proxy-listen", m.port(proxyPort), "--trust-proxy", "127.0.0.0/8")
	}
	if err := m.run("", args...); err != nil {
		return err
	}
	if err := m.addRoutes(o.relay); err != nil {
		return err
	}
	if err := m.configure(o.extra); err != nil {
		return err
	}
	if o.dsn != "" {
		if err := m.move(o.dsn); err != nil {
			return err
		}
	}
	if o.crowd != nil {
		if err := m.invite(o.crowd); err != nil {
			return err
		}
	}
	if err := m.run(password+"\n", "account", "add", Recipient, "--password-stdin", "--config", m.config()); err != nil {
		return err
	}
	// The peers filter nothing.
	if err := m.run("", "filter", "set", Domain, "all=off", "--config", m.config()); err != nil {
		return err
	}
	return m.startServing()
}

func (m *MigiwaServer) config() string { return filepath.Join(m.dir, "migiwa.toml") }

// configure appends to the configuration.
func (m *MigiwaServer) configure(text string) error {
	f, err := os.OpenFile(m.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + text)
	return errors.Join(err, f.Close())
}

// addRoutes appends one route for each domain.
func (m *MigiwaServer) addRoutes(relay map[string]string) error {
	for domain, addr := range relay {
		err := m.configure(fmt.Sprintf("[[route]]\ndomain = %q\nto = %q\nprotocol = \"smtp\"\nrelay = true\nrecipients = \"any\"\n", domain, addr))
		if err != nil {
			return err
		}
	}
	return nil
}

// move goes over to another database, which is still empty.
func (m *MigiwaServer) move(dsn string) error {
	if err := m.configure(fmt.Sprintf("[store]\ndsn = %q\n", dsn)); err != nil {
		return err
	}
	return m.run("", "domain", "add", Domain, "--config", m.config())
}

// startServing returns once migiwa says that it is ready.
func (m *MigiwaServer) startServing() error {
	m.serve = exec.Command(m.binary, "serve", "--config", m.config())
	m.serve.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(m.dir, "output"))
	if err != nil {
		return err
	}
	defer log.Close()
	m.serve.Stderr = log
	out, err := m.serve.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.serve.Start(); err != nil {
		return err
	}
	giveUp := time.AfterFunc(startTimeout, func() { _ = m.serve.Process.Kill() }) // ends the loop
	defer giveUp.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "migiwa ready") {
			go io.Copy(io.Discard, out) // until it ends: it must not wait for a reader
			return nil
		}
	}
	text, _ := os.ReadFile(log.Name()) // best effort: it is only told
	return fmt.Errorf("migiwa serve did not get ready: %s", bytes.TrimSpace(text))
}

// run runs one migiwa command.
func (m *MigiwaServer) run(stdin string, args ...string) error {
	cmd := exec.Command(m.binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migiwa %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (m *MigiwaServer) port(standard int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(standard+m.offset))
}

// Name implements Server.
func (m *MigiwaServer) Name() string { return cmp.Or(m.name, "migiwa") }

// Addr implements Server.
func (m *MigiwaServer) Addr() string { return m.port(25) }

// Pid is the process ID of migiwa serve.
func (m *MigiwaServer) Pid() int { return m.serve.Process.Pid }

// Metrics is the URL of its Prometheus metrics.
func (m *MigiwaServer) Metrics() string { return "http://" + m.port(metricsPort) + "/metrics" }

// Delivered asks by POP3 over TLS, as any reader of the mailbox would.
func (m *MigiwaServer) Delivered() (int, error) {
	return pop3Count(m.port(995), Recipient, password)
}

// RetryNow implements Server.
func (m *MigiwaServer) RetryNow() error {
	return m.run("", "queue", "retry", "--all", "--config", m.config())
}

// Close implements Server.
func (m *MigiwaServer) Close() error {
	return errors.Join(m.stop(), os.RemoveAll(filepath.Dir(m.dir)))
}

// stop ends the process, if there is one.
func (m *MigiwaServer) stop() error {
	if m.serve == nil || m.serve.Process == nil {
		return nil
	}
	_ = m.serve.Process.Signal(syscall.SIGTERM) // it may have ended
	return m.serve.Wait()
}

// freeOffset finds N such that all standard ports plus N are free.
func freeOffset() (int, error) {
	standard := []int{25, proxyPort, 110, 143, 443, 465, 587, 993, 995, metricsPort}
	for range 100 {
		base, err := peers.FreePort()
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(standard, func(p int) bool { return !free(base + p) }) {
			return base, nil
		}
	}
	return 0, errors.New("finding a port offset: none is free")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// pop3Count logs in by POP3 over TLS, asks STAT and quits.
func pop3Count(addr, user, password string) (int, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // its own, self-signed
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, fmt.Errorf("POP3: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	in := bufio.NewReader(c)
	var stat string
	for _, command := range []string{"", "USER " + user, "PASS " + password, "STAT", "QUIT"} {
		if command != "" {
			fmt.Fprintf(c, "%s\r\n", command)
		}
		line, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "+OK") {
			return 0, fmt.Errorf("POP3 %.4s: %q, %w", command, line, err)
		}
		if command == "STAT" {
			stat = line
		}
	}
	fields := strings.Fields(stat)
	if len(fields) < 3 {
		return 0, fmt.Errorf("POP3 STAT: %q", stat)
	}
	return strconv.Atoi(fields[1])
}
