package report

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/report/arf"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/senderauth/aggregate"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Inbox reads the mailbox that reports come to. A report that is understood is
// marked as seen; everything else stays as it is.
type Inbox struct {
	DB        *db.DB
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Events    *event.Recorder
	Address   mail.Address
	Hostname  string
	Log       *slog.Logger
}

// readEvery is how often the mailbox is looked at.
const readEvery = 10 * time.Second

// Run reads until ctx ends.
func (b *Inbox) Run(ctx context.Context) {
	for {
		if _, err := b.Read(ctx); err != nil && ctx.Err() == nil {
			b.Log.Warn("cannot read reports of other sites", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(readEvery):
		}
	}
}

// Read reads what is new and tells how many reports were in it.
func (b *Inbox) Read(ctx context.Context) (reports int, err error) {
	account, err := b.Directory.Account(ctx, b.Address)
	if err != nil {
		return 0, fmt.Errorf("account for reports: %w", err)
	}
	folder, err := b.Mailboxes.Folder(ctx, account.ID, "INBOX")
	if errors.Is(err, mailbox.ErrNoFolder) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	from, err := b.after(ctx, folder.ID)
	if err != nil {
		return 0, err
	}
	var all []mailbox.Message // first, as reading takes its time
	for m, err := range b.Mailboxes.List(ctx, folder.ID, mailbox.Range{First: from + 1, Last: ^uint32(0)}) {
		if err != nil {
			return 0, err
		}
		all = append(all, m)
	}
	for _, m := range all {
		// First, so that a message that ends the process does so once. It is
		// then left unread for a person.
		if err := b.readUpTo(ctx, folder.ID, m.UID); err != nil {
			return reports, err
		}
		is, err := b.one(ctx, folder.ID, m)
		if err != nil {
			err = fmt.Errorf("message %d: %w", m.UID, err)
			return reports, errors.Join(err, b.readUpTo(ctx, folder.ID, m.UID-1))
		}
		if is {
			reports++
		}
	}
	return reports, nil
}

func (b *Inbox) after(ctx context.Context, folder int64) (uid uint32, err error) {
	err = b.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT uid FROM report_read WHERE folder = ?`, folder).Scan(&uid)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return uid, err
}

func (b *Inbox) readUpTo(ctx context.Context, folder int64, uid uint32) error {
	return b.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO report_read (folder, uid) VALUES (?, ?) ON CONFLICT (folder) DO UPDATE SET uid = excluded.uid`, folder, int64(uid))
		return err
	})
}

// one reads a message and tells whether it is a report.
func (b *Inbox) one(ctx context.Context, folder int64, m mailbox.Message) (is bool, err error) {
	c, err := b.Mailboxes.Open(ctx, folder, m.UID)
	if errors.Is(err, mailbox.ErrNoMessage) {
		return false, nil // deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	defer c.Close()
	r, err := aggregate.FromMessage(c)
	switch {
	case err == nil:
		is, err = b.dmarc(ctx, m.Trace, r)
	case errors.Is(err, aggregate.ErrInvalid), errors.Is(err, aggregate.ErrTooLarge):
		if _, err := c.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		is, err = b.complaint(m.Trace, c)
	}
	if err != nil || !is {
		return false, err
	}
	_, err = b.Mailboxes.StoreFlags(ctx, folder, []mailbox.Range{{First: m.UID, Last: m.UID}}, mailbox.FlagChange{Op: mailbox.Add, Flags: mailbox.Seen, Unless: -1})
	return true, err
}

// dmarc keeps an aggregate report on a domain of ours.
func (b *Inbox) dmarc(ctx context.Context, trace mail.TraceID, r *aggregate.Report) (bool, error) {
	domain, err := mail.ParseDomain(r.Policy.Domain)
	if err != nil {
		return false, nil
	}
	if ours, err := b.ours(ctx, domain); err != nil || !ours {
		return false, err
	}
	news := false
	err = b.DB.Write(ctx, func(tx *db.Tx) (err error) {
		news, err = keep(tx, r)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("keep report: %w", err)
	}
	if news {
		all, failed := int64(0), int64(0)
		for _, rec := range r.Records {
			all += int64(rec.Count)
			if !rec.Passed() {
				failed += int64(rec.Count)
			}
		}
		b.Events.Record(event.Event{Kind: event.Report, Trace: trace, Role: "report", Verb: "dmarc", From: r.Metadata.Email, Count: all,
			Reason: fmt.Sprintf("%s saw %d messages of %s, %d of them not proven to be its own", r.Metadata.OrgName, all, domain, failed)})
	}
	return true, nil
}

// ours tells whether a domain, or one above it, is served here.
func (b *Inbox) ours(ctx context.Context, name mail.Domain) (bool, error) {
	for {
		_, err := b.Directory.Domain(ctx, name)
		if err == nil || !errors.Is(err, directory.ErrNotFound) {
			return err == nil, err
		}
		_, above, found := strings.Cut(string(name), ".")
		if !found {
			return false, nil
		}
		name = mail.Domain(above)
	}
}

// complaint makes an event of a report on one message.
func (b *Inbox) complaint(trace mail.TraceID, message io.Reader) (bool, error) {
	r, err := arf.Read(message)
	if errors.Is(err, arf.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e := event.Event{Kind: event.Report, Trace: trace, Role: "report", Verb: r.Type, From: r.ReportingMTA, IP: r.Source, Count: int64(r.Incidents),
		Subject: mail.DecodeText(r.Original.Get("Subject")), Reason: strings.Join(append([]string{r.AuthFailure}, r.Domains...), " ")}
	e.Reason = strings.TrimSpace(e.Reason)
	if ids := mail.MessageIDs(r.Original.Get("Message-ID")); len(ids) > 0 {
		e.MessageID = strings.Trim(ids[0], "<>")
	}
	if own := b.ownTrace(r.Original); own != "" {
		e.Trace, e.Session = own, trace
	}
	b.Events.Record(e)
	return true, nil
}

// passed is what our own Received fields say, once they stand on one line.
var passed = regexp.MustCompile(`\bby (\S+)( with \S+)? id ([0-9A-Za-z]{10,40})\b`)

// ownTrace gives the trace of a message that has passed through this site.
func (b *Inbox) ownTrace(h *mail.Header) mail.TraceID {
	for _, value := range h.Values("Received") {
		m := passed.FindStringSubmatch(strings.Join(strings.Fields(value), " "))
		if m != nil && mail.TraceID(m[3]).Valid() && senderauth.OrganisationalDomain(m[1]) == senderauth.OrganisationalDomain(b.Hostname) {
			return mail.TraceID(m[3])
		}
	}
	return ""
}
