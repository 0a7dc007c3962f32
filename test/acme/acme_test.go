// Package acme runs the migiwa binary against Pebble, a real certificate
// authority: what clients are served before a certificate is issued, after it,
// after a restart, and while the authority cannot be reached; and with
// certificate files that somebody else replaces.
package acme

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/test/peers"
)

const (
	host   = "mx.example.test"
	second = "mail.example.test"
)

// binary builds migiwa once for all tests of the process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "migiwa-acme-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "migiwa")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/migiwa").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// node is one installation and the process that serves it.
type node struct {
	t      testing.TB
	config string
	offset int
	cmd    *exec.Cmd
	log    bytes.Buffer // whole only after stop
}

// install makes an installation on free ports of the loopback interface, whose
// configuration ends with settings of tls.acme.
func install(t testing.TB, acme string) *node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	n := &node{t: t, config: filepath.Join(dir, "migiwa.toml"), offset: freeOffset(t)}
	n.run("quickstart", "--dir", dir, "--domain", "example.test", "--hostname", host,
		"--listen", "127.0.0.1", "--port-offset", fmt.Sprint(n.offset))
	zone := filepath.Join(dir, "zone")
	if err := os.WriteFile(zone, []byte(host+". A 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "\n[dns]\nzone_file = %q\n\n[tls.acme]\nagree = true\nhost = \"127.0.0.1\"\nnames = [%q, %q]\n%s", zone, host, second, acme)
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

func freeOffset(t testing.TB) int {
	t.Helper()
	for range 100 {
		offset, free := 10000+rand.IntN(20000), true
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

func (n *node) command(args ...string) *exec.Cmd {
	n.t.Helper()
	bin, err := binary()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "MIGIWA_CONFIG="+n.config)
	return cmd
}

func (n *node) run(args ...string) {
	n.t.Helper()
	if out, err := n.command(args...).CombinedOutput(); err != nil {
		n.t.Fatalf("migiwa %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// serve starts the serving process, waits until it is ready, and ends it with
// the test.
func (n *node) serve() {
	n.t.Helper()
	cmd := n.command("serve")
	cmd.Stderr = &n.log
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = cmd
	n.t.Cleanup(n.stop)
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if timer.Stop(); line != "migiwa ready\n" {
		n.stop()
		n.t.Fatalf("migiwa serve says %q, %v\n%s", line, err, n.log.String())
	}
}

func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(30*time.Second, func() { n.cmd.Process.Kill() })
	err := n.cmd.Wait()
	if timer.Stop(); err != nil {
		n.t.Errorf("migiwa serve ended with %v\n%s", err, n.log.String())
	}
	n.cmd = nil
}

func (n *node) addr(standard int) string { return fmt.Sprintf("127.0.0.1:%d", standard+n.offset) }

// ports are where clients meet a certificate.
var ports = []int{465, 995, 587}

// certificate gives what a client that asks for name is served.
func (n *node) certificate(port int, name string) (*x509.Certificate, error) {
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	var state tls.ConnectionState
	if port == 587 {
		c, err := smtp.Dial(n.addr(port))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.StartTLS(config); err != nil {
			return nil, err
		}
		state, _ = c.TLSConnectionState()
	} else {
		c, err := tls.Dial("tcp", n.addr(port), config)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		state = c.ConnectionState()
	}
	if state.NegotiatedProtocol != "" {
		return nil, fmt.Errorf("port %d speaks %q", port, state.NegotiatedProtocol)
	}
	return state.PeerCertificates[0], nil
}

// expectIssued waits until every port serves what Pebble issued for each name.
func (n *node) expectIssued(within time.Duration) {
	n.t.Helper()
	for _, port := range ports {
		for sni, want := range map[string]string{host: host, second: second, "": host} {
			var last string
			for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
				c, err := n.certificate(port, sni)
				if err != nil {
					n.t.Fatalf("port %d: %v", port, err)
				}
				if strings.Contains(c.Issuer.CommonName, "Pebble") && c.VerifyHostname(want) == nil {
					break
				}
				if last = fmt.Sprint(c.DNSNames, " by ", c.Issuer); time.Now().After(end) {
					n.t.Fatalf("port %d serves for %q after %v: %s", port, sni, within, last)
				}
			}
		}
	}
}

// gate stands in front of the authority, and holds connections until it opens.
func gate(t testing.TB, to string) (addr string, open func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	opened := make(chan struct{})
	go func() {
		<-opened
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			go func() { io.Copy(up, c); up.Close() }()
			go func() { io.Copy(c, up); c.Close() }()
		}
	}()
	return ln.Addr().String(), sync.OnceFunc(func() { close(opened) })
}

func TestIssuedCertificates(t *testing.T) {
	t.Parallel()
	ca := peers.Pebble(t)
	for challenge, setting := range map[string]string{
		"HTTP-01":     fmt.Sprintf("http_port = %d\nalpn_port = 0\n", ca.HTTPPort),
		"TLS-ALPN-01": fmt.Sprintf("http_port = 0\nalpn_port = %d\n", ca.ALPNPort),
	} {
		t.Run(challenge, func(t *testing.T) {
			front, open := gate(t, ca.Addr)
			t.Cleanup(open)
			n := install(t, setting+fmt.Sprintf("directory = \"https://%s/dir\"\nca_file = %q\n", front, ca.Roots))
			n.serve()
			for _, port := range ports {
				if c, err := n.certificate(port, host); err != nil || c.Issuer.String() != c.Subject.String() || c.VerifyHostname(host) != nil {
					t.Errorf("port %d before anything is issued: %v, %v", port, c, err)
				}
			}
			open()
			n.expectIssued(30 * time.Second)
			n.expectMetrics()
			n.stop()
			n.serve()
			n.expectIssued(5 * time.Second)
		})
	}
}

// expectMetrics looks for the end of the certificates of both sources.
func (n *node) expectMetrics() {
	n.t.Helper()
	res, err := http.Get("http://" + n.addr(9125) + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, want := range []string{`{name="` + host + `",source="acme"}`, `{name="` + second + `",source="acme"}`, `{name="` + host + `",source="file"}`} {
		if !strings.Contains(string(text), "\nmigiwa_certificate_expiry_seconds"+want) {
			n.t.Errorf("no metric with %s", want)
		}
	}
}

// TestNoAuthority: mail is served by the certificate at hand, and the doctor
// says what is wrong.
func TestNoAuthority(t *testing.T) {
	t.Parallel()
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	n := install(t, fmt.Sprintf("directory = \"https://127.0.0.1:%d/dir\"\nhttp_port = 0\nalpn_port = %d\n", port, port))
	n.serve()
	if c, err := n.certificate(465, host); err != nil || c.VerifyHostname(host) != nil {
		t.Errorf("%v, %v", c, err)
	}
	var out []byte
	for range 30 {
		out, _ = n.command("doctor").CombinedOutput() // its status tells that something is bad
		if bytes.Contains(out, []byte("no new certificate for "+host)) && bytes.Contains(out, []byte("connection refused")) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("the doctor says:\n%s", out)
}

// TestReplacedFiles: new certificate files are served without a restart, broken
// ones are not, and are logged once.
func TestReplacedFiles(t *testing.T) {
	t.Parallel()
	n := install(t, "")
	n.serve()
	first, err := n.certificate(995, host)
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(filepath.Dir(n.config), "tls")
	newer, err := cert.SelfSigned(t.TempDir(), []string{host})
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{newer.Cert: "cert.pem", newer.Key: "key.pem"} {
		if err := os.Rename(from, filepath.Join(in, to)); err != nil {
			t.Fatal(err)
		}
	}
	var second *x509.Certificate
	for range 100 {
		if second, err = n.certificate(995, host); err != nil {
			t.Fatal(err)
		}
		if !second.Equal(first) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if second.Equal(first) {
		t.Error("the old certificate is served 10 s after it was replaced")
	}
	if err := os.WriteFile(filepath.Join(in, "cert.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if c, err := n.certificate(465, host); err != nil || !c.Equal(second) {
			t.Fatalf("with a broken file: %v", err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	n.stop()
	if k := strings.Count(n.log.String(), "cannot be used"); k != 1 {
		t.Errorf("%d lines about the broken file:\n%s", k, n.log.String())
	}
}
