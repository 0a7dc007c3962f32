package senderauth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ErrKey is wrapped by errors about keys.
var ErrKey = errors.New("invalid DKIM key")

// Algorithm is a kind of key, as in the k= tag of its record.
type Algorithm string

// Algorithms. Every verifier knows RSA; few know Ed25519 (RFC 8463), whose
// records and signatures are far shorter. Sign with both.
const (
	RSA     Algorithm = "rsa" // 2048 bits when generated
	Ed25519 Algorithm = "ed25519"
)

// Sizes of RSA keys in bits: what verifiers must take lies between the first
// two (RFC 8301 section 3.2), and a bigger one makes signing a burden.
const (
	minRSA = 1024
	maxRSA = 4096
	newRSA = 2048
)

// Key is a private key for DKIM. The zero Key is none.
type Key struct {
	private crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

// GenerateKey makes a new key.
func GenerateKey(alg Algorithm) (Key, error) {
	switch alg {
	case RSA:
		k, err := rsa.GenerateKey(rand.Reader, newRSA)
		if err != nil {
			return Key{}, fmt.Errorf("generating RSA key: %w", err)
		}
		return Key{k}, nil
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("generating Ed25519 key: %w", err)
		}
		return Key{k}, nil
	}
	return Key{}, fmt.Errorf("%w: algorithm %q", ErrKey, alg)
}

// ParseKey reads the first PEM block of text: PKCS#8, or the PKCS#1 that older
// tools write for RSA. RSA keys must have 1024 to 4096 bits.
func ParseKey(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, fmt.Errorf("%w: no PEM block", ErrKey)
	}
	var k any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return Key{}, fmt.Errorf("%w: PEM block %q", ErrKey, block.Type)
	}
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	switch k := k.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return Key{}, fmt.Errorf("%w: RSA of %d bits", ErrKey, n)
		}
		return Key{k}, nil
	case ed25519.PrivateKey:
		return Key{k}, nil
	}
	return Key{}, fmt.Errorf("%w: %T", ErrKey, k)
}

// PEM writes the private key as PKCS#8.
func (k Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// IsZero tells whether k is no key.
func (k Key) IsZero() bool { return k.private == nil }

// Algorithm gives the kind of k, "" for the zero Key.
func (k Key) Algorithm() Algorithm {
	switch k.private.(type) {
	case *rsa.PrivateKey:
		return RSA
	case ed25519.PrivateKey:
		return Ed25519
	}
	return ""
}

// Record gives the text of the TXT record at SELECTOR._domainkey.DOMAIN that
// publishes the key (RFC 6376 section 3.6.1), "" for the zero Key. RSA is
// written as SubjectPublicKeyInfo, Ed25519 as its 32 octets.
func (k Key) Record() string {
	var public []byte
	switch p := k.private.(type) {
	case *rsa.PrivateKey:
		der, err := x509.MarshalPKIXPublicKey(&p.PublicKey)
		if err != nil { // no RSA key of ours fails to be written
			return ""
		}
		public = der
	case ed25519.PrivateKey:
		public = p.Public().(ed25519.PublicKey)
	default:
		return ""
	}
	return "v=DKIM1; k=" + string(k.Algorithm()) + "; p=" + base64.StdEncoding.EncodeToString(public)
}

// ZoneText writes a TXT record's text for a zone file: quoted strings of at
// most 255 octets each (RFC 1035 section 3.3), separated by spaces.
func ZoneText(record string) string {
	var out []string
	for {
		n := min(len(record), 255)
		out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(record[:n])+`"`)
		if record = record[n:]; record == "" {
			return strings.Join(out, " ")
		}
	}
}

// sign signs a SHA-256 hash: PKCS#1 v1.5 for RSA, Ed25519 of the hash as
// message (RFC 8463 section 3).
func (k Key) sign(hash [sha256.Size]byte) ([]byte, error) {
	switch k.Algorithm() {
	case RSA:
		return k.private.Sign(rand.Reader, hash[:], crypto.SHA256)
	case Ed25519:
		return k.private.Sign(rand.Reader, hash[:], crypto.Hash(0))
	}
	return nil, fmt.Errorf("%w: none", ErrKey)
}
