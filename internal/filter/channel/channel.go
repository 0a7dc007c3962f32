// Package channel makes addresses for one correspondent each, and notices when
// somebody else uses them.
//
// The address is the account's own with a detail that names the correspondent
// and bears a tag:
//
//	ann+shop.example.k3v7q2mx@example.jp
//
// Only this installation can make the tag, and any of its nodes can check it
// with the key alone: no list of addresses is kept anywhere.
package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// tagSize is the length of a tag in letters of five bits.
const tagSize = 8

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrNoRoom means that the address would be longer than local parts may be.
var ErrNoRoom = errors.New("the address would be too long")

// tag is the hash that only the installation can make for an account and a
// correspondent.
func tag(secret []byte, owner, correspondent string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(strings.ToLower(owner) + "\x00" + strings.ToLower(correspondent)))
	return letters.EncodeToString(h.Sum(nil))[:tagSize]
}

// Address gives the address of an account for the mail of one domain and those
// below it. separator is what stands before details.
func Address(secret []byte, owner mail.Address, separator string, correspondent mail.Domain) (mail.Address, error) {
	if separator == "" {
		return mail.Address{}, errors.New("the domain has no details in addresses (plus_separator)")
	}
	name := strings.ToLower(string(correspondent))
	local := owner.Local + separator + name + "." + tag(secret, owner.Key(), name)
	if len(local) > mail.MaxLocal {
		return mail.Address{}, fmt.Errorf("%w: %s", ErrNoRoom, local)
	}
	return mail.MakeAddress(local, owner.Domain), nil
}

// correspondent gives whom the detail of an account's address is for; false
// when it bears no tag of ours.
func correspondent(secret []byte, owner, detail string) (string, bool) {
	i := strings.LastIndexByte(detail, '.')
	if i < 0 || len(detail)-i-1 != tagSize {
		return "", false
	}
	name, given := strings.ToLower(detail[:i]), strings.ToLower(detail[i+1:])
	return name, hmac.Equal([]byte(given), []byte(tag(secret, owner, name)))
}

// Filter finds mail to such addresses that comes from somebody else.
type Filter struct {
	Secret []byte
	// Proven gives the domains that are proven to stand behind a message; nil
	// when nothing can be proven, and then what the sender says is believed.
	Proven func(ctx context.Context, m *filter.Message) []string
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "channel" }

// Symbols of findings.
const (
	Foreign  = "CHANNEL_FOREIGN"
	Unproven = "CHANNEL_UNPROVEN"
)

// Check implements filter.Filter.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	for _, to := range r.Recipients {
		if to.Account == "" || to.Detail == "" {
			continue
		}
		name, ok := correspondent(f.Secret, to.Account, to.Detail)
		if !ok {
			continue
		}
		symbol, evidence := f.judge(ctx, m, name)
		if symbol != "" {
			r.AddFor(to.Index, mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence})
		}
	}
	return nil
}

func (f *Filter) judge(ctx context.Context, m *filter.Message, name string) (symbol, evidence string) {
	author, _ := m.Author()
	said := []string{string(author.Address.Domain), string(m.From.Domain)}
	if !anyBelow(said, name) {
		return Foreign, fmt.Sprintf("the address was made for %s, and the mail says it is from %s", name, strings.Join(said, ", "))
	}
	if f.Proven != nil && !anyBelow(f.Proven(ctx, m), name) {
		return Unproven, "the address was made for " + name + ", and nothing proves that the mail is from there"
	}
	return "", ""
}

func anyBelow(domains []string, name string) bool {
	for _, d := range domains {
		if d = strings.ToLower(d); d == name || strings.HasSuffix(d, "."+name) {
			return true
		}
	}
	return false
}
