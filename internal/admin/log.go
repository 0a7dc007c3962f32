package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/chain"
	"github.com/migiwa/migiwa/internal/event/query"
)

// Events tell who wrote to whom. To read those of everybody's mail is a right,
// and each reading is itself an event of kind search, also one that was refused:
// who, what, why, and how much was found.

// LogReader is who reads events.
type LogReader struct {
	Actor   string // as events name him
	Account string // his account's address, whose right is asked for; empty: he has the rights of the machine
	Reason  string // why he reads
}

var (
	// ErrLogRight refuses who may not read events.
	ErrLogRight = errors.New("no right to read events: an administrator gives it by the account's setting log")
	// ErrLogReason refuses a reading without a reason, where one is wanted.
	ErrLogReason = errors.New("a reason is wanted (log.require_reason)")
)

// SearchLog calls fn for the newest events that meet a query, the newest first,
// for limit at most (0: all).
func (a *Admin) SearchLog(ctx context.Context, by LogReader, q *query.Query, limit int, fn func(event.Event) error) (archive.Result, error) {
	return a.read(ctx, by, "search", q.Text, func() (archive.Result, error) { return a.Log.Find(ctx, q, limit, fn) })
}

// FollowLog calls fn for events that meet a query as they come in, until ctx
// ends.
func (a *Admin) FollowLog(ctx context.Context, by LogReader, q *query.Query, fn func(event.Event) error) (archive.Result, error) {
	return a.read(ctx, by, "follow", q.Text, func() (archive.Result, error) { return a.Log.Follow(ctx, q, fn) })
}

// TopLog counts the values of a field in the events that meet a query, and gives
// the limit most frequent ones.
func (a *Admin) TopLog(ctx context.Context, by LogReader, q *query.Query, field string, limit int) (top []archive.Count, r archive.Result, err error) {
	r, err = a.read(ctx, by, "top "+field, q.Text, func() (r archive.Result, err error) {
		top, r, err = a.Log.Top(ctx, q, field, limit)
		return r, err
	})
	return top, r, err
}

// read does what reads events, where it may, and records it.
func (a *Admin) read(ctx context.Context, by LogReader, verb, query string, what func() (archive.Result, error)) (r archive.Result, err error) {
	if err = a.mayRead(ctx, by); err == nil {
		r, err = what()
	}
	e := event.Event{Kind: event.Search, Actor: by.Actor, Account: by.Account, Verb: verb, Query: query, Text: by.Reason, Count: int64(r.Hits),
		Evidence: r.Hash}
	if err != nil {
		e.Reason = err.Error()
	}
	a.Events.Record(e)
	return r, err
}

func (a *Admin) mayRead(ctx context.Context, by LogReader) error {
	if by.Account != "" {
		acct, err := a.Account(ctx, by.Account)
		if err != nil {
			return err
		}
		if !acct.ReadsLog {
			return fmt.Errorf("%s: %w", by.Account, ErrLogRight)
		}
	}
	if a.LogReason && by.Reason == "" {
		return ErrLogReason
	}
	return nil
}

// ExportLog writes all events that meet a query, the oldest first, as a file
// whose later tampering shows. The last hash of the file is in the result, and in the
// event that tells of the export.
func (a *Admin) ExportLog(ctx context.Context, by LogReader, q *query.Query, w io.Writer) (r archive.Result, err error) {
	return a.read(ctx, by, "export", q.Text, func() (r archive.Result, err error) {
		out, err := chain.NewWriter(w, chain.Header{Query: q.Text, Since: q.Span.From, Until: q.Span.To, Made: time.Now().UTC(), By: by.Actor, Reason: by.Reason})
		if err != nil {
			return r, err
		}
		if r, err = a.Log.Each(ctx, q, out.Write); err != nil {
			return r, err
		}
		r.Hash, err = out.Close()
		return r, err
	})
}
