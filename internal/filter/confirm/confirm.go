// Package confirm is the filter "confirm", which is off unless somebody turns it
// on: it finds mail of senders who have never been heard of.
//
// Where a recipient lets it file such mail, its sender is asked once to answer,
// at an address that only this installation can make; whoever does is known from
// then on. Nobody is asked whose address is not proven by DKIM or SPF of the
// author's own domain, so that no third person ever gets a question about mail
// that he has not sent; neither are lists and programs.
package confirm

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Unconfirmed is the finding.
const Unconfirmed = "CONFIRM_UNKNOWN"

// Filter is the filter "confirm".
type Filter struct {
	Store  *Store
	Secret []byte
	Proven func(context.Context, *filter.Message) []string // nil: nobody is proven
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "confirm" }

// Check implements filter.Filter.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	author, ok := f.Askable(ctx, m)
	if !ok {
		return nil
	}
	for _, to := range r.Recipients {
		if to.ID == 0 || f.Answers(to, author) {
			continue
		}
		known, err := f.Store.Known(ctx, to.ID, author.Key())
		if err != nil {
			return err
		}
		if !known {
			r.AddFor(to.Index, mail.Finding{Symbol: Unconfirmed, Score: filter.Score(Unconfirmed), Evidence: author.Key() + " has never written to you before"})
		}
	}
	return nil
}

// Askable gives the author of a message who may be asked something: a person, as
// far as can be seen, whose own domain is proven.
func (f *Filter) Askable(ctx context.Context, m *filter.Message) (mail.Address, bool) {
	author, count := m.Author()
	a := author.Address
	domain, err := senderauth.AuthorDomain(m.Header)
	if count != 1 || err != nil || m.From.IsNull() || automatic(m.Header, a) || f.Proven == nil {
		return mail.Address{}, false
	}
	for _, d := range f.Proven(ctx, m) {
		if strings.EqualFold(d, domain) {
			return a, true
		}
	}
	return mail.Address{}, false
}

// automatic tells of mail that no person waits behind (RFC 3834 section 2).
func automatic(h *mail.Header, a mail.Address) bool {
	switch strings.ToLower(strings.TrimSpace(h.Get("Precedence"))) {
	case "bulk", "list", "junk":
		return true
	}
	if auto := strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted"))); auto != "" && auto != "no" {
		return true
	}
	for _, field := range []string{"List-ID", "List-Unsubscribe", "List-Post", "Feedback-ID", "X-Auto-Response-Suppress"} {
		if h.Has(field) {
			return true
		}
	}
	local := strings.ToLower(a.Local)
	for _, word := range []string{"noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon", "postmaster", "bounce", "owner-", "-request"} {
		if strings.Contains(local, word) {
			return true
		}
	}
	return false
}

const prefix = "confirm-"

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Detail gives the detail of an account's address at which a sender confirms.
func (f *Filter) Detail(account, sender string) string {
	h := hmac.New(sha256.New, f.Secret)
	h.Write([]byte("confirm\x00" + account + "\x00" + sender))
	return prefix + letters.EncodeToString(h.Sum(nil))[:16]
}

// Answers tells whether a recipient's address is the one at which a sender
// confirms.
func (f *Filter) Answers(to filter.Recipient, sender mail.Address) bool {
	return to.Account != "" && hmac.Equal([]byte(strings.ToLower(to.Detail)), []byte(f.Detail(to.Account, sender.Key())))
}
