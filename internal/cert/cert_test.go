package cert

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/migiwa/migiwa/internal/dns"
)

func pair(t *testing.T, names ...string) CertFile {
	t.Helper()
	f, err := SelfSigned(t.TempDir(), names)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// served is the first name and source fingerprint of what a handshake gets.
func served(t *testing.T, m *Manager, sni string) string {
	t.Helper()
	c, err := m.certificate(&tls.ClientHelloInfo{ServerName: sni})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.DNSNames[0]
}

func TestChoiceBySNI(t *testing.T) {
	m, err := New(Config{Files: []CertFile{pair(t, "mx.example.jp"), pair(t, "*.example.net"), pair(t, "example.org")}})
	if err != nil {
		t.Fatal(err)
	}
	for sni, want := range map[string]string{
		"": "mx.example.jp", "unknown.example": "mx.example.jp", "MX.example.jp.": "mx.example.jp",
		"a.example.net": "*.example.net", "a.b.example.net": "mx.example.jp", "example.org": "example.org",
	} {
		if got := served(t, m, sni); got != want {
			t.Errorf("%q gets %s, want %s", sni, got, want)
		}
	}
}

func TestReload(t *testing.T) {
	f := pair(t, "old.example.jp")
	m, err := New(Config{Files: []CertFile{f}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(); err == nil || served(t, m, "") != "old.example.jp" || m.Status()[0].Err == nil {
		t.Errorf("broken file: error %v, serves %s", err, served(t, m, ""))
	}
	newer := pair(t, "new.example.jp")
	for from, to := range map[string]string{newer.Cert: f.Cert, newer.Key: f.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	m.checked = time.Now().Add(-checkEvery)
	if got := served(t, m, ""); got != "new.example.jp" || m.Status()[0].Err != nil {
		t.Errorf("serves %s after the file was mended", got)
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	var prints []string
	for range 2 {
		m, err := New(Config{Dir: dir, Names: []string{"mx.example.jp", "192.0.2.1"}})
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, fmt.Sprint(m.Status()[0].Names, m.Status()[0].Fingerprint))
	}
	if prints[0] != prints[1] || !strings.HasPrefix(prints[0], "[mx.example.jp 192.0.2.1]") {
		t.Errorf("got %v", prints)
	}
}

func freePort(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// pebble runs the CA on loopback and returns the ACME settings for it.
func pebble(t *testing.T, bin string) ACME {
	// Pebble asks its resolver over TCP only.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z, err := dns.ParseZone("mx.example.jp. A 127.0.0.1\n")
	if err != nil {
		t.Fatal(err)
	}
	srv := &mdns.Server{Listener: ln, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		r := z.Reply(q.Question[0])
		r.Id = q.Id
		w.WriteMsg(r)
	})}
	go srv.ActivateAndServe()
	t.Cleanup(func() { srv.Shutdown() })

	own := pair(t, "localhost", "127.0.0.1")
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a := ACME{Directory: "https://" + addr + "/dir", CARoots: own.Cert, AgreeTOS: true, ListenHost: "127.0.0.1",
		HTTPPort: freePort(t), TLSALPNPort: freePort(t)}
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": addr,
		"managementListenAddress": "127.0.0.1:0", "certificate": own.Cert, "privateKey": own.Key,
		"httpPort": a.HTTPPort, "tlsPort": a.TLSALPNPort, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "test", "validityPeriod": 7776000}}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-config", file, "-dnsserver", ln.Addr().String())
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return a
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("pebble does not listen")
	return a
}

func TestACMEWithPebble(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "pebble")
	if out, err := exec.Command("go", "build", "-C", "../../tools", "-o", bin, "github.com/letsencrypt/pebble/v2/cmd/pebble").CombinedOutput(); err != nil {
		t.Skipf("ACME IS NOT TESTED: pebble cannot be built: %v\n%s", err, out)
	}
	for challenge, choose := range map[string]func(*ACME){
		"HTTP-01":     func(a *ACME) { a.TLSALPNPort = 0 },
		"TLS-ALPN-01": func(a *ACME) { a.HTTPPort = 0 },
	} {
		t.Run(challenge, func(t *testing.T) {
			a := pebble(t, bin)
			choose(&a)
			m, err := New(Config{Dir: t.TempDir(), Names: []string{"mx.example.jp"}, ACME: &a})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if s := m.Status()[0].Source; s != "self-signed" {
				t.Errorf("before ACME answers it serves %s", s)
			}
			first := awaitNew(t, m, "")
			if !strings.Contains(first.Issuer, "Pebble") || first.Names[0] != "mx.example.jp" {
				t.Errorf("got %+v", first)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := m.magic.RenewCertSync(ctx, "mx.example.jp", true); err != nil {
				t.Errorf("renewing: %v", err)
			}
		})
	}
}

// awaitNew waits for an ACME certificate with another fingerprint than old.
func awaitNew(t *testing.T, m *Manager, old string) Status {
	t.Helper()
	for range 200 {
		if s := m.Status()[0]; s.Source == "acme" && s.Fingerprint != old {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("no certificate after 20 s: %+v", m.Status())
	return Status{}
}
