package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Symbols of findings.
const (
	Rejected    = "MILTER_REJECT"
	TempFailed  = "MILTER_TEMPFAIL"
	Quarantine  = "MILTER_QUARANTINE"
	Discarded   = "MILTER_DISCARD" // the server wanted it lost; a quarantine at most
	Unavailable = "MILTER_UNAVAILABLE"
)

// scores of findings, in points.
var scores = map[string]float64{Rejected: 15, TempFailed: 5, Quarantine: 8, Discarded: 8, Unavailable: 1}

// Filter is the filter "milter".
type Filter struct {
	Servers []Server // asked in this order
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "milter" }

// Validate tells what is wrong with Servers.
func (f *Filter) Validate() error {
	seen := map[string]bool{}
	for _, s := range f.Servers {
		if err := s.validate(); err != nil {
			return err
		}
		if seen[s.Name] {
			return fmt.Errorf("milter %s is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// Outcome is what all servers want of one message.
type Outcome struct {
	// Findings are for all recipients, Refused for single ones by their Index.
	Findings []mail.Finding
	Refused  map[int][]mail.Finding
	// Modifications in the order in which they are made; those to the header
	// and the body are made in what Message gives.
	Modifications []Modification

	draft *draft
	to    []filter.Recipient
}

// Modified tells whether header or body are changed.
func (o *Outcome) Modified() bool {
	return slices.ContainsFunc(o.Modifications, func(m Modification) bool {
		return m.Kind == AddHeader || m.Kind == InsertHeader || m.Kind == ChangeHeader || m.Kind == ReplaceBody
	})
}

// Header gives the header with all modifications.
func (o *Outcome) Header() *mail.Header { return o.draft.header() }

// Message gives the whole message with all modifications. The original must
// still be open to Open.
func (o *Outcome) Message() (io.ReadCloser, error) {
	body, err := o.draft.open()
	if err != nil {
		return nil, err
	}
	head := strings.NewReader(strings.Join(o.draft.fields, "") + "\r\n")
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(head, body), body}, nil
}

// Check implements filter.Filter.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	o, err := f.Run(ctx, m, r.Recipients)
	for _, finding := range o.Findings {
		r.Add(finding)
	}
	for index, findings := range o.Refused {
		for _, finding := range findings {
			r.AddFor(index, finding)
		}
	}
	if c := o.Change(); c != nil {
		r.Change(*c)
	}
	return err
}

// Change gives the modifications as a change of the message; nil: there are
// none.
func (o *Outcome) Change() *filter.Change {
	if len(o.Modifications) == 0 {
		return nil
	}
	c := &filter.Change{}
	if o.Modified() {
		c.Message = o.Message
	}
	for i, m := range o.Modifications {
		switch m.Kind {
		case ChangeFrom:
			c.From = &o.Modifications[i].Address
		case AddRecipient:
			c.Also = append(c.Also, m.Address)
		}
	}
	return c
}

// Run asks all servers about a message. The Outcome is never nil; the error tells
// of every server that could not be asked to the end, whose modifications are
// then not made.
func (f *Filter) Run(ctx context.Context, m *filter.Message, to []filter.Recipient) (*Outcome, error) {
	o := &Outcome{Refused: map[int][]mail.Finding{}, draft: newDraft(m), to: to}
	var errs []error
	for i := range f.Servers {
		s := &f.Servers[i]
		left := slices.DeleteFunc(slices.Clone(to), func(r filter.Recipient) bool { return len(o.Refused[r.Index]) > 0 })
		if len(left) == 0 {
			break
		}
		v, err := ask(ctx, s, m, left, o.draft)
		if err == nil {
			err = o.draft.apply(v.mods)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("milter %s: %w", s.Name, err))
			if s.Required {
				o.add(Unavailable, s, "could not be asked")
			}
			continue
		}
		if o.take(s, &v) {
			break
		}
	}
	return o, errors.Join(errs...)
}

// take makes findings of a verdict, and tells whether the row ends.
func (o *Outcome) take(s *Server, v *verdict) (end bool) {
	for index, text := range v.refused {
		symbol := Rejected
		if strings.HasPrefix(text, "4") {
			symbol = TempFailed
		}
		o.Refused[index] = append(o.Refused[index], finding(symbol, s, text))
	}
	for _, m := range v.mods {
		if m.Kind == DeleteRecipient {
			o.remove(s, m.Address)
		} else {
			o.Modifications = append(o.Modifications, m)
		}
	}
	if v.quarantine != "" {
		o.add(Quarantine, s, v.quarantine)
	}
	switch v.action {
	case milter.ActionReject:
		o.add(Rejected, s, v.text)
		return true
	case milter.ActionTempFail:
		o.add(TempFailed, s, v.text)
		return true
	case milter.ActionDiscard:
		o.add(Discarded, s, "wanted the message discarded")
		return true
	}
	return false
}

// remove makes a finding of a recipient who is to get nothing, since mail is
// not lost.
func (o *Outcome) remove(s *Server, a mail.Address) {
	for _, to := range o.to {
		if to.Address.Key() == a.Key() {
			o.Refused[to.Index] = append(o.Refused[to.Index], finding(Discarded, s, "wanted the recipient removed"))
		}
	}
}

func (o *Outcome) add(symbol string, s *Server, text string) {
	o.Findings = append(o.Findings, finding(symbol, s, text))
}

func finding(symbol string, s *Server, text string) mail.Finding {
	return mail.Finding{Symbol: symbol, Score: scores[symbol], Evidence: s.Name + ": " + strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")}
}
