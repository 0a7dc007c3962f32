package access

import (
	"context"

	"github.com/migiwa/migiwa/internal/directory"
)

// Own are the lists of accounts, and that of the site.
type Own struct {
	Directory *directory.Directory
	Site      Lists // nil: there is none
}

// Lookup implements Lists.
func (o *Own) Lookup(ctx context.Context, account int64) (*List, error) {
	if account == 0 {
		if o.Site == nil {
			return nil, nil
		}
		return o.Site.Lookup(ctx, 0)
	}
	senders, err := o.Directory.ListedSenders(ctx, account)
	if err != nil || len(senders) == 0 {
		return nil, err
	}
	l := &List{}
	for _, s := range senders {
		// What is not understood any more, or is there in two spellings, was
		// good when it was written; the rest holds.
		if e, err := SenderEntry(s.Pattern, Action(s.Action)); err == nil {
			_ = l.Add(e)
		}
	}
	return l, nil
}

// SenderEntry gives the entry for a sender as users name one: an address, a
// domain, or the network of the server that sends.
func SenderEntry(pattern string, action Action) (Entry, error) {
	k, err := parsePattern(pattern)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Tag: From, Pattern: pattern, Action: action}
	if k.net.IsValid() {
		e.Tag = Connect
	}
	return e, (&List{}).Add(e)
}
