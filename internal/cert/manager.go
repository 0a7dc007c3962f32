package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// challenge off. A listener is open only while a challenge runs.
	HTTPPort, TLSALPNPort int
}

// checkEvery is the time between two looks whether certificate files changed.
const checkEvery = 2 * time.Second

// Manager chooses a certificate for each handshake.
type Manager struct {
	reloading sync.Mutex               // one at a time; handshakes never wait for it
	files     atomic.Pointer[[]loaded] // replaced as a whole

	log      *slog.Logger
	names    []string
	self     *tls.Certificate
	magic    *certmagic.Config // nil without ACME, like the three below
	cache    *certmagic.Cache
	failures *failures
	run      context.Context // ends with Close
	cancel   context.CancelFunc
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
	files := make([]loaded, len(c.Files))
	for i, f := range c.Files {
		files[i].CertFile = f
	}
	m.files.Store(&files)
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
	m.run, m.cancel = context.WithCancel(context.Background())
	if c.ACME != nil {
		if err := m.startACME(c); err != nil {
			m.Close()
			return nil, err
		}
	}
	if len(c.Files) > 0 {
		go m.watch()
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
	m.failures = newFailures(c.Dir)
	quiet := zap.NewNop()
	m.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: quiet,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil }})
	// OCSP is off: a mail server must start without asking a third party.
	m.magic = certmagic.New(m.cache, certmagic.Config{Logger: quiet, OnEvent: m.event,
		Storage: &certmagic.FileStorage{Path: filepath.Join(c.Dir, "acme")},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true}})
	issuer := certmagic.NewACMEIssuer(m.magic, certmagic.ACMEIssuer{CA: a.Directory, TestCA: a.Directory,
		Email: a.Email, Agreed: a.AgreeTOS, TrustedRoots: roots, ListenHost: a.ListenHost,
		AltHTTPPort: a.HTTPPort, DisableHTTPChallenge: a.HTTPPort == 0,
		AltTLSALPNPort: a.TLSALPNPort, DisableTLSALPNChallenge: a.TLSALPNPort == 0, Logger: quiet})
	m.magic.Issuers = []certmagic.Issuer{issuer}
	if err := m.magic.ManageAsync(m.run, c.Names); err != nil {
		return fmt.Errorf("ACME: %w", err)
	}
	return nil
}

// event tells what came of obtaining a certificate. certmagic tries again by
// itself, with growing pauses.
func (m *Manager) event(_ context.Context, name string, data map[string]any) error {
	host, _ := data["identifier"].(string)
	var kept error
	switch name {
	case "cert_obtained":
		m.log.Info("certificate obtained", "name", host, "renewal", data["renewal"])
		kept = m.failures.set(host, nil)
	case "cert_failed":
		m.log.Error("certificate not obtained", "name", host, "err", data["error"])
		err, _ := data["error"].(error)
		kept = m.failures.set(host, err)
	}
	if kept != nil {
		m.log.Error("the state of ACME cannot be kept", "err", kept)
	}
	return nil
}

// Close stops obtaining, renewing and watching.
func (m *Manager) Close() {
	m.cancel()
	if m.cache != nil {
		m.cache.Stop()
	}
}

// watch reads files again when they have changed. Trouble is logged once, when
// it is met twice in a row: while somebody replaces a pair, its two files do
// not fit each other for a moment.
func (m *Manager) watch() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	last, logged := "", ""
	for {
		select {
		case <-m.run.Done():
			return
		case <-tick.C:
		}
		err := m.Reload()
		now := m.trouble()
		if now != "" && now == last && now != logged {
			m.log.Error("new certificate files cannot be used, the old ones stay", "err", err)
			logged = now
		}
		if last = now; now == "" {
			logged = ""
		}
	}
}

// trouble tells one set of unusable files from another.
func (m *Manager) trouble() string {
	var b strings.Builder
	for _, f := range *m.files.Load() {
		if f.err != nil {
			fmt.Fprintln(&b, f.Cert, f.stamp, f.err)
		}
	}
	return b.String()
}

// Reload reads the files that changed. Those that cannot be read keep their old
// certificate in use; the error names each of them.
func (m *Manager) Reload() error {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	files := slices.Clone(*m.files.Load())
	var errs []error
	for i := range files {
		f := &files[i]
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
	m.files.Store(&files)
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
	files := *m.files.Load()
	if len(files) == 0 {
		return m.self, nil
	}
	if name != "" {
		for _, f := range files {
			if f.cert.Leaf.VerifyHostname(name) == nil {
				return f.cert, nil
			}
		}
	}
	return files[0].cert, nil
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

// Status describes the certificates in use, best first, then the names for which
// ACME has none yet.
func (m *Manager) Status() []Status {
	var all, missing []Status
	for _, n := range m.names {
		if m.magic == nil {
			break
		}
		failed := m.failures.of(n)
		if c := m.obtained(n); c != nil {
			s := status(c, "acme")
			s.Err = failed
			all = append(all, s)
		} else {
			missing = append(missing, Status{Names: []string{n}, Source: "acme", Err: failed})
		}
	}
	for _, f := range *m.files.Load() {
		s := status(f.cert, "file")
		s.Err = f.err
		all = append(all, s)
	}
	if len(all) == 0 {
		all = append(all, status(m.self, "self-signed"))
	}
	return append(all, missing...)
}
