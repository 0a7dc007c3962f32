package receive

import (
	"context"
	"fmt"
	"slices"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
)

// Divide gives what is to be accepted of m: m itself for those who get it as it
// came, and the message that a filter has made of it for the others. A body
// that is changed is on disk then.
func (in *Inspection) Divide(ctx context.Context, m *deliver.Accepted) ([]*deliver.Accepted, error) {
	if in == nil || in.change == nil {
		return []*deliver.Accepted{m}, nil
	}
	changed := *m
	m.Recipients, changed.Recipients = in.sides(m.Recipients)
	if len(changed.Recipients) == 0 {
		return []*deliver.Accepted{m}, nil
	}
	if in.change.From != nil {
		changed.From = *in.change.From
	}
	if err := in.also(ctx, &changed); err != nil {
		return nil, err
	}
	if in.change.Message != nil {
		var err error
		if changed.Body, err = in.store(ctx); err != nil {
			return nil, fmt.Errorf("storing a changed message: %w", err)
		}
	}
	if len(m.Recipients) == 0 {
		return []*deliver.Accepted{&changed}, nil
	}
	return []*deliver.Accepted{m, &changed}, nil
}

// sides parts recipients by whether their copies are changed. One with several
// mailboxes may be on both sides.
func (in *Inspection) sides(all []deliver.AcceptedRecipient) (same, changed []deliver.AcceptedRecipient) {
	for i, r := range all {
		parts := [2]deliver.AcceptedRecipient{r, r}
		for p := range parts {
			parts[p].Targets, parts[p].Copies = nil, nil
		}
		for _, c := range in.copies {
			if c.rcpt != i {
				continue
			}
			p := &parts[0]
			if c.changed {
				p = &parts[1]
			}
			p.Targets = append(p.Targets, r.Targets[c.target])
			p.Copies = append(p.Copies, r.Copies[c.target])
		}
		if len(parts[0].Targets) > 0 {
			same = append(same, parts[0])
		}
		if len(parts[1].Targets) > 0 {
			changed = append(changed, parts[1])
		}
	}
	return same, changed
}

// also adds the recipients that the change wants and that do not get the message
// anyway. One that does not exist here is told to the operator, whose filter has
// named it.
func (in *Inspection) also(ctx context.Context, m *deliver.Accepted) error {
	for _, a := range in.change.Also {
		if slices.ContainsFunc(in.s.Recipients, func(r deliver.AcceptedRecipient) bool { return r.Key() == a.Key() }) {
			continue
		}
		res, err := in.s.Directory.Resolve(ctx, a)
		if err != nil {
			return err
		}
		switch res.Status {
		case directory.Unknown, directory.Disabled:
			in.s.Record(event.Event{Kind: event.Fault, To: a.Wire, Verb: milterFilter, Reason: "a recipient that a filter added gets no mail here"})
		default:
			m.Recipients = append(m.Recipients, deliver.AcceptedRecipient{Recipient: mail.Recipient{Address: a}, Targets: res.Targets})
		}
	}
	return nil
}

// store puts the changed message on disk.
func (in *Inspection) store(ctx context.Context) (stored blob.Stored, err error) {
	r, err := in.change.Message()
	if err != nil {
		return stored, err
	}
	defer r.Close()
	w, err := in.s.Bodies.Create(ctx)
	if err != nil {
		return stored, err
	}
	defer w.Abort()
	if err := Copy(w, r); err != nil {
		return stored, err
	}
	return w.Commit(ctx)
}
