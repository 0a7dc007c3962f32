package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Accepted is a message that is about to be acknowledged.
type Accepted struct {
	Trace      mail.TraceID
	Origin     queue.Origin // MX, Submission or DSN; forwarded parts get Forward by themselves
	Account    int64        // who submitted it; 0: nobody
	From       mail.Address
	Recipients []AcceptedRecipient
	Prefix     []byte      // header fields in front of the body: Received …, each ending in CRLF
	Body       blob.Stored // on disk
	BodyType   mail.BodyType
	SMTPUTF8   bool
	Ret        string // RFC 3461
	EnvID      string
	MessageID  string // for events, without angle brackets
	Subject    string // for events, decoded
	Submitter  string // for events: address of the account

	bodyID   int64 // set instead of Body when the body store knows the body already
	complete bool  // Prefix stands for itself: no Return-Path, no Delivered-To
}

// AcceptedRecipient is an envelope recipient with what the directory made of
// it. One without targets is a recipient elsewhere.
type AcceptedRecipient struct {
	mail.Recipient
	Targets  []directory.Target
	Findings []mail.Finding // shown in the header of this recipient's copies
	Copies   []Copy         // of the targets, in their order; may be nil
}

// Copy is what is special about the message for one target.
type Copy struct {
	Fields string // header fields of it alone, each ending in CRLF
	Folder string // of its mailbox, a name or special use; "" is the INBOX
}

func (r *AcceptedRecipient) copy(target int) Copy {
	if target < len(r.Copies) {
		return r.Copies[target]
	}
	return Copy{}
}

// labels gives the header fields that only the copy for a target has.
func (r *AcceptedRecipient) labels(target int) string {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.Field())
	}
	b.WriteString(r.copy(target).Fields)
	return b.String()
}

// Intake makes accepted messages durable. Its fields are set before use.
type Intake struct {
	DB        *db.DB
	Bodies    *body.Store
	Mailboxes *mailbox.Store
	Queue     *queue.Queue
	Directory *directory.Directory
	Routes    *Table
	Events    *event.Recorder
	Metrics   *Metrics
	Hostname  string        // in reports
	Lifetime  time.Duration // until undelivered mail is given up; 0: DefaultLifetime
}

// DefaultLifetime is how long mail is tried (RFC 5321 section 4.5.4.1).
const DefaultLifetime = 5 * 24 * time.Hour

