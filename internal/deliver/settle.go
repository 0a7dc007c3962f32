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
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// settlement is the results of one message's recipients on their way to disk.
type settlement struct {
	message *queue.Message
	items   []queue.Item
	results []queue.Result
	relayed bool // the peer does not report success by itself
}

// resort is how far down one had to go to find somebody who can take what
// could not be delivered.
type resort int

const (
	proper     resort = iota // the sender, the keeper, or the postmaster
	postmaster               // the one it was meant for has no room
	hold                     // neither has the postmaster: it stays in the queue, held
)

// followUp is what must be written together with the results.
type followUp struct {
	plans   []*plan
	doubles []queue.DoubleBounce
}

// settle writes results and follow-up in one transaction, and does not give up
// before the drain is over.
func (r *Runner) settle(s *settlement) {
	to := proper
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		f, err := r.followUp(context.Background(), s, to)
		if err == nil {
			err = r.write(s, f)
		}
		var reply *mail.Reply
		switch {
		case err == nil:
			r.recordSettled(s, f)
			r.Discipline.settled(context.Background(), s)
			return
		case errors.Is(err, errNobody), errors.As(err, &reply) && strings.HasPrefix(reply.Enhanced, "4.2."):
			if to < hold {
				to++
				continue
			}
		}
		r.Log.Error("cannot settle, trying again", "queue", s.message.ID, "trace", s.message.Trace, "error", err)
		r.Events.Record(event.Event{Time: time.Now(), Kind: event.Fault, Role: "delivery", Verb: "settle",
			Trace: s.message.Trace, Queue: s.message.ID, Reason: err.Error()})
		if !sleep(r.hard, pause) {
			return
		}
	}
}

func (r *Runner) write(s *settlement, f *followUp) error {
	return r.Queue.DB.Write(context.Background(), func(tx *db.Tx) error {
		// The follow-up first: it may need the body that settling lets go.
		for _, p := range f.plans {
			if err := p.write(tx); err != nil {
				return err
			}
		}
		for _, b := range f.doubles {
			if err := r.Queue.AddDoubleBounce(tx, b); err != nil {
				return err
			}
		}
		_, err := r.Queue.Settle(tx, s.results)
		return err
	})
}

func (r *Runner) recordSettled(s *settlement, f *followUp) {
	for i := range s.items {
		it, res := &s.items[i], &s.results[i]
		if res.State == queue.Waiting {
			continue
		}
		o := res.Outcome
		r.Events.Record(event.Event{Time: time.Now(), Kind: event.Settled, Trace: s.message.Trace, Role: "delivery",
			From: s.message.From.Path(), To: it.Wire, Queue: s.message.ID, Host: o.Host, Code: o.Code, Enhanced: o.Enhanced,
			Text: o.Text, Verb: string(res.State)})
	}
	for _, p := range f.plans {
		p.record()
	}
}

// errNobody says that the one who should hear of a failure has no mailbox.
var errNobody = errors.New("nobody to take the mail")

// followUp decides who hears of what, and makes it ready.
func (r *Runner) followUp(ctx context.Context, s *settlement, to resort) (*followUp, error) {
	f, m := &followUp{}, s.message
	var failed, relayed []ReportedRecipient
	var stranded []int
	kept := map[int64][]int{}
	for i := range s.items {
		it, res := &s.items[i], &s.results[i]
		told := ReportedRecipient{it.Recipient.Recipient, res.Outcome}
		switch {
		case res.State == queue.Delivered && s.relayed && it.Notify&mail.NotifySuccess != 0 && m.Origin == queue.Submission:
			relayed = append(relayed, told)
		case res.State == queue.Delivered || res.State == queue.Waiting:
		case it.Keeper != 0 && to == proper:
			kept[it.Keeper] = append(kept[it.Keeper], i)
		case it.Keeper == 0 && (m.From.IsNull() || m.Origin == queue.DSN):
			f.double(m, it, res)
		case it.Keeper == 0 && m.Origin == queue.Submission && !it.Notify.Failure():
		case it.Keeper == 0 && m.Origin == queue.Submission && to == proper:
			failed = append(failed, told)
		case it.Keeper == 0 && m.Origin == queue.Submission:
			f.double(m, it, res)
		default:
			stranded = append(stranded, i)
		}
	}
	if err := r.reports(ctx, s, f, failed, relayed); err != nil {
		return nil, err
	}
	for account, which := range kept {
		f.plans = append(f.plans, r.keep(ctx, s, which, []directory.Target{{Account: account}}))
	}
	return f, r.strand(ctx, s, f, stranded, to)
}

