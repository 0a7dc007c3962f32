package senderauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/dns"
)

// publicKey is a key record (RFC 6376 section 3.6.1).
type publicKey struct {
	rsa     *rsa.PublicKey
	ed25519 ed25519.PublicKey
	hashes  []string // empty: all
	strict  bool     // t=s: the identity must not be below the domain
	testing bool     // t=y
}

// Errors of keys. All but errKeyLater are for good.
var (
	errKeyLater   = errors.New("the key cannot be asked for now")
	errNoKey      = errors.New("no key for the signature")
	errKeyInvalid = errors.New("invalid key")
	errKeyRevoked = errors.New("the key is revoked")
	errKeySize    = errors.New("RSA key is too small or too large")
)

// lookUpKey asks for the key of a selector.
func lookUpKey(ctx context.Context, r dns.Resolver, selector, domain string) (*publicKey, error) {
	res, err := r.TXT(ctx, selector+"._domainkey."+domain)
	switch {
	case dns.IsNotFound(err):
		return nil, errNoKey
	case err != nil:
		return nil, errKeyLater
	case len(res.Texts) == 0:
		return nil, errNoKey
	}
	// With several records, which of them counts is not defined; the first that
	// is one is taken.
	for _, text := range res.Texts {
		key, kerr := parsePublicKey(text)
		if kerr == nil {
			return key, nil
		}
		err = kerr
	}
	return nil, err
}

func parsePublicKey(text string) (*publicKey, error) {
	t, err := parseTags(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeyInvalid, err)
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return nil, fmt.Errorf("%w: version", errKeyInvalid)
	}
	if s := t.list("s"); len(s) > 0 && !slices.Contains(s, "*") && !slices.Contains(s, "email") {
		return nil, fmt.Errorf("%w: not for mail", errKeyInvalid)
	}
	p, given := t["p"]
	if !given {
		return nil, fmt.Errorf("%w: no key data", errKeyInvalid)
	}
	if p == "" {
		return nil, errKeyRevoked
	}
	data, err := t.octets("p")
	if err != nil {
		return nil, fmt.Errorf("%w: base64", errKeyInvalid)
	}
	key := &publicKey{hashes: t.list("h"), strict: slices.Contains(t.list("t"), "s"), testing: slices.Contains(t.list("t"), "y")}
	return key, key.read(strings.ToLower(t["k"]), data)
}

func (k *publicKey) read(kind string, data []byte) error {
	switch kind {
	case "", "rsa":
		if any, err := x509.ParsePKIXPublicKey(data); err == nil {
			k.rsa, _ = any.(*rsa.PublicKey)
		} else {
			k.rsa, _ = x509.ParsePKCS1PublicKey(data)
		}
		if k.rsa == nil {
			return fmt.Errorf("%w: not RSA", errKeyInvalid)
		}
		if n := k.rsa.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("%w: %d bits", errKeySize, n)
		}
	case "ed25519":
		if len(data) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: not Ed25519", errKeyInvalid)
		}
		k.ed25519 = data
	default:
		return fmt.Errorf("%w: kind %.20q", errKeyInvalid, kind)
	}
	return nil
}

// verify checks the signature of a SHA-256 hash by an algorithm.
func (k *publicKey) verify(algorithm string, hash, signature []byte) error {
	if len(k.hashes) > 0 && !slices.Contains(k.hashes, "sha256") {
		return fmt.Errorf("%w: not for this hash", errKeyInvalid)
	}
	switch {
	case algorithm == "rsa-sha256" && k.rsa != nil:
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, hash, signature)
	case algorithm == "ed25519-sha256" && k.ed25519 != nil:
		if !ed25519.Verify(k.ed25519, hash, signature) {
			return errors.New("signature does not fit")
		}
		return nil
	}
	return fmt.Errorf("%w: of another kind", errKeyInvalid)
}

func (k *publicKey) bits() int {
	if k.rsa != nil {
		return k.rsa.N.BitLen()
	}
	return 256
}
