package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
)

// sendTime is how long the store may take for a batch.
const sendTime = time.Minute

// send gives the store a batch. Where it refuses one for what is in it, the
// lines that it does not want are found and left out, so that they cannot stop
// the others.
func (s *Shipper) send(ctx context.Context, b *batch) error {
	half := middle(b.lines)
	other := make(chan error, 1)
	go func() { other <- s.insert(ctx, b.lines[half:]) }() // the store works on both at the same time
	return errors.Join(s.insert(ctx, b.lines[:half]), <-other)
}

// middle gives where a line begins, about in the middle; 0: there are not two.
func middle(lines []byte) int {
	if i := bytes.IndexByte(lines[len(lines)/2:], '\n') + len(lines)/2 + 1; i < len(lines) {
		return i
	}
	if i := bytes.IndexByte(lines, '\n') + 1; i < len(lines) { // the second half is one line
		return i
	}
	return 0
}

func (s *Shipper) insert(ctx context.Context, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err := s.Client.Insert(within, lines)
	var refused *logstore.StatusError
	if err == nil || !errors.As(err, &refused) || refused.Code != http.StatusBadRequest {
		return err
	}
	if half := middle(lines); half > 0 {
		return errors.Join(s.insert(ctx, lines[:half]), s.insert(ctx, lines[half:]))
	}
	s.skip(lines, refused)
	return nil
}

// skip leaves a line out.
func (s *Shipper) skip(line []byte, why error) {
	s.mu.Lock()
	s.status.Skipped++
	s.mu.Unlock()
	if _, isEvent := event.Parse(line); isEvent { // not one that a crash tore
		s.Events.Record(event.Event{Kind: event.Fault, Role: "shipper", Verb: "skip", Count: 1, Reason: fmt.Sprintf("%v: %.200q", why, line)})
	}
}

// kindsOf lists the kinds of a shelf for LogsQL.
func kindsOf(shelf event.Shelf) string {
	var kinds []string
	for _, k := range event.Kinds {
		if event.ShelfOf(k.Kind) == shelf {
			kinds = append(kinds, string(k.Kind))
		}
	}
	return strings.Join(kinds, ",")
}

// dropKnown takes out of a batch what the store has, and gives the number of
// events.
func (s *Shipper) dropKnown(ctx context.Context, shelf event.Shelf, b *batch) (int, error) {
	var span logstore.Span
	var events []event.Event
	node := ""
	for line := range bytes.Lines(b.lines) {
		e, _ := event.Parse(line)
		events = append(events, e)
		if e.Kind == "" {
			continue
		}
		node = e.Node
		if span.From.IsZero() || e.Time.Before(span.From) {
			span.From = e.Time
		}
		if e.Time.After(span.To) {
			span.To = e.Time
		}
	}
	if node == "" {
		return 0, nil
	}
	within, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	has := map[event.Event]bool{}
	span.To = span.To.Add(1)
	query := fmt.Sprintf("{node=%q,kind in (%s)}", node, kindsOf(shelf))
	if err := s.Client.Select(within, query, span, 0, func(e event.Event) error {
		has[e] = true
		return nil
	}); err != nil {
		return 0, err
	}
	kept := b.lines[:0]
	known := 0
	for line := range bytes.Lines(b.lines) {
		if e := events[0]; e.Kind != "" && has[e] {
			known++
		} else {
			kept = append(kept, line...)
		}
		events = events[1:]
	}
	b.lines, b.count = kept, b.count-known
	s.mu.Lock()
	s.status.Known += int64(known)
	s.mu.Unlock()
	return known, nil
}
