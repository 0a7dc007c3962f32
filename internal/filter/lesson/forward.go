package lesson

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Bounds of mail that reports other mail.
const (
	maxForwarded = 20       // messages attached to one
	maxSize      = 20 << 20 // octets of the whole
)

// Forwarded learns from the messages that an account has sent as attachments to
// an address for spam, or to one for mail that is none, and tells how many. It
// is the same as moving them, for those who read their mail by POP.
func (t *Teacher) Forwarded(ctx context.Context, account directory.Account, spam bool, message io.Reader) (int, error) {
	raw, err := io.ReadAll(io.LimitReader(message, maxSize+1))
	if err != nil {
		return 0, err
	}
	if len(raw) > maxSize {
		return 0, fmt.Errorf("it has more than %d octets", maxSize)
	}
	attached, err := attachedMessages(raw)
	if err != nil {
		return 0, err
	}
	m := moved{account: account.ID, address: account.Address.Key(), lesson: mailbox.OutOfJunk}
	if spam {
		m.lesson = mailbox.IntoJunk
	}
	for _, one := range attached {
		if err := t.forwarded(ctx, m, one); err != nil {
			return 0, err
		}
	}
	return len(attached), nil
}

func (t *Teacher) forwarded(ctx context.Context, m moved, raw []byte) error {
	learns, err := t.on(ctx, m, "learned")
	if err != nil {
		return err
	}
	reports, err := t.on(ctx, m, "digest")
	if err != nil || !learns && !reports {
		return err
	}
	msg, err := filter.FromBytes(filter.Envelope{}, raw)
	if err != nil {
		return err
	}
	if learns {
		// Messages in mailboxes have numbers above 0.
		sum := sha256.Sum256(raw)
		m.emailid = -int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
		if err := t.DB.Write(ctx, func(tx *db.Tx) error { return m.teach(tx, words(msg)) }); err != nil {
			return err
		}
	}
	if !reports || t.Reports == nil {
		return nil
	}
	return t.Reports.Report(ctx, m.address, digest.Fingerprints(msg), m.lesson == mailbox.IntoJunk)
}

// attachedMessages gives the messages inside a message as they stand. One in a
// transfer encoding, which RFC 2046 section 5.2.1 forbids, is left out.
func attachedMessages(raw []byte) ([][]byte, error) {
	root, err := mail.ReadMIME(bytes.NewReader(raw), mail.DefaultMIMELimits(), nil)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	var walk func(p *mail.Part)
	walk = func(p *mail.Part) {
		for _, child := range p.Children {
			if !strings.HasPrefix(p.Type, "message/") {
				walk(child)
			} else if !child.Decoded && len(out) < maxForwarded {
				out = append(out, raw[child.HeaderOffset:child.BodyOffset+child.BodySize])
			}
		}
	}
	walk(root)
	return out, nil
}
