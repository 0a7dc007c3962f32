package senderauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// ErrNoFrom says that a message has no From field, without which nothing can
// be signed (RFC 6376 section 5.4).
var ErrNoFrom = errors.New("no From field to sign")

// SigningKey is a key with the place where it is published.
type SigningKey struct {
	Domain   mail.Domain // d=, no address literal
	Selector string      // s=, one or more labels of letters, digits and hyphens
	Key      Key
}

// Signer makes DKIM signatures, one for each of its keys. It is safe for use
// by many goroutines as long as its fields do not change.
type Signer struct {
	Keys   []SigningKey
	Expire time.Duration // x= lies so far after t=; 0 for no expiry
}

// oversigned are fields listed in h= once more than they stand in the message,
// so that adding one breaks the signature (RFC 6376 section 8.15).
var oversigned = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// signedIfThere are fields signed as often as they stand in the message.
// Mailing lists that change nothing else add them, and shall not break the
// signature by it.
var signedIfThere = []string{
	"Sender", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
	"Autocrypt", "Auto-Submitted", "CFBL-Address", "CFBL-Feedback-ID",
}

// Sign reads body to its end and gives the DKIM-Signature fields for it and
// header: complete lines to be put in front of the message. Header and body
// must be sent as they are; line ends of LF count as CRLF.
func (s *Signer) Sign(header *mail.Header, body io.Reader) (string, error) {
	h := NewBodyHash()
	if _, err := io.Copy(h, body); err != nil {
		return "", fmt.Errorf("hashing body: %w", err)
	}
	return s.SignHash(header, h.Sum())
}

// SignHash is Sign for a body that was hashed before, by a BodyHash.
func (s *Signer) SignHash(header *mail.Header, bodyHash []byte) (string, error) {
	if !header.Has("From") {
		return "", ErrNoFrom
	}
	names, data := pick(header)
	now := time.Now()
	var out strings.Builder
	for _, k := range s.Keys {
		field, err := s.signature(k, names, data, bodyHash, now)
		if err != nil {
			return "", fmt.Errorf("signing as %s._domainkey.%s: %w", k.Selector, k.Domain, err)
		}
		out.WriteString(field)
	}
	return out.String(), nil
}

// pick gives the names for h= and the canonical fields in their order: of
// several fields of one name, the lowest first (RFC 6376 section 5.4.2).
func pick(header *mail.Header) (names []string, data string) {
	fields := map[string][]string{}
	for f := range header.All() {
		name := strings.ToLower(f.Name)
		fields[name] = append(fields[name], f.Raw())
	}
	var b strings.Builder
	add := func(name string, extra int) {
		name = strings.ToLower(name)
		raw := fields[name]
		for i := len(raw) - 1; i >= 0; i-- {
			names = append(names, name)
			b.WriteString(relaxedHeader(raw[i]))
		}
		for range extra {
			names = append(names, name)
		}
	}
	for _, name := range oversigned {
		add(name, 1)
	}
	for _, name := range signedIfThere {
		add(name, 0)
	}
	return names, b.String()
}

// signature makes one field. The b= tag stands last, so that the field without
// its value ends there.
func (s *Signer) signature(k SigningKey, names []string, data string, bodyHash []byte, now time.Time) (string, error) {
	if err := k.check(); err != nil {
		return "", err
	}
	tags := []string{
		" v=1;", " a=" + string(k.Key.Algorithm()) + "-sha256;", " c=relaxed/relaxed;",
		" d=" + string(k.Domain) + ";", " s=" + strings.ToLower(k.Selector) + ";", " t=" + strconv.FormatInt(now.Unix(), 10) + ";",
	}
	if s.Expire > 0 {
		tags = append(tags, " x="+strconv.FormatInt(now.Add(s.Expire).Unix(), 10)+";")
	}
	tags = append(tags, " h="+names[0])
	for _, name := range names[1:] {
		tags = append(tags, ":"+name)
	}
	tags = append(tags, ";", " bh="+base64.StdEncoding.EncodeToString(bodyHash)+";")
	field := foldTags("DKIM-Signature:", tags) + "\r\n\tb="
	hash := sha256.Sum256([]byte(data + strings.TrimSuffix(relaxedHeader(field), "\r\n")))
	sig, err := k.Key.sign(hash)
	if err != nil {
		return "", err
	}
	return field + foldValue(base64.StdEncoding.EncodeToString(sig)) + "\r\n", nil
}

// check tells whether the key can be looked up where it claims to be.
func (k SigningKey) check() error {
	if d, err := mail.ParseDomain(string(k.Domain)); err != nil || d != k.Domain || strings.HasPrefix(string(d), "[") {
		return fmt.Errorf("%w: domain %q", ErrKey, k.Domain)
	}
	if d, err := mail.ParseDomain(k.Selector); err != nil || !strings.EqualFold(string(d), k.Selector) {
		return fmt.Errorf("%w: selector %q", ErrKey, k.Selector)
	}
	return nil
}

const lineWidth = 76

// foldTags joins tags and breaks lines before those that do not fit.
func foldTags(start string, tags []string) string {
	var b strings.Builder
	b.WriteString(start)
	col := len(start)
	for _, t := range tags {
		if col+len(t) > lineWidth {
			b.WriteString("\r\n\t")
			col, t = 8, strings.TrimLeft(t, " ")
		}
		b.WriteString(t)
		col += len(t)
	}
	return b.String()
}

// foldValue breaks a long base64 text; the b= tag may hold white space.
func foldValue(v string) string {
	const width = lineWidth - 8 - 2
	var b strings.Builder
	for len(v) > width {
		b.WriteString(v[:width] + "\r\n\t")
		v = v[width:]
	}
	return b.String() + v
}