func (f *followUp) double(m *queue.Message, it *queue.Item, res *queue.Result) {
	f.doubles = append(f.doubles, queue.DoubleBounce{Created: time.Now(), Sender: m.From.Wire, Address: it.Wire,
		Reason: reply(res.Outcome, true), Trace: m.Trace})
}

// reports adds the reports to the sender.
func (r *Runner) reports(ctx context.Context, s *settlement, f *followUp, failed, relayed []ReportedRecipient) error {
	for _, g := range []struct {
		action Action
		rcpts  []ReportedRecipient
	}{{ActionFailed, failed}, {ActionRelayed, relayed}} {
		if len(g.rcpts) == 0 || s.message.From.IsNull() {
			continue
		}
		p, err := r.report(ctx, s.message, g.action, g.rcpts)
		if err != nil {
			return err
		}
		f.plans = append(f.plans, p)
	}
	return nil
}

// report makes a report on a queued message.
func (r *Runner) report(ctx context.Context, m *queue.Message, action Action, rcpts []ReportedRecipient) (*plan, error) {
	rep := &Report{Action: action, EnvID: m.EnvID, UTF8: m.SMTPUTF8, Arrival: m.Created, Until: m.Expires, Recipients: rcpts}
	body, err := r.Queue.Open(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer body.Close()
	src := source{body: body, prefix: m.Prefix, full: m.Ret != "HDRS" && m.BodyType != mail.BodyBinary}
	return r.Intake.report(ctx, rep, m.From, m.Trace, src)
}

// keep gives the mail itself to targets, saying why it comes.
func (r *Runner) keep(ctx context.Context, s *settlement, which []int, targets []directory.Target) *plan {
	m := s.message
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: %s\r\n", r.sender(ctx, m).Path())
	for _, i := range which {
		o := s.results[i].Outcome
		why := "our own finding"
		if o.Host != "" {
			why = o.Host + " said"
		}
		b.WriteString(foldField("X-Migiwa-Undelivered", fmt.Sprintf("<%s>; %s: %s", s.items[i].Wire, why, reply(o, m.SMTPUTF8)), m.SMTPUTF8))
	}
	rcpt := s.items[which[0]].Recipient.Recipient
	rcpt.Notify = mail.NotifyNever
	a := &Accepted{
		Trace: m.Trace, Origin: queue.DSN, Prefix: append([]byte(b.String()), m.Prefix...),
		Body:     blob.Stored{Ref: m.Ref, Size: m.Size - int64(len(m.Prefix))},
		BodyType: m.BodyType, SMTPUTF8: m.SMTPUTF8, bodyID: m.Body, complete: true,
		Recipients: []AcceptedRecipient{{Recipient: rcpt, Targets: targets}},
	}
	p := &plan{in: r.Intake, a: a, now: time.Now()}
	for i := range targets {
		t := &targets[i]
		if t.Account != 0 {
			p.keep(&a.Recipients[0], i)
			continue
		}
		p.send(queue.DSN, mail.Address{}, &a.Recipients[0], i, t.Forward, t.Keeper)
	}
	return p
}

// sender gives the envelope sender of m as it was before a forward of ours
// rewrote it: that is whom the keeper knows.
func (r *Runner) sender(ctx context.Context, m *queue.Message) mail.Address {
	if m.Origin != queue.Forward || m.From.IsNull() {
		return m.From
	}
	res, err := r.Intake.Directory.Resolve(ctx, m.From)
	if err != nil || len(res.Targets) != 1 || !res.Targets[0].Reverse || res.Targets[0].Forward.IsNull() {
		return m.From // unknown by now: the rewritten one still leads there
	}
	return res.Targets[0].Forward
}

// strand gives mail that nobody may hear of to the postmaster, or leaves it
// held in the queue with a line in the digest.
func (r *Runner) strand(ctx context.Context, s *settlement, f *followUp, which []int, to resort) error {
	if len(which) == 0 {
		return nil
	}
	if to == hold {
		for _, i := range which {
			s.results[i].State = queue.Held
			f.double(s.message, &s.items[i], &s.results[i])
		}
		return nil
	}
	res, err := r.Intake.Directory.Resolve(ctx, r.Postmaster)
	if err != nil {
		return fmt.Errorf("resolve postmaster: %w", err)
	}
	if len(res.Targets) == 0 {
		return errNobody
	}
	f.plans = append(f.plans, r.keep(ctx, s, which, res.Targets))
	return nil
}
