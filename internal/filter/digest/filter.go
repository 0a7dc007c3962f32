package digest

import (
	"context"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Symbols of findings.
const (
	Reported    = "DIGEST_REPORTED"
	OwnReported = "DIGEST_OWN_REPORT" // by the recipient
)

// Scores, in points.
const (
	// MaxScore is that of a Confidence of 1. What is just enough has half.
	MaxScore = 10
	ownScore = 5
)

// Filter is the filter "digest".
type Filter struct {
	Store Store
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "digest" }

// Check implements filter.Filter. A recipient who said that such a message is no
// spam is not told what others say. What becomes of the message is not known
// here, so that Store.Deliver is for the caller, once it lies in an inbox.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	prints := Fingerprints(m)
	if len(prints) == 0 {
		return nil
	}
	for _, to := range r.Recipients {
		o, err := f.Store.Lookup(ctx, to.Account, prints)
		if err != nil {
			return err
		}
		if o.Own > 0 {
			r.AddFor(to.Index, mail.Finding{Symbol: OwnReported, Score: ownScore, Evidence: "you reported such a message before"})
		}
		if o.Confidence > 0 && o.Own >= 0 {
			r.AddFor(to.Index, mail.Finding{Symbol: Reported, Score: MaxScore * o.Confidence, Evidence: o.Words()})
		}
	}
	return nil
}
