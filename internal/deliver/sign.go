package deliver

import (
	"context"
	"fmt"
	"sync"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Signer signs what leaves in the name of a domain of ours by DKIM. Its fields
// are set before use.
type Signer struct {
	Directory *directory.Directory

	keys sync.Map // senderauth.Key by its text
}

// Sign gives the DKIM-Signature fields of the author's domain of a message, each
// ending in CRLF; none when it has no keys.
func (s *Signer) Sign(ctx context.Context, header *mail.Header, body *senderauth.BodyHash) (string, error) {
	authors, err := mail.ParseAddressList(header.Get("From"))
	if err != nil || len(authors) == 0 {
		return "", fmt.Errorf("sign: From: %w", err)
	}
	domain := authors[0].Address.Domain
	stored, err := s.Directory.SigningKeys(ctx, domain)
	if err != nil || len(stored) == 0 {
		return "", err
	}
	var signer senderauth.Signer
	for _, k := range stored {
		key, err := s.key(k.Private)
		if err != nil {
			return "", fmt.Errorf("DKIM key %s of %s: %w", k.Selector, domain, err)
		}
		signer.Keys = append(signer.Keys, senderauth.SigningKey{Domain: domain, Selector: k.Selector, Key: key})
	}
	return signer.SignHash(header, body.Sum())
}

func (s *Signer) key(pem string) (senderauth.Key, error) {
	if k, ok := s.keys.Load(pem); ok {
		return k.(senderauth.Key), nil
	}
	k, err := senderauth.ParseKey([]byte(pem))
	if err == nil {
		s.keys.Store(pem, k)
	}
	return k, err
}
