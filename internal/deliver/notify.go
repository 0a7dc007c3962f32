package deliver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
)

// maxReturned is the largest mail that a report returns whole; of larger ones
// it returns the header section.
const maxReturned = 256 << 10

// source is where a report takes the original from.
type source struct {
	body   blob.Reader
	prefix []byte
	full   bool // return it whole, if it is not too large
}

// report writes rep for the envelope sender to into a new body and plans its
// way: into a mailbox here, or into the queue. Nothing is durable before the
// plan is written. errNobody: the sender is no address of ours any more.
func (in *Intake) report(ctx context.Context, rep *Report, to mail.Address, trace mail.TraceID, src source) (*plan, error) {
	res, err := in.Directory.Resolve(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", to.Path(), err)
	}
	if len(res.Targets) == 0 && res.Status != directory.NotOurs {
		return nil, errNobody
	}
	rep.Hostname, rep.Now, rep.To = in.Hostname, time.Now(), to
	if rep.Original, err = src.original(rep.Action == ActionFailed); err != nil {
		return nil, err
	}
	stored, bodyType, err := in.store(ctx, rep)
	if err != nil {
		return nil, err
	}
	a := &Accepted{Trace: trace, Origin: queue.DSN, Body: stored, BodyType: bodyType, SMTPUTF8: rep.UTF8,
		Recipients: []AcceptedRecipient{{Recipient: mail.Recipient{Address: to, Notify: mail.NotifyNever}, Targets: res.Targets}}}
	p := &plan{in: in, a: a, now: rep.Now, action: rep.Action}
	return p, p.placeAll(ctx)
}

func (s source) original(failed bool) (*Original, error) {
	r := s.body
	header, rest, err := readHeader(s.prefix, io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	o := &Original{Header: header}
	if failed && s.full && r.Size() <= maxReturned {
		o.Body = io.NewSectionReader(r, rest, r.Size()-rest)
	}
	return o, nil
}

// store writes a message of ours to the body store.
func (in *Intake) store(ctx context.Context, m io.WriterTo) (blob.Stored, mail.BodyType, error) {
	// A report makes room: when it is written, its subject may leave the queue.
	w, err := in.Bodies.Blobs.CreateReserved(ctx)
	if err != nil {
		return blob.Stored{}, "", fmt.Errorf("store report: %w", err)
	}
	defer w.Abort()
	watched := &bitWatch{w: w}
	if _, err := m.WriteTo(watched); err != nil {
		return blob.Stored{}, "", fmt.Errorf("store report: %w", err)
	}
	stored, err := w.Commit(ctx)
	if err != nil {
		return blob.Stored{}, "", fmt.Errorf("store report: %w", err)
	}
	if watched.eight {
		return stored, mail.Body8Bit, nil
	}
	return stored, mail.Body7Bit, nil
}

// bitWatch sees whether 8-bit octets pass.
type bitWatch struct {
	w     io.Writer
	eight bool
}

func (b *bitWatch) Write(p []byte) (int, error) {
	b.eight = b.eight || bytes.ContainsFunc(p, func(c rune) bool { return c >= 0x80 })
	return b.w.Write(p)
}

// reportSuccess adds the report of copies that are in mailboxes, for a user of
// ours who asked for it.
func (p *plan) reportSuccess(ctx context.Context) error {
	a := p.a
	if a.Origin != queue.Submission || a.From.IsNull() {
		return nil
	}
	var done []ReportedRecipient
	for i := range p.local {
		if c := &p.local[i]; c.rcpt.Notify&mail.NotifySuccess != 0 {
			done = append(done, ReportedRecipient{Recipient: c.rcpt.Recipient})
		}
	}
	if len(done) == 0 {
		return nil
	}
	body, err := p.in.Bodies.Blobs.Open(ctx, a.Body.Ref)
	if err != nil {
		return fmt.Errorf("open message: %w", err)
	}
	defer body.Close()
	rep := &Report{Action: ActionDelivered, EnvID: a.EnvID, UTF8: a.SMTPUTF8, Arrival: p.now, Recipients: done}
	r, err := p.in.report(ctx, rep, a.From, a.Trace, source{body: body, prefix: a.Prefix})
	if err == nil {
		p.reports = append(p.reports, r)
	}
	return err
}

// recordReport tells the journal that a report was made.
func (p *plan) recordReport() {
	p.in.Metrics.report(string(p.action))
	p.in.Events.Record(event.Event{Time: p.now, Kind: event.Bounce, Trace: p.a.Trace, Role: "delivery", From: "<>",
		To: p.a.Recipients[0].Wire, Verb: string(p.action), Size: p.a.Body.Size})
}
