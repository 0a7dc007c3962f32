package lesson

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/filter/learned"
	"github.com/migiwa/migiwa/internal/filter/reputation"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Teacher looks at what users have moved, and teaches the filters that are on
// for them. Several nodes may do it at the same time.
type Teacher struct {
	DB        *db.DB
	Directory *directory.Directory
	Bodies    *body.Store
	// Default is the mode of a filter that neither account nor domain has set.
	Default func(name string) filter.Mode
	Reports digest.Store // nil: nobody hears of what is reported
	// Complain hears of messages that an account with the filter "digest" on
	// has moved into Junk; nil: nobody does.
	Complain func(ctx context.Context, message io.Reader) error
	Log      *slog.Logger
}

// Pause is how long the Teacher rests when there is nothing to learn.
const pause = 2 * time.Second

// Run teaches until ctx ends.
func (t *Teacher) Run(ctx context.Context) {
	for {
		n, err := t.Teach(ctx)
		if err != nil && ctx.Err() == nil {
			t.Log.Warn("cannot learn from moved mail", "err", err)
		}
		if n > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// moved is one note of the mailbox room.
type moved struct {
	id, account, body, emailid int64
	address                    string
	lesson                     mailbox.Lesson
}

// Teach works off some notes and tells how many.
func (t *Teacher) Teach(ctx context.Context) (int, error) {
	var list []moved
	err := t.DB.Read(ctx, func(tx *db.Tx) error {
		list = list[:0]
		return tx.Each(`SELECT l.id, l.account, l.body, l.emailid, l.junk, a.addresskey FROM lesson l JOIN account a ON a.id = l.account
			ORDER BY l.id LIMIT 50`, nil, func(scan func(...any) error) error {
			var m moved
			err := scan(&m.id, &m.account, &m.body, &m.emailid, &m.lesson, &m.address)
			list = append(list, m)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("read moves: %w", err)
	}
	for _, m := range list {
		if err := t.one(ctx, m); err != nil {
			return 0, fmt.Errorf("learn for %s: %w", m.address, err)
		}
	}
	return len(list), nil
}

func (t *Teacher) one(ctx context.Context, m moved) error {
	learns, err := t.on(ctx, m, "learned")
	if err != nil {
		return err
	}
	reports, err := t.on(ctx, m, "digest")
	if err != nil {
		return err
	}
	judges, err := t.on(ctx, m, "reputation")
	if err != nil {
		return err
	}
	var msg *filter.Message
	if learns || reports {
		if msg, err = t.message(ctx, m); err != nil {
			return err
		}
	}
	first := false
	err = t.DB.Write(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`DELETE FROM lesson WHERE id = ?`, m.id)
		first = n > 0 // otherwise another node was faster
		if err == nil && first && judges {
			err = m.judge(tx)
		}
		if err != nil || !first || !learns || msg == nil {
			return err
		}
		return m.teach(tx, words(msg))
	})
	if err != nil || !first || !reports || msg == nil || t.Reports == nil || m.lesson == mailbox.Kept {
		return err
	}
	if err := t.Reports.Report(ctx, m.address, digest.Fingerprints(msg), m.lesson == mailbox.IntoJunk); err != nil {
		return err
	}
	if m.lesson != mailbox.IntoJunk || t.Complain == nil {
		return nil
	}
	return t.complain(ctx, m)
}

// judge counts for or against the sources of the message. Moving it out of Junk
// takes back what moving it there has counted.
func (m moved) judge(tx *db.Tx) error {
	var prefix []byte
	err := tx.Row(`SELECT prefix FROM message WHERE body = ? AND emailid = ? LIMIT 1`, m.body, m.emailid).Scan(&prefix)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it is gone
	}
	if err != nil {
		return err
	}
	spam, ham := 0.0, 1.0
	switch m.lesson {
	case mailbox.IntoJunk:
		spam, ham = 1, -reputation.Left // it was not left where it came
	case mailbox.OutOfJunk:
		spam = -1
	}
	return reputation.Add(tx, m.account, reputation.Stored(prefix), spam, ham)
}

// complain is no reason to learn again.
func (t *Teacher) complain(ctx context.Context, m moved) error {
	r, err := t.Bodies.Open(ctx, m.body)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.Complain(ctx, r); err != nil {
		t.Log.Warn("cannot tell a sender of a complaint", "account", m.address, "err", err)
	}
	return nil
}

// on tells whether a filter may learn from the account's mail.
func (t *Teacher) on(ctx context.Context, m moved, name string) (bool, error) {
	address, err := mail.ParseAddress(m.address)
	if err != nil {
		return false, err
	}
	modes, err := t.Directory.Consents(ctx, m.account, address.Domain)
	if err != nil {
		return false, err
	}
	return filter.ModeIn(modes, name, t.Default) > filter.Off, nil
}

// message reads what was moved; nil when it is gone.
func (t *Teacher) message(ctx context.Context, m moved) (*filter.Message, error) {
	var left int64
	err := t.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*) FROM message WHERE body = ? AND emailid = ?`, m.body, m.emailid).Scan(&left)
	})
	if err != nil || left == 0 {
		return nil, err
	}
	msg, err := t.read(ctx, m.body)
	if errors.Is(err, body.ErrGone) || errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrCorrupt) {
		return nil, nil // it will not come back, and the others must not wait for it
	}
	return msg, err
}

func (t *Teacher) read(ctx context.Context, id int64) (*filter.Message, error) {
	r, err := t.Bodies.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return filter.Read(filter.Envelope{}, r)
}

// words gives the hashes of what is in the message, each once.
func words(m *filter.Message) []uint64 {
	hashes := learned.Hashes(learned.Tokens(m))
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// teach counts the message. A move the other way takes back what the one before
// had taught; mail that was only kept and then goes into Junk is spam all the
// same.
func (m moved) teach(tx *db.Tx, hashes []uint64) error {
	var was mailbox.Lesson
	err := tx.Row(`SELECT spam FROM taught WHERE account = ? AND emailid = ?`, m.account, m.emailid).Scan(&was)
	spam := m.lesson == mailbox.IntoJunk
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return m.count(tx, hashes)
	case err != nil:
		return err
	case (was == mailbox.IntoJunk) == spam:
		return nil // twice the same way: a copy was made
	}
	if _, err := tx.Exec(`DELETE FROM taught WHERE account = ? AND emailid = ?`, m.account, m.emailid); err != nil {
		return err
	}
	if err := add(tx, m.account, delta(hashes, !spam, -1)); err != nil || was != mailbox.Kept {
		return err
	}
	return m.count(tx, hashes)
}

func (m moved) count(tx *db.Tx, hashes []uint64) error {
	if _, err := tx.Exec(`INSERT INTO taught (account, emailid, spam) VALUES (?, ?, ?)`, m.account, m.emailid, int64(m.lesson)); err != nil {
		return err
	}
	return add(tx, m.account, delta(hashes, m.lesson == mailbox.IntoJunk, 1))
}

func delta(hashes []uint64, spam bool, n int) learned.Delta {
	if spam {
		return learned.Delta{Spam: n, Hashes: hashes}
	}
	return learned.Delta{Ham: n, Hashes: hashes}
}