// Accept makes messages durable, those of one dialogue, for all their recipients
// or for none. After nil the caller may answer 250. A mailbox that became full
// since RCPT is a *mail.Reply 452 4.2.2, a full disk one of 452 4.3.1.
func (in *Intake) Accept(ctx context.Context, messages ...*Accepted) error {
	plans := make([]*plan, len(messages))
	for i, a := range messages {
		var err error
		if plans[i], err = in.plan(ctx, a); err != nil {
			return noRoom(err)
		}
	}
	err := in.DB.Write(ctx, func(tx *db.Tx) error {
		for _, p := range plans {
			if err := p.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return noRoom(err)
	}
	for _, p := range plans {
		p.record()
	}
	return nil
}

// noRoom gives a full disk as the reply for it.
func noRoom(err error) error {
	if errors.Is(err, db.ErrFull) || errors.Is(err, blob.ErrFull) {
		return mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "No room for the message, try again later"}.Because(err)
	}
	return err
}

// plan is what becomes of one accepted message, decided before the
// transaction. Its methods may run more than once.
type plan struct {
	in       *Intake
	a        *Accepted
	now      time.Time
	local    []mailboxCopy
	outgoing []outgoing
	reports  []*plan // of success
	action   Action  // of a plan that is a report
	queued   []int64 // queue numbers, by outgoing; set by write
}

// mailboxCopy is the message for one mailbox.
type mailboxCopy struct {
	rcpt   *AcceptedRecipient
	target *directory.Target
	prefix []byte
	folder string
}

// outgoing is the message for other hosts, with one envelope sender and the
// same labels for all.
type outgoing struct {
	origin queue.Origin
	from   mail.Address
	labels string
	rcpts  []queue.Recipient
}

// place names the folder for events.
func (c *mailboxCopy) place() string {
	if c.folder == "" {
		return "INBOX"
	}
	return strings.TrimPrefix(c.folder, `\`)
}

func (in *Intake) plan(ctx context.Context, a *Accepted) (*plan, error) {
	p := &plan{in: in, a: a, now: time.Now()}
	if err := p.placeAll(ctx); err != nil {
		return nil, err
	}
	if err := p.reportSuccess(ctx); err != nil {
		return nil, fmt.Errorf("report success: %w", err)
	}
	return p, nil
}

func (p *plan) placeAll(ctx context.Context) error {
	for i := range p.a.Recipients {
		r := &p.a.Recipients[i]
		if len(r.Targets) == 0 {
			p.send(p.a.Origin, p.a.From, r, 0, r.Address, 0)
		}
		for j := range r.Targets {
			if err := p.place(ctx, r, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// place decides for one target.
func (p *plan) place(ctx context.Context, r *AcceptedRecipient, target int) error {
	t := &r.Targets[target]
	switch {
	case t.Account != 0:
		p.keep(r, target)
	case t.Relay || t.Forward.IsNull():
		to := t.Forward
		if to.IsNull() {
			to = r.Address
		}
		p.send(p.a.Origin, p.a.From, r, target, to, t.Keeper)
	case p.a.Origin == queue.Submission:
		// Our own sender's domain is right for our hosts already.
		p.send(p.a.Origin, p.a.From, r, target, t.Forward, t.Keeper)
	case p.a.From.IsNull():
		p.send(queue.Forward, mail.Address{}, r, target, t.Forward, t.Keeper)
	default:
		from, err := p.in.Directory.Rewrite(ctx, p.a.From, t.Owner, t.Keeper)
		if err != nil {
			return fmt.Errorf("rewrite sender: %w", err)
		}
		p.send(queue.Forward, from, r, target, t.Forward, t.Keeper)
	}
	return nil
}

// keep adds the mailbox of a target, once a message.
func (p *plan) keep(r *AcceptedRecipient, target int) {
	t := &r.Targets[target]
	for i := range p.local {
		if p.local[i].target.Account == t.Account {
			return
		}
	}
	prefix := p.a.Prefix
	if !p.a.complete {
		prefix = make([]byte, 0, len(p.a.Prefix)+len(p.a.From.Wire)+len(r.Wire)+40)
		prefix = append(prefix, "Return-Path: <"...)
		prefix = append(prefix, p.a.From.Wire...)
		prefix = append(prefix, ">\r\nDelivered-To: "...)
		prefix = append(prefix, r.Wire...)
		prefix = append(prefix, "\r\n"...)
		prefix = append(prefix, r.labels(target)...)
		prefix = append(prefix, p.a.Prefix...)
	}
	p.local = append(p.local, mailboxCopy{rcpt: r, target: t, prefix: prefix, folder: r.copy(target).Folder})
}

// send adds a recipient on another host, once a message.
func (p *plan) send(origin queue.Origin, from mail.Address, r *AcceptedRecipient, target int, to mail.Address, keeper int64) {
	var out *outgoing
	labels := r.labels(target)
	for i := range p.outgoing {
		o := &p.outgoing[i]
		for j := range o.rcpts {
			if o.rcpts[j].Key() == to.Key() {
				return
			}
		}
		if o.origin == origin && o.from.Wire == from.Wire && o.labels == labels {
			out = o
		}
	}
	if out == nil {
		p.outgoing = append(p.outgoing, outgoing{origin: origin, from: from, labels: labels})
		out = &p.outgoing[len(p.outgoing)-1]
	}
	q := queue.Recipient{Recipient: r.Recipient, Keeper: keeper, Route: p.in.Routes.Name(to.Domain), Next: p.now}
	q.Address = to
	if q.ORcpt == "" && to.Key() != r.Key() && !r.UTF8() {
		q.ORcpt = "rfc822;" + r.Wire // RFC 3461 section 5.2.7.3
	}
	out.rcpts = append(out.rcpts, q)
}

// write is the transaction. Every mailbox copy and every outgoing message
// holds one reference to the body.
func (p *plan) write(tx *db.Tx) error {
	a, in := p.a, p.in
	p.queued = p.queued[:0:0]
	if err := p.standing(tx); err != nil {
		return err
	}
	refs := len(p.local) + len(p.outgoing)
	id, err := a.bodyID, error(nil)
	if id == 0 {
		id, err = in.Bodies.Add(tx, a.Body, refs)
	} else {
		err = in.Bodies.Retain(tx, id, refs)
	}
	if err != nil {
		return err
	}
	for i := range p.local {
		c := &p.local[i]
		_, err := in.Mailboxes.Deliver(tx, c.target.Account, c.folder, mailbox.NewMessage{
			Body: id, BodySize: a.Body.Size, Counted: true, Prefix: c.prefix, Received: p.now, Trace: a.Trace,
		})
		if err != nil {
			return err
		}
	}
	for i := range p.outgoing {
		n, err := in.Queue.Enqueue(tx, p.message(&p.outgoing[i], id), p.outgoing[i].rcpts)
		if err != nil {
			return err
		}
		p.queued = append(p.queued, n)
	}
	for _, r := range p.reports {
		if err := r.write(tx); err != nil {
			return err
		}
	}
	return nil
}

// standing refuses a user's message when a hold has begun since MAIL.
func (p *plan) standing(tx *db.Tx) error {
	if p.a.Origin != queue.Submission || p.a.Account == 0 {
		return nil
	}
	held, err := p.in.Directory.SendingHeld(tx, p.a.Account, p.now)
	if err == nil && held {
		err = &SendingStopped
	}
	return err
}

func (in *Intake) lifetime() time.Duration {
	if in.Lifetime == 0 {
		return DefaultLifetime
	}
	return in.Lifetime
}

func (p *plan) message(o *outgoing, body int64) queue.Message {
	a := p.a
	prefix := append([]byte(o.labels), a.Prefix...)
	m := queue.Message{
		Trace: a.Trace, Origin: o.origin, Account: a.Account, From: o.from, Body: body, Prefix: prefix,
		Size: int64(len(prefix)) + a.Body.Size, BodyType: a.BodyType, SMTPUTF8: a.SMTPUTF8, Ret: a.Ret, EnvID: a.EnvID,
		Created: p.now, Expires: p.now.Add(p.in.lifetime()),
	}
	return m
}

// record tells the journal, after the transaction.
func (p *plan) record() {
	a, in := p.a, p.in
	from := a.From.Path()
	e := event.Event{Time: p.now, Kind: event.Accept, Trace: a.Trace, Role: string(a.Origin), From: from,
		Account: a.Submitter, MessageID: a.MessageID, Subject: a.Subject, Size: a.Body.Size, Count: int64(len(a.Recipients))}
	if len(p.queued) > 0 {
		e.Queue = p.queued[0]
	}
	in.Events.Record(e)
	for i := range p.local {
		c := &p.local[i]
		in.Events.Record(event.Event{Time: p.now, Kind: event.Stored, Trace: a.Trace, Role: "delivery", From: from,
			To: c.rcpt.Wire, Account: c.target.Owner.Key(), Mailbox: c.place(), Size: int64(len(c.prefix)) + a.Body.Size})
	}
	if p.action != "" {
		p.recordReport()
	}
	in.Metrics.accepted(a.Origin, len(p.local))
	for _, r := range p.reports {
		r.record()
	}
}
