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

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

const sweepPage = 500

// sweeper looks after mail that waits: it gives up what is too old, warns
// users of delays and sends the postmaster's digest.
func (r *Runner) sweeper() {
	for first := true; first || sleep(r.soft, r.limits.Sweep); first = false {
		for what, f := range map[string]func(context.Context) error{
			"expire": r.expire, "warn": r.warn, "digest": r.digest,
			"count": func(ctx context.Context) error { return r.Metrics.refresh(ctx, r.Queue) },
		} {
			if err := f(r.soft); err != nil && r.soft.Err() == nil {
				r.Log.Error("cannot look after the queue", "what", what, "error", err)
			}
		}
		r.tidy()
	}
}

// expire gives up recipients of messages that are too old, with the words of
// their newest attempt.
func (r *Runner) expire(ctx context.Context) error {
	end := r.reading()
	items, err := r.Queue.Expired(ctx, time.Now(), sweepPage)
	groups := r.reserve(items)
	end()
	if err != nil {
		return err
	}
	for _, group := range groups {
		s := &settlement{message: group[0].Message, items: group}
		for i := range group {
			o := group[i].Last
			text := "Delivery time expired"
			if o.Text != "" {
				text += "; the newest attempt: " + reply(o, true)
			}
			s.results = append(s.results, queue.Result{Recipient: group[i].ID, Message: group[i].Message.ID, State: queue.Failed,
				Outcome: queue.Outcome{Time: time.Now(), Host: o.Host, Code: 451, Enhanced: "4.4.7", Text: text}})
		}
		r.settle(s)
		r.release(group)
	}
	return nil
}

// reserve groups by message what is not at work and marks it as at work.
func (r *Runner) reserve(items []queue.Item) [][]queue.Item {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]queue.Item
	for _, it := range items {
		if r.active[it.ID] || r.ended[it.ID] {
			continue
		}
		r.active[it.ID] = true
		if n := len(out); n > 0 && out[n-1][0].Message.ID == it.Message.ID {
			out[n-1] = append(out[n-1], it)
			continue
		}
		out = append(out, []queue.Item{it})
	}
	return out
}

func (r *Runner) release(items []queue.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(items)
}

// warn reports delays to users, once a recipient.
func (r *Runner) warn(ctx context.Context) error {
	if r.limits.DelayWarning < 0 {
		return nil
	}
	items, err := r.Queue.Delayed(ctx, time.Now().Add(-r.limits.DelayWarning), sweepPage)
	if err != nil {
		return err
	}
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].Message == items[0].Message {
			n++
		}
		if err := r.warnOf(ctx, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func (r *Runner) warnOf(ctx context.Context, items []queue.Item) error {
	var late []ReportedRecipient
	var marked []queue.Recipient
	m := items[0].Message
	for i := range items {
		marked = append(marked, items[i].Recipient)
		if items[i].Notify.Delay() && items[i].Notify != mail.NotifyNever {
			late = append(late, ReportedRecipient{items[i].Recipient.Recipient, items[i].Last})
		}
	}
	var p *plan
	if len(late) > 0 && !m.From.IsNull() {
		var err error
		if p, err = r.report(ctx, m, ActionDelayed, late); err != nil && !errors.Is(err, errNobody) {
			return err
		}
	}
	err := r.writeWarning(ctx, p, marked)
	var reply *mail.Reply
	if p != nil && errors.As(err, &reply) {
		return r.writeWarning(ctx, nil, marked) // the user's mailbox is full; a warning is not worth more
	}
	return err
}

func (r *Runner) writeWarning(ctx context.Context, p *plan, marked []queue.Recipient) error {
	err := r.Queue.DB.Write(ctx, func(tx *db.Tx) error {
		if p != nil {
			if err := p.write(tx); err != nil {
				return err
			}
		}
		return r.Queue.MarkWarned(tx, marked)
	})
	if err == nil && p != nil {
		p.record()
	}
	return err
}

// digestLines bounds the table of a digest; what is beyond is counted.
const digestLines = 1000

// digest sends the postmaster one mail about all double bounces, when there
// are many or the oldest has waited for a day.
func (r *Runner) digest(ctx context.Context) error {
	rows, err := r.Queue.DoubleBounces(ctx, max(digestLines, r.limits.DigestRows))
	if err != nil || len(rows) == 0 ||
		len(rows) < r.limits.DigestRows && time.Since(rows[0].Created) < r.limits.DigestEvery {
		return err
	}
	res, err := r.Intake.Directory.Resolve(ctx, r.Postmaster)
	if err != nil || len(res.Targets) == 0 {
		return err // the rows wait for a postmaster
	}
	stored, bodyType, err := r.Intake.store(ctx, &digestMail{hostname: r.Hostname, to: r.Postmaster, rows: rows, now: time.Now()})
	if err != nil {
		return err
	}
	a := &Accepted{Trace: mail.NewTraceID(), Origin: queue.DSN, Body: stored, BodyType: bodyType,
		Recipients: []AcceptedRecipient{{Recipient: mail.Recipient{Address: r.Postmaster, Notify: mail.NotifyNever}, Targets: res.Targets}}}
	p := &plan{in: r.Intake, a: a, now: time.Now()}
	if err := p.placeAll(ctx); err != nil {
		return err
	}
	err = r.Queue.DB.Write(ctx, func(tx *db.Tx) error {
		if err := p.write(tx); err != nil {
			return err
		}
		return r.Queue.DropDoubleBounces(tx, rows[len(rows)-1].ID)
	})
	if err == nil {
		p.record()
	}
	return err
}

// digestMail is the digest as a message.
type digestMail struct {
	hostname string
	to       mail.Address
	rows     []queue.DoubleBounce
	now      time.Time
}

// WriteTo writes the digest: a table for people, one failure a line.
func (d *digestMail) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <%s>\r\n", d.hostname, oneLine(d.to.Wire, false))
	fmt.Fprintf(&b, "Subject: %d reports could not be delivered\r\nDate: %s\r\n", len(d.rows), d.now.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Message-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n", strings.ToLower(rand.Text()), d.hostname)
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	b.WriteString("The mail below failed, and there is nobody whom to tell: it had a null sender,\r\n" +
		"was a report itself, or its sender has no mailbox here any more. Nothing needs\r\n" +
		"to be done about single lines. Many for one address or host may show a fault.\r\n\r\n")
	for _, row := range d.rows {
		sender := row.Sender
		line := fmt.Sprintf("%s  %s  <%s> to <%s>: %s", row.Created.UTC().Format("2006-01-02 15:04:05Z"), row.Trace, sender, row.Address, row.Reason)
		if len(line) > 800 {
			line = strings.ToValidUTF8(line[:800], "") + " …"
		}
		b.WriteString(oneLine(line, true) + "\r\n")
	}
	return b.WriteTo(w)
}
