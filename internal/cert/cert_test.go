package cert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/test/peers"
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

// logged runs a test of a watching Manager in a bubble of its own time, and
// gives it the log.
func logged(t *testing.T, f CertFile, test func(m *Manager, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m, err := New(Config{Files: []CertFile{f}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		test(m, &log)
		m.Close()
	})
}

// replace puts the files of a pair in the place of another's.
func replace(t *testing.T, f, by CertFile) {
	t.Helper()
	for from, to := range map[string]string{by.Cert: f.Cert, by.Key: f.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplacedFiles(t *testing.T) {
	f := pair(t, "old.example.jp")
	newer := pair(t, "new.example.jp")
	logged(t, f, func(m *Manager, log *bytes.Buffer) {
		for i, broken := range []string{"broken", "broken again"} {
			if err := os.WriteFile(f.Cert, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := m.Reload(); err == nil || served(t, m, "") != "old.example.jp" || m.Status()[0].Err == nil {
				t.Errorf("broken file: error %v, serves %s", err, served(t, m, ""))
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := strings.Count(log.String(), "cannot be used"); n != i+1 || served(t, m, "") != "old.example.jp" {
				t.Errorf("%d lines after an hour and %d broken files:\n%s", n, i+1, log)
			}
		}
		replace(t, f, newer)
		time.Sleep(checkEvery + time.Second)
		synctest.Wait()
		if got := served(t, m, ""); got != "new.example.jp" || m.Status()[0].Err != nil {
			t.Errorf("serves %s after the file was mended", got)
		}
	})
}

// TestPairReplacedStepByStep: between the two files of a pair there is trouble
// for a moment, which nobody need hear of.
func TestPairReplacedStepByStep(t *testing.T) {
	f := pair(t, "old.example.jp")
	newer := pair(t, "new.example.jp")
	logged(t, f, func(m *Manager, log *bytes.Buffer) {
		for _, step := range [][2]string{{newer.Key, f.Key}, {newer.Cert, f.Cert}} {
			if err := os.Rename(step[0], step[1]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(checkEvery)
			synctest.Wait()
		}
		if got := served(t, m, ""); got != "new.example.jp" || log.Len() > 0 {
			t.Errorf("serves %s; log:\n%s", got, log)
		}
	})
}

// TestSlowDisk: while a certificate is read from a disk that hangs, handshakes
// get the old one.
func TestSlowDisk(t *testing.T) {
	f := pair(t, "old.example.jp")
	m, err := New(Config{Files: []CertFile{f}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text, err := os.ReadFile(f.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Cert); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(f.Cert, 0o600); err != nil {
		t.Skipf("no pipe to play a slow disk: %v", err)
	}
	done := make(chan error)
	go func() { done <- m.Reload() }()
	pipe, err := os.OpenFile(f.Cert, os.O_WRONLY, 0) // returns when Reload has opened it
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() { got <- served(t, m, "") }()
	select {
	case <-got:
	case <-time.After(5 * time.Second):
		t.Error("a handshake waits for the disk")
	}
	pipe.Write(text)
	pipe.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFailuresAreKept(t *testing.T) {
	dir := t.TempDir()
	f := newFailures(dir)
	for _, name := range []string{"A.example.jp", "b.example.jp"} {
		if err := f.set(name, errors.New("no address")); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.set("b.example.jp", nil); err != nil {
		t.Fatal(err)
	}
	list, err := Failures(dir)
	if err != nil || len(list) != 1 || list["a.example.jp"].Text != "no address" || time.Since(list["a.example.jp"].Time) > time.Minute {
		t.Errorf("%v, %v", list, err)
	}
	if again := newFailures(dir); again.of("a.example.jp") == nil || again.of("b.example.jp") != nil {
		t.Errorf("after a restart: %v", again.list)
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

func TestACMEWithPebble(t *testing.T) {
	for challenge, choose := range map[string]func(*ACME){
		"HTTP-01":     func(a *ACME) { a.TLSALPNPort = 0 },
		"TLS-ALPN-01": func(a *ACME) { a.HTTPPort = 0 },
	} {
		t.Run(challenge, func(t *testing.T) {
			p := peers.Pebble(t)
			a := &ACME{Directory: p.Directory, CARoots: p.Roots, AgreeTOS: true, ListenHost: "127.0.0.1",
				HTTPPort: p.HTTPPort, TLSALPNPort: p.ALPNPort}
			choose(a)
			m, err := New(Config{Dir: t.TempDir(), Names: []string{"mx.example.jp"}, ACME: a})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if s := m.Status()[0].Source; s != "self-signed" {
				t.Errorf("before ACME answers it serves %s", s)
			}
			first := awaitNew(t, m, "")
			if !strings.Contains(first.Issuer, "Pebble") || first.Names[0] != "mx.example.jp" || first.Err != nil {
				t.Errorf("got %+v", first)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := m.magic.RenewCertSync(ctx, "mx.example.jp", true); err != nil {
				t.Errorf("renewing: %v", err)
			}
			if len(m.Status()) != 1 {
				t.Errorf("status %+v", m.Status())
			}
		})
	}
}

// TestACMEFailure: what went wrong is told, and outlives the process.
func TestACMEFailure(t *testing.T) {
	ca := httptest.NewTLSServer(http.NotFoundHandler())
	defer ca.Close()
	dir := t.TempDir()
	m, err := New(Config{Dir: dir, Names: []string{"mx.example.jp"}, ACME: &ACME{Directory: ca.URL, AgreeTOS: true, HTTPPort: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 100 {
		if s := m.Status(); len(s) != 2 || s[0].Source != "self-signed" || s[1].Source != "acme" || !s[1].NotAfter.IsZero() {
			t.Fatalf("status %+v", s)
		}
		if m.Status()[1].Err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	list, err := Failures(dir)
	if err != nil || list["mx.example.jp"] == nil || list["mx.example.jp"].Error() != m.Status()[1].Err.Error() {
		t.Errorf("%v, %v; status %+v", list, err, m.Status())
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
