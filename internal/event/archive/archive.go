// Package archive reads events, wherever they are: from the log store, which
// has those of all nodes, or, while that cannot be asked, from the journal of
// this node. Equal events are one event: the store may have got some twice.
package archive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/query"
)

// Archive is where events are read.
type Archive struct {
	Client  *logstore.Client // nil: there is no log store
	Journal string           // directory of this node's own journal
}

// Result tells what a search has read.
type Result struct {
	Hits    int    // events given
	More    bool   // there are more than the limit
	Journal error  // why only the journal of this node was read; nil: the log store was asked
	Hash    string // of a file that was made of the events
	Torn    int    // lines of the journal that were no events, and files that could not be read
}

// errNoStore is why the journal is read where there is no log store.
var errNoStore = errors.New("there is no log store")

// ErrRaw is what a query of LogsQL gets when there is only a journal.
var ErrRaw = errors.New("only the log store understands LogsQL")

// Find calls fn for the events that meet a query, the newest first, for limit of
// them at most (0: all; then up to a million). An error of fn ends it and is returned.
func (a *Archive) Find(ctx context.Context, q *query.Query, limit int, fn func(event.Event) error) (r Result, err error) {
	if limit <= 0 {
		limit = 1_000_000
	}
	events, r, err := a.newest(ctx, q, limit)
	if err != nil {
		return r, err
	}
	for _, e := range events {
		r.Hits++
		if err := fn(e); err != nil {
			return r, err
		}
	}
	return r, nil
}

// newest gives the newest events that meet a query, the newest first.
func (a *Archive) newest(ctx context.Context, q *query.Query, limit int) (events []event.Event, r Result, err error) {
	if r.Journal = errNoStore; a.Client != nil {
		events, r.Journal = a.stored(ctx, q, limit+1)
	}
	if cannotAsk(r.Journal) {
		if q.Raw() {
			return nil, r, fmt.Errorf("%w: %w", ErrRaw, r.Journal)
		}
		events, r.Torn, err = a.journaled(ctx, q, limit+1)
	} else if r.Journal != nil {
		return nil, r, r.Journal
	}
	if r.More = len(events) > limit; r.More {
		events = events[:limit]
	}
	return events, r, err
}

// cannotAsk tells whether the store is away, rather than refusing a query.
func cannotAsk(err error) bool {
	var status *logstore.StatusError
	return err != nil && !errors.Is(err, context.Canceled) && (!errors.As(err, &status) || status.Code != http.StatusBadRequest)
}

const (
	firstWindow = 2 * time.Hour
	widening    = 8
)

// stored asks the store for the newest events, going back in time by windows
// that widen: the store reads all of a span to find the newest in it.
func (a *Archive) stored(ctx context.Context, q *query.Query, limit int) (events []event.Event, err error) {
	span := q.Span
	if span.To.IsZero() {
		span.To = time.Now().Add(time.Hour) // of nodes whose clocks are ahead
	}
	if span.From.IsZero() {
		span.From = span.To.AddDate(-20, 0, 0)
	}
	window := logstore.Span{To: span.To}
	for width := firstWindow; len(events) < limit && window.To.After(span.From); width *= widening {
		window.From = latest(span.From, window.To.Add(-width))
		if width > 365*24*time.Hour {
			window.From = span.From
		}
		some, err := a.within(ctx, q, window, limit-len(events))
		if err != nil {
			return nil, err
		}
		events = append(events, some...)
		window.To = window.From
	}
	return newestFirst(events), nil
}

// within gives the newest events of a window.
func (a *Archive) within(ctx context.Context, q *query.Query, window logstore.Span, limit int) ([]event.Event, error) {
	for ask := limit; ; ask *= 2 {
		var events []event.Event
		err := a.Client.Select(ctx, q.LogsQL(), window, ask, func(e event.Event) error {
			events = append(events, e)
			return nil
		})
		all := len(events) < ask
		events = newestFirst(events)
		if err != nil || all || len(events) >= limit {
			return events[:min(len(events), limit)], err
		}
	}
}

// newestFirst sorts events and leaves out those that are there twice.
func newestFirst(events []event.Event) []event.Event {
	slices.SortStableFunc(events, func(a, b event.Event) int { return b.Time.Compare(a.Time) })
	kept := events[:0]
	for i, e := range events {
		twin := false
		for j := len(kept) - 1; j >= 0 && kept[j].Time.Equal(e.Time); j-- {
			twin = twin || kept[j] == e
		}
		if !twin {
			kept = append(kept, events[i])
		}
	}
	return kept
}

// Count is how often a value of a field was found.
type Count struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// maxValues bounds the different values that are counted in a journal.
const maxValues = 1_000_000

