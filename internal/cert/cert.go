// Package cert finds, obtains and reloads TLS certificates.
//
// A Manager has up to three sources. Certificate files are chosen by SNI, the
// first being the default, and are read again within seconds when they change; a
// broken new file leaves the old certificate in use. No handshake waits for a disk. ACME (RFC 8555) obtains certificates in the
// background by HTTP-01 or TLS-ALPN-01 and renews them. The self-signed pair in
// the directory serves while neither of the others has an answer.
//
// Layout of the directory: cert.pem and key.pem, the self-signed pair;
// acme/, what certmagic keeps: accounts, certificates and keys; acme-failures.json,
// how the last attempt ended for each name that it failed for.
package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CertFile names a certificate chain and its key, both in PEM.
type CertFile struct{ Cert, Key string }

// Status describes one certificate, for a person or a metric.
type Status struct {
	Names       []string // DNS names and addresses
	Issuer      string
	NotAfter    time.Time // zero: ACME has no certificate for Names yet
	Source      string    // "file", "acme" or "self-signed"
	Fingerprint string    // SHA-256 of the certificate, lower-case hex
	Err         error     // why no newer one is in use: a broken file, or a *Failure of ACME; nil normally
}

func status(c *tls.Certificate, source string) Status {
	leaf, sum := c.Leaf, sha256.Sum256(c.Certificate[0])
	s := Status{Names: append([]string(nil), leaf.DNSNames...), Issuer: leaf.Issuer.String(), NotAfter: leaf.NotAfter,
		Source: source, Fingerprint: hex.EncodeToString(sum[:])}
	for _, ip := range leaf.IPAddresses {
		s.Names = append(s.Names, ip.String())
	}
	return s
}

// selfSignedLife is long, since no peer checks it and nobody renews it.
const selfSignedLife = 10 * 365 * 24 * time.Hour

// SelfSigned makes cert.pem and key.pem in dir for names (host names or
// addresses), unless both are there, and returns their paths. It overwrites
// nothing: half a pair is an error.
func SelfSigned(dir string, names []string) (CertFile, error) {
	f := CertFile{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err == nil {
		return f, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("reading the self-signed certificate: %w", err)
	}
	if len(names) == 0 {
		return f, errors.New("self-signed certificate: no names given")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return f, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, strings.ToLower(n))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return f, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return f, err
	}
	return f, createPair(dir, pem.Block{Type: "CERTIFICATE", Bytes: der}, pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// createPair makes cert.pem and key.pem in dir, which may have neither. A new
// dir is made with both or, when that is cut short, not at all.
func createPair(dir string, cert, key pem.Block) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made) // nothing when it was renamed
	err = create(filepath.Join(made, "key.pem"), key, 0o600)
	if err == nil {
		err = create(filepath.Join(made, "cert.pem"), cert, 0o644)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(made, dir); err == nil || !errors.Is(err, os.ErrExist) {
		return err
	}
	// The owner has other things there.
	if err := create(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
		return err
	}
	if err := create(filepath.Join(dir, "cert.pem"), cert, 0o644); err != nil {
		os.Remove(filepath.Join(dir, "key.pem")) // of no use without it, and in the way of another try
		return err
	}
	return nil
}

// create writes a file that must not exist yet.
func create(path string, b pem.Block, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("making a self-signed certificate: %w", err)
	}
	if _, err = f.Write(pem.EncodeToMemory(&b)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path) // half a file would be taken for the owner's
		return fmt.Errorf("making a self-signed certificate: %w", err)
	}
	return nil
}
