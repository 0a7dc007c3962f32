package archive

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/query"
)

// file is a file of the journal, with the time when the next one of its shelf
// was begun.
type file struct {
	event.Segment
	end time.Time // zero: it grows
}

// files gives the files that may have events of the query's time span, the
// newest first.
func (a *Archive) files(q *query.Query) ([]file, error) {
	segments, err := event.Segments(a.Journal)
	if err != nil {
		return nil, err
	}
	var files []file
	for i, s := range segments {
		f := file{Segment: s}
		if i+1 < len(segments) && segments[i+1].Shelf == s.Shelf {
			f.end = segments[i+1].Begun
		}
		if f.end.IsZero() || f.end.After(q.Span.From) {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b file) int { return b.Begun.Compare(a.Begun) })
	return files, nil
}

// eachJournaled reads the files of the journal, the newest first, and calls fn for what
// meets the query. skip tells whether a file need not be read.
func (a *Archive) eachJournaled(ctx context.Context, q *query.Query, skip func(file) bool, fn func(event.Event)) (torn int, err error) {
	files, err := a.files(q)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return torn, ctx.Err()
		}
		if skip(f) {
			continue
		}
		in, err := event.OpenFile(f.Path(a.Journal))
		if err != nil { // deleted since it was listed
			continue
		}
		torn += readFile(in, q, fn)
		in.Close()
	}
	return torn, nil
}

func readFile(in io.Reader, q *query.Query, fn func(event.Event)) (torn int) {
	r := event.NewReader(in)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Torn
		}
		if err != nil { // damaged from here on
			return r.Torn + 1
		}
		if q.Match(&e) {
			fn(e)
		}
	}
}

// journaled gives the newest events of the journal.
func (a *Archive) journaled(ctx context.Context, q *query.Query, limit int) (events []event.Event, torn int, err error) {
	full := func() bool { return len(events) >= limit }
	torn, err = a.eachJournaled(ctx, q, func(f file) bool {
		events = newestFirst(events)
		events = events[:min(len(events), limit)]
		return full() && !f.end.IsZero() && f.end.Before(events[len(events)-1].Time)
	}, func(e event.Event) {
		events = append(events, e)
		if len(events) >= 2*limit+1000 {
			events = newestFirst(events)[:limit]
		}
	})
	events = newestFirst(events)
	return events[:min(len(events), limit)], torn, err
}

func (a *Archive) journaledTop(ctx context.Context, q *query.Query, field string, limit int) (top []Count, torn int, err error) {
	counts := map[string]int64{}
	torn, err = a.eachJournaled(ctx, q, func(file) bool { return false }, func(e event.Event) {
		v := e.Get(field)
		if _, known := counts[v]; v != "" && (known || len(counts) < maxValues) {
			counts[v]++
		}
	})
	for v, n := range counts {
		top = append(top, Count{v, n})
	}
	return mostFirst(top, limit), torn, err
}