// Top counts the values of a field in the events that meet a query and gives the
// limit most frequent ones.
func (a *Archive) Top(ctx context.Context, q *query.Query, field string, limit int) (top []Count, r Result, err error) {
	if r.Journal = errNoStore; a.Client != nil {
		top, r.Journal = a.storedTop(ctx, q, field, limit)
	}
	if cannotAsk(r.Journal) {
		if q.Raw() {
			return nil, r, fmt.Errorf("%w: %w", ErrRaw, r.Journal)
		}
		top, r.Torn, err = a.journaledTop(ctx, q, field, limit)
	} else if r.Journal != nil {
		return nil, r, r.Journal
	}
	for _, c := range top {
		r.Hits += int(c.Count)
	}
	return top, r, err
}

func (a *Archive) storedTop(ctx context.Context, q *query.Query, field string, limit int) (top []Count, err error) {
	text := fmt.Sprintf("%s | filter %s:* | top %d by (%s) hits as hits", q.LogsQL(), field, limit, field)
	err = a.Client.Rows(ctx, text, q.Span, 0, func(row map[string]string) error {
		n, err := strconv.ParseInt(row["hits"], 10, 64)
		top = append(top, Count{row[field], n})
		return err
	})
	return mostFirst(top, limit), err
}

func mostFirst(top []Count, limit int) []Count {
	sort.Slice(top, func(i, j int) bool {
		if top[i].Count != top[j].Count {
			return top[i].Count > top[j].Count
		}
		return top[i].Value < top[j].Value
	})
	return top[:min(len(top), limit)]
}

const (
	followEvery = time.Second
	followBack  = 5 * time.Minute // by which an event may come late
)

// Follow calls fn for the events that meet a query from now on, in the order in
// which they are found, until ctx ends. A store that is away for a while is
// asked again.
func (a *Archive) Follow(ctx context.Context, q *query.Query, fn func(event.Event) error) (r Result, err error) {
	seen := map[event.Event]bool{}
	begun := time.Now()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	last := begun
	for {
		select {
		case <-ctx.Done():
			return r, nil
		case now := <-tick.C:
			look := *q
			look.Span = logstore.Span{From: latest(begun, last.Add(-followBack)), To: now.Add(time.Hour)}
			events, found, err := a.newest(ctx, &look, 100_000)
			r.Journal, r.Torn = found.Journal, found.Torn
			if err != nil {
				continue // asked again
			}
			last = now
			for _, e := range slices.Backward(events) {
				if seen[e] {
					continue
				}
				seen[e] = true
				r.Hits++
				if err := fn(e); err != nil {
					return r, err
				}
			}
			for e := range seen {
				if e.Time.Before(look.Span.From) {
					delete(seen, e)
				}
			}
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slice is the events that Each asks for at a time, at most.
const slice = 50_000

// Each calls fn for all events that meet a query, the oldest first, in little
// memory. Only the log store can be asked.
func (a *Archive) Each(ctx context.Context, q *query.Query, fn func(event.Event) error) (r Result, err error) {
	if a.Client == nil {
		return r, errNoStore
	}
	span := q.Span
	if span.To.IsZero() {
		span.To = time.Now()
	}
	if span.From.IsZero() {
		if span.From, err = a.oldest(ctx, q); err != nil {
			return r, err
		}
	}
	return r, a.each(ctx, q, span, func(e event.Event) error {
		r.Hits++
		return fn(e)
	})
}

// each halves the span until what is in it is little.
func (a *Archive) each(ctx context.Context, q *query.Query, span logstore.Span, fn func(event.Event) error) error {
	n, err := a.count(ctx, q, span)
	if err != nil || n == 0 {
		return err
	}
	if middle := span.From.Add(span.To.Sub(span.From) / 2); n > slice && middle.After(span.From) && middle.Before(span.To) {
		if err := a.each(ctx, q, logstore.Span{From: span.From, To: middle}, fn); err != nil {
			return err
		}
		return a.each(ctx, q, logstore.Span{From: middle, To: span.To}, fn)
	}
	var events []event.Event
	err = a.Client.Select(ctx, q.LogsQL(), span, 0, func(e event.Event) error {
		if !e.Time.Before(span.From) && e.Time.Before(span.To) { // the store takes an end as what it begins
			events = append(events, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(newestFirst(events)) {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) count(ctx context.Context, q *query.Query, span logstore.Span) (n int64, err error) {
	err = a.Client.Rows(ctx, q.LogsQL()+" | stats count() as n", span, 0, func(row map[string]string) error {
		n, err = strconv.ParseInt(row["n"], 10, 64)
		return err
	})
	return n, err
}

// oldest gives the time of the oldest event that meets a query.
func (a *Archive) oldest(ctx context.Context, q *query.Query) (t time.Time, err error) {
	t = time.Now()
	err = a.Client.Rows(ctx, q.LogsQL()+" | stats min(_time) as oldest", logstore.Span{}, 0, func(row map[string]string) error {
		if row["oldest"] == "" {
			return nil
		}
		t, err = time.Parse(time.RFC3339Nano, row["oldest"])
		return err
	})
	return t, err
}
