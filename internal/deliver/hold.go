package deliver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// raise holds the account of an alarm. When that cannot be written now, it is
// tried again, and the account sends nothing through this node meanwhile.
func (d *Discipline) raise(alarm *edge.Alarm) {
	d.pending.Store(alarm.Account, alarm)
	if err := d.hold(context.Background(), alarm); err != nil {
		d.Log.Error("cannot hold an account, trying again", "account", alarm.Account, "error", err)
		return
	}
	d.pending.Delete(alarm.Account)
}

// hold writes a hold, with the notices and what it does to the queue, in one
// transaction.
func (d *Discipline) hold(ctx context.Context, alarm *edge.Alarm) error {
	acct, err := d.Intake.Directory.AccountByID(ctx, alarm.Account)
	if errors.Is(err, directory.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	h := directory.Hold{Since: time.Now(), Until: d.Clock.Wall(alarm.Until), Reason: alarm.String()}
	suspect := d.Clock.Wall(alarm.SuspectSince())
	user, err := d.notice(ctx, &holdNotice{account: acct, hold: h, suspect: suspect}, acct.Address)
	if err != nil {
		return err
	}
	post, err := d.notice(ctx, &holdNotice{account: acct, hold: h, suspect: suspect, operator: true}, d.Postmaster)
	if err != nil {
		return err
	}
	// Somebody whose mailbox is full cannot be told; that must not keep the hold.
	for _, plans := range [][]*plan{{user, post}, {post}, {user}, {}} {
		held, n, err := d.writeHold(ctx, acct, h, suspect, plans)
		var full *mail.Reply
		if errors.As(err, &full) && strings.HasPrefix(full.Enhanced, "4.2.") {
			continue
		}
		if err == nil && held {
			d.recordHold(acct, h, alarm, n, plans)
		}
		return err
	}
	return nil
}

func (d *Discipline) writeHold(ctx context.Context, acct directory.Account, h directory.Hold, suspect time.Time, plans []*plan) (held bool, n int64, err error) {
	err = d.Intake.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if held, err = d.Intake.Directory.HoldSending(tx, acct.ID, h); err != nil || !held {
			return err
		}
		if n, err = d.Intake.Queue.HoldAccount(tx, acct.ID, suspect); err != nil {
			return err
		}
		for _, p := range plans {
			if p == nil {
				continue
			}
			if err := p.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
	return held, n, err
}

func (d *Discipline) recordHold(acct directory.Account, h directory.Hold, alarm *edge.Alarm, n int64, plans []*plan) {
	d.Intake.Metrics.held()
	d.Intake.Events.Record(event.Event{Time: h.Since, Kind: event.Edge, Role: string(queue.Submission), Verb: "hold",
		Account: acct.Address.Wire, Count: n, Score: float32(alarm.Score), Evidence: h.Reason,
		Reason: fmt.Sprintf("sending held until %s; %d recipients in the queue held", h.Until.UTC().Format(time.RFC3339), n)})
	for _, p := range plans {
		if p != nil {
			p.record()
		}
	}
}

// endHolds ends what is over: holds whose time has come, with them what waited
// in the queue for that, and suspect mail that nobody wanted.
func (d *Discipline) endHolds(ctx context.Context) error {
	now := time.Now()
	over, err := d.Intake.Directory.HoldsOver(ctx, now)
	if err != nil {
		return err
	}
	for _, acct := range over {
		err := d.Intake.DB.Write(ctx, func(tx *db.Tx) error { return d.Intake.Directory.ReleaseSending(tx, acct, acct.Hold.Vouched) })
		if err != nil {
			return err
		}
		d.Intake.Events.Record(event.Event{Time: now, Kind: event.Edge, Role: string(queue.Submission), Verb: "release",
			Account: acct.Address.Wire, Reason: "the time of the hold is over"})
	}
	waiting, err := d.Intake.Queue.HeldAccounts(ctx)
	if err != nil {
		return err
	}
	for _, id := range waiting {
		err := d.Intake.DB.Write(ctx, func(tx *db.Tx) error {
			held, err := d.Intake.Directory.SendingHeld(tx, id, now)
			if err == nil && !held {
				_, err = d.Intake.Queue.ReleaseAccount(tx, id, queue.ByAccount)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return d.forsake(ctx, now)
}

// forsake deletes suspect mail at the end of its lifetime. The user and the
// administrator have been told that this would happen.
func (d *Discipline) forsake(ctx context.Context, now time.Time) error {
	items, err := d.Intake.Queue.Forsaken(ctx, now, sweepPage)
	if err != nil {
		return err
	}
	for i := range items {
		if i > 0 && items[i].Message.ID == items[i-1].Message.ID {
			continue
		}
		gone, err := d.Intake.Queue.Delete(ctx, queue.Selection{Message: items[i].Message.ID, Holder: queue.Suspect})
		if err != nil {
			return err
		}
		for _, it := range gone {
			d.Intake.Events.Record(event.Event{Time: now, Kind: event.Settled, Trace: it.Message.Trace, Role: "delivery",
				From: it.Message.From.Path(), To: it.Wire, Queue: it.Message.ID, Verb: string(queue.Failed),
				Reason: "suspect, and nobody has released it"})
		}
	}
	return nil
}

// notice plans a notice to an address of ours; nil when nobody reads it.
func (d *Discipline) notice(ctx context.Context, m *holdNotice, to mail.Address) (*plan, error) {
	res, err := d.Intake.Directory.Resolve(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", to.Path(), err)
	}
	if len(res.Targets) == 0 {
		return nil, nil
	}
	m.hostname, m.to, m.life = d.Intake.Hostname, to, d.Intake.lifetime()
	stored, bodyType, err := d.Intake.store(ctx, m)
	if err != nil {
		return nil, err
	}
	a := &Accepted{Trace: mail.NewTraceID(), Origin: queue.DSN, Body: stored, BodyType: bodyType,
		Recipients: []AcceptedRecipient{{Recipient: mail.Recipient{Address: to, Notify: mail.NotifyNever}, Targets: res.Targets}}}
	p := &plan{in: d.Intake, a: a, now: time.Now()}
	return p, p.placeAll(ctx)
}

// holdNotice tells of a hold, in words: the user, or the operator.
type holdNotice struct {
	hostname string
	to       mail.Address
	account  directory.Account
	hold     directory.Hold
	suspect  time.Time
	life     time.Duration
	operator bool
}

// WriteTo writes the notice as a message.
func (m *holdNotice) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	who := oneLine(m.account.Address.Wire, true)
	subject := "Sending from your account has been stopped"
	if m.operator {
		subject = "Sending has been stopped for an account"
	}
	fmt.Fprintf(&b, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <%s>\r\n", m.hostname, oneLine(m.to.Wire, true))
	fmt.Fprintf(&b, "Subject: %s\r\nDate: %s\r\n", subject, m.hold.Since.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Message-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n", strings.ToLower(rand.Text()), m.hostname)
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	fmt.Fprintf(&b, "This is the mail system of %s.\r\n\r\n", m.hostname)
	for _, paragraph := range m.text(who) {
		if command, is := strings.CutPrefix(paragraph, "$ "); is {
			b.WriteString("    " + command + "\r\n")
			continue
		}
		wrap(&b, "", paragraph)
		b.WriteString("\r\n")
	}
	return b.WriteTo(w)
}

func (m *holdNotice) text(who string) []string {
	until, suspect := m.hold.Until.Format(time.RFC1123Z), m.suspect.Format(time.RFC1123Z)
	days := max(int(m.life/(24*time.Hour)), 1)
	if m.operator {
		return []string{
			fmt.Sprintf("The account %s may send nothing until %s. It is not used as usual: %s.", who, until, m.hold.Reason),
			"Most probably somebody has its password. A new password ends the hold at once; otherwise it ends by itself. " +
				"The user has been told, too, and goes on receiving mail.",
			fmt.Sprintf("What the account sent since %s and had not left yet stays in the queue, as suspect, whatever ends the hold: "+
				"look at it, then release or delete it. After %d days it is deleted. What it sent before goes when the hold ends.", suspect, days),
			"$ migiwa queue list --account " + who, "$ migiwa queue delete --account " + who + " --suspect",
			"$ migiwa account set " + who + " password=...", "",
			"If the user has a good reason, this ends the hold, lets all mail go and vouches for the account for a day, " +
				"so that what it does becomes usual:",
			"$ migiwa account release " + who,
		}
	}
	return []string{
		fmt.Sprintf("Your account %s may send nothing until %s. It is not used as you use it: %s.", who, until, m.hold.Reason),
		"If that was not you, somebody else knows your password. Have it changed now, and use the new one nowhere else. " +
			"Then you can send again at once, and the other cannot.",
		"If it was you, wait, or ask your administrator (postmaster), who can release your account.",
		fmt.Sprintf("You go on receiving mail. What your account sent since %s and had not left yet is kept: your administrator can "+
			"send it or delete it; after %d days it is deleted. What you sent before goes by itself.", suspect, days),
	}
}
