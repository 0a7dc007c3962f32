package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// Config is what a Manager is built from.
type Config struct {
	Dir   string       // where the self-signed pair and ACME's state live
	Names []string     // host names to hold certificates for
	Files []CertFile   // the first is the default
	ACME  *ACME        // nil: no certificates are obtained
	Log   *slog.Logger // nil: nothing is logged; gets certificates obtained, and failures
}

// ACME says how to obtain certificates. At least one challenge needs a port.
type ACME struct {
	Directory  string // URL of the CA's directory
	Email      string // contact, may be empty
	CARoots    string // PEM file of roots for the CA's own HTTPS; empty: the system's
	AgreeTOS   bool   // the operator agrees to the CA's terms
	ListenHost string // address for the challenge listeners; empty: all
	// HTTPPort and TLSALPNPort are where the challenges arrive; 0 turns the
	// challenge off. A listener is open only while a challenge runs. When
	// the port is already served by this process, that server must use
	// Handler, or TLSConfig.
	HTTPPort, TLSALPNPort int
}

// checkEvery is how often a handshake looks whether certificate files changed.
const checkEvery = 2 * time.Second

// Manager chooses a certificate for each handshake.
type Manager struct {
	mu      sync.Mutex
	files   []*loaded
	checked time.Time

	log    *slog.Logger
	names  []string
	self   *tls.Certificate
	magic  *certmagic.Config // nil without ACME, like the three below
	cache  *certmagic.Cache
	issuer *certmagic.ACMEIssuer
	cancel context.CancelFunc
}

// loaded is a certificate file as last read.
type loaded struct {
	CertFile
	cert  *tls.Certificate
	stamp string
	err   error
}

// New loads or makes what c asks for and starts obtaining certificates in the
// background. Files that cannot be read at the start are an error.
func New(c Config) (*Manager, error) {
	m := &Manager{names: c.Names, log: c.Log}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	for _, f := range c.Files {
		m.files = append(m.files, &loaded{CertFile: f})
	}
	if err := m.Reload(); err != nil {
		return nil, err
	}
	if len(c.Files) == 0 {
		f, err := SelfSigned(c.Dir, c.Names)
		if err != nil {
			return nil, err
		}
		self, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the self-signed certificate: %w", err)
		}
		m.self = &self
	}
	if c.ACME != nil {
		if err := m.startACME(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Manager) startACME(c Config) error {
	a := c.ACME
	if a.HTTPPort == 0 && a.TLSALPNPort == 0 {
		return errors.New("ACME: no challenge has a port")
	}
	var roots *x509.CertPool
	if a.CARoots != "" {
		pem, err := os.ReadFile(a.CARoots)
		if err != nil {
			return fmt.Errorf("ACME: reading the CA's roots: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ACME: %s holds no certificate", a.CARoots)
		}
	}
	quiet := zap.NewNop()
	m.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: quiet,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil }})
	// OCSP is off: a mail server must start without asking a third party.
	m.magic = certmagic.New(m.cache, certmagic.Config{Logger: quiet, OnEvent: m.event,
		Storage: &certmagic.FileStorage{Path: filepath.Join(c.Dir, "acme")},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true}})
	m.issuer = certmagic.NewACMEIssuer(m.magic, certmagic.ACMEIssuer{CA: a.Directory, TestCA: a.Directory,
		Email: a.Email, Agreed: a.AgreeTOS, TrustedRoots: roots, ListenHost: a.ListenHost,
		AltHTTPPort: a.HTTPPort, DisableHTTPChallenge: a.HTTPPort == 0,
		AltTLSALPNPort: a.TLSALPNPort, DisableTLSALPNChallenge: a.TLSALPNPort == 0, Logger: quiet})
	m.magic.Issuers = []certmagic.Issuer{m.issuer}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	if err := m.magic.ManageAsync(ctx, c.Names); err != nil {
		m.Close()
		return fmt.Errorf("ACME: %w", err)
	}
	return nil
}

// event tells what came of obtaining a certificate. certmagic tries again by
// itself, with growing pauses.
func (m *Manager) event(_ context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtained":
		m.log.Info("certificate obtained", "name", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		m.log.Error("certificate not obtained", "name", data["identifier"], "err", data["error"])
	}
	return nil
}

// Close stops obtaining and renewing.
func (m *Manager) Close() {
	if m.magic != nil {
		m.cancel()
		m.cache.Stop()
	}
}

// Reload reads the files that changed. Those that cannot be read keep their old
// certificate in use; the error names each of them.
func (m *Manager) Reload() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reload()
}

func (m *Manager) reload() error {
	m.checked = time.Now()
	var errs []error
	for _, f := range m.files {
		if s := stamp(f.Cert) + stamp(f.Key); s != f.stamp || f.err != nil {
			c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if f.stamp, f.err = s, err; err == nil {
				f.cert = &c
			}
		}
		if f.err != nil {
			errs = append(errs, fmt.Errorf("certificate %s: %w", f.Cert, f.err))
		}
	}
	return errors.Join(errs...)
}

func stamp(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	return fmt.Sprint(st.ModTime().UnixNano(), " ", st.Size(), ";")
}

// TLSConfig is for servers: TLS 1.2 and later with the suites Go holds secure.
// NextProtos is left to the server.
func (m *Manager) TLSConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: m.certificate}
	if m.magic != nil {
		challenge := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmez.ACMETLS1Protocol},
			GetCertificate: m.magic.GetCertificate}
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == acmez.ACMETLS1Protocol {
				return challenge, nil // RFC 8737, 3
			}
			return nil, nil
		}
	}
	return c
}

// certificate takes what ACME has for the name, then the files, then the
// self-signed one.
func (m *Manager) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(h.ServerName, "."))
	if c := m.obtained(name); c != nil {
		return c, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.files) == 0 {
		return m.self, nil
	}
	if time.Since(m.checked) >= checkEvery {
		if err := m.reload(); err != nil { // the old certificates go on serving
			m.log.Error("new certificate files cannot be used", "err", err)
		}
	}
	if name != "" {
		for _, f := range m.files {
			if f.cert.Leaf.VerifyHostname(name) == nil {
				return f.cert, nil
			}
		}
	}
	return m.files[0].cert, nil
}

// obtained is ACME's certificate for name, or for the first name when the client
// sent none.
func (m *Manager) obtained(name string) *tls.Certificate {
	if m.magic == nil {
		return nil
	}
	if name == "" && len(m.names) > 0 {
		name = m.names[0]
	}
	var best *tls.Certificate
	for _, c := range m.cache.AllMatchingCertificates(name) {
		if best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter) {
			best = &c.Certificate
		}
	}
	return best
}

// Handler answers HTTP-01 challenges and passes everything else to next.
func (m *Manager) Handler(next http.Handler) http.Handler {
	if m.issuer == nil {
		return next
	}
	return m.issuer.HTTPChallengeHandler(next)
}

// Status describes the certificates in use.
func (m *Manager) Status() []Status {
	var all []Status
	for _, n := range m.names {
		if c := m.obtained(n); c != nil {
			all = append(all, status(c, "acme"))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.files {
		s := status(f.cert, "file")
		s.Err = f.err
		all = append(all, s)
	}
	if len(all) == 0 {
		all = append(all, status(m.self, "self-signed"))
	}
	return all
}
