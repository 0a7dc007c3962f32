package peers

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	mdns "github.com/miekg/dns"
)

// PebbleServer is Pebble, a certificate authority for tests of ACME
// (RFC 8555). For it every name has the address 127.0.0.1.
type PebbleServer struct {
	*process
	Addr      string // of its HTTPS
	Directory string // URL of its directory
	Roots     string // PEM file of the root of its HTTPS
	// HTTPPort and ALPNPort are where it looks for the answers to HTTP-01 and
	// TLS-ALPN-01.
	HTTPPort, ALPNPort int

	dns *mdns.Server
}

// Pebble builds and starts Pebble for a test.
func Pebble(t testing.TB) *PebbleServer {
	t.Helper()
	s, err := StartPebble()
	return started(t, "Pebble", s, err)
}

// pebbleBinary builds Pebble, which the go command keeps in its cache.
var pebbleBinary = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "tool", "-n", "pebble")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "tools")
	out, err := cmd.Output()
	if err != nil {
		return "", &MissingError{What: "Pebble (go tool pebble: " + err.Error() + ")"}
	}
	return strings.TrimSpace(string(out)), nil
})

// StartPebble starts Pebble. It is ready on return.
func StartPebble() (*PebbleServer, error) {
	bin, err := pebbleBinary()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	dir, err := newDir("pebble")
	if err != nil {
		return nil, err
	}
	s := &PebbleServer{Addr: loopback(ports[0]), Directory: "https://" + loopback(ports[0]) + "/dir",
		Roots: filepath.Join(dir, "cert.pem"), HTTPPort: ports[1], ALPNPort: ports[2]}
	if err := s.configure(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.startDNS(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.Command(bin, "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", s.dns.Listener.Addr().String())
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return nil, errors.Join(err, s.dns.Shutdown(), os.RemoveAll(dir))
	}
	return s, s.waitReady(func() error {
		c, err := net.Dial("tcp", s.Addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// configure writes the configuration, and the certificate that net/http has for
// tests on loopback.
func (s *PebbleServer) configure(dir string) error {
	h := httptest.NewTLSServer(http.NotFoundHandler())
	defer h.Close()
	key, err := x509.MarshalPKCS8PrivateKey(h.TLS.Certificates[0].PrivateKey)
	if err != nil {
		return err
	}
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": s.Addr, "managementListenAddress": "127.0.0.1:0",
		"certificate": s.Roots, "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": s.HTTPPort, "tlsPort": s.ALPNPort,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "test", "validityPeriod": 7776000}},
	}})
	if err != nil {
		return err
	}
	return writeFiles(dir, map[string]string{
		"pebble.json": string(conf),
		"cert.pem":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})),
		"key.pem":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	})
}

// startDNS answers Pebble, which asks by TCP only.
func (s *PebbleServer) startDNS() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.dns = &mdns.Server{Listener: ln, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		r := new(mdns.Msg).SetReply(q)
		if q.Question[0].Qtype == mdns.TypeA {
			r.Answer = []mdns.RR{&mdns.A{A: net.IPv4(127, 0, 0, 1),
				Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}}}
		}
		_ = w.WriteMsg(r) // Pebble will ask again
	})}
	go s.dns.ActivateAndServe()
	return nil
}

// Close ends Pebble and its resolver.
func (s *PebbleServer) Close() error {
	return errors.Join(s.process.Close(), s.dns.Shutdown())
}
