package logstore

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// Retention deletes from the store what kinds of this node's events are over
// their time. What the store does by itself, after the longest of the times, is
// not counted.
type Retention struct {
	Client *Client
	Node   string
	Keep   map[event.Kind]time.Duration
	Events *event.Recorder
	Log    *slog.Logger
}

const (
	firstRound = 10 * time.Minute // after the start
	roundTime  = 24 * time.Hour
)

// Run deletes once a day, until ctx ends.
func (r *Retention) Run(ctx context.Context) {
	next := time.After(firstRound)
	for {
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		if err := r.Round(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.Log.Warn("events that are too old could not be deleted from the log store", "err", err)
		}
		next = time.After(roundTime)
	}
}

// Round deletes what is too old at a time. The deletion of each kind is an
// event.
func (r *Retention) Round(ctx context.Context, now time.Time) error {
	for _, k := range event.Kinds {
		keep := r.Keep[k.Kind]
		if keep <= 0 {
			continue
		}
		old := fmt.Sprintf("{node=%q,kind=%q} _time:<%s", r.Node, k.Kind, now.Add(-keep).UTC().Format(time.RFC3339))
		n, err := r.count(ctx, old)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := r.Client.Delete(ctx, old); err != nil {
			return err
		}
		r.Events.Record(event.Event{Kind: event.Expire, Role: "logstore", Verb: string(k.Kind), Count: n,
			Reason: fmt.Sprintf("events of kind %s are kept %v", k.Kind, keep)})
	}
	return nil
}

func (r *Retention) count(ctx context.Context, filter string) (n int64, err error) {
	err = r.Client.Rows(ctx, filter+" | stats count() as n", Span{}, 0, func(row map[string]string) error {
		n, err = strconv.ParseInt(row["n"], 10, 64)
		return err
	})
	return n, err
}
