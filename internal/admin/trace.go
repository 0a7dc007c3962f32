package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/story"
	"github.com/migiwa/migiwa/internal/mail"
)

// Trace gives the stories of the messages that a question asks for: an ID of any
// sort, or words such as "from X to Y yesterday"; the newest first. Its error
// is story.ErrNothing when there is none.
func (a *Admin) Trace(ctx context.Context, by LogReader, question string, now time.Time) (stories []*story.Story, r archive.Result, err error) {
	r, err = a.read(ctx, by, "trace", question, func() (r archive.Result, err error) {
		f := &story.Finder{Archive: a.Log}
		stories, r, err = f.Find(ctx, question, now)
		return r, err
	})
	return stories, r, err
}

// OwnTrace is Trace for the owner of an account, who needs no right for it: it
// tells of his own mail only, never of other recipients or readers, nor whether
// another address exists. All else is story.ErrNothing to him.
func (a *Admin) OwnTrace(ctx context.Context, account, question string, now time.Time) ([]*story.Story, error) {
	acct, err := a.Account(ctx, account)
	if err != nil {
		return nil, err
	}
	mine := func(address string) bool {
		addr, err := mail.ParseAddress(address)
		if err != nil {
			return false
		}
		owns, err := a.Directory.Owns(ctx, acct.ID, addr)
		return err == nil && owns
	}
	f := &story.Finder{Archive: a.Log, See: story.Own(acct.Address.String(), mine)}
	stories, r, err := f.Find(ctx, question, now)
	a.Events.Record(event.Event{Kind: event.Search, Actor: account, Account: account, Verb: "own trace", Query: question, Count: int64(len(stories))})
	switch {
	case errors.Is(err, story.ErrNothing):
		return nil, story.ErrNothing
	case err != nil:
		return nil, err
	case r.Journal != nil && !strings.Contains(r.Journal.Error(), "no log store"):
		return stories, fmt.Errorf("not all could be looked through: %w", r.Journal)
	}
	return stories, nil
}
