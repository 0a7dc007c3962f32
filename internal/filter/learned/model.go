package learned

import (
	"context"
	"fmt"
	"slices"
)

// Count is how many taught messages of each class held one token.
type Count struct {
	Spam, Ham int
}

// Counts is what an account taught.
type Counts struct {
	Spam, Ham int              // messages
	Tokens    map[uint64]Count // of the hashes asked for; those never taught may be absent
}

// Delta is one message taught, or with counts of -1 taken back: Spam and Ham
// are added to the account's messages and to each of the hashes.
type Delta struct {
	Spam, Ham int
	Hashes    []uint64 // each once
}

// Store keeps the counts of accounts. Counts are worth something only together
// with the TokenVersion they were made with: a store remembers it and starts
// anew when it changes.
type Store interface {
	// Counts gives what the account taught of these hashes. An account that
	// taught nothing is no error.
	Counts(ctx context.Context, account string, hashes []uint64) (Counts, error)
	// Add changes all counts of the delta or none.
	Add(ctx context.Context, account string, d Delta) error
}

// Model judges messages by what the site knows and what each account taught.
// It is safe for concurrent use when its Store is.
type Model struct {
	Site  *Site // nil knows nothing
	Store Store // nil knows no accounts
}

// Verdict is what a Model thinks of a message.
type Verdict struct {
	Score     float64  // probability of spam, 0 to 1; 0.5 is "no idea"
	Knowledge float64  // 0 to 1: how much of the message is made of what was seen before
	Taught    int      // messages that the account taught
	Reasons   []Reason // the ten strongest, strongest first
}

// Reason is one token of the message and what it does to the verdict.
type Reason struct {
	Token  string
	Weight float64 // above 0 speaks for spam; in units of log odds
	Own    bool    // the account's own mail says so, not only the site
}

const maxReasons = 10

// Classify judges a message by its tokens. The account "" has taught nothing.
func (m *Model) Classify(ctx context.Context, account string, tokens []string) (Verdict, error) {
	hashes := Hashes(tokens)
	var own Counts
	if m.Store != nil && account != "" {
		var err error
		if own, err = m.Store.Counts(ctx, account, hashes); err != nil {
			return Verdict{}, fmt.Errorf("counts of an account: %w", err)
		}
	}
	j := m.judge(tokens, hashes, own)
	return j.verdict(own), nil
}

// Train counts a message for the account. A message must be taught once only:
// the caller remembers which were, and as what. Both classes are needed: what is
// taught as spam weighs nothing until wanted mail is taught beside it, such as
// messages that were read and kept.
func (m *Model) Train(ctx context.Context, account string, tokens []string, spam bool) error {
	return m.teach(ctx, account, tokens, spam, 1)
}

// Undo takes back exactly what Train did with the same tokens and class. The
// tokens of a message are the same as long as TokenVersion is.
func (m *Model) Undo(ctx context.Context, account string, tokens []string, spam bool) error {
	return m.teach(ctx, account, tokens, spam, -1)
}

func (m *Model) teach(ctx context.Context, account string, tokens []string, spam bool, n int) error {
	if m.Store == nil || account == "" {
		return fmt.Errorf("learned: nobody to teach")
	}
	hashes := Hashes(tokens)
	slices.Sort(hashes)
	d := Delta{Hashes: slices.Compact(hashes)}
	if spam {
		d.Spam = n
	} else {
		d.Ham = n
	}
	return m.Store.Add(ctx, account, d)
}
