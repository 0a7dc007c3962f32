// Package ship sends the events of this node's journal to the log store.
//
// A place in the journal is a segment and an offset in its text. Two places are
// kept for each shelf: up to where events were sent, and up to where they are
// confirmed. The store acknowledges before it has written, so what was sent is
// confirmed only when the store has run, without a new start, for some seconds
// longer; the confirmed places alone are kept on disk. After an error, a new
// start of the store or of this process, all behind the confirmed place is sent
// again, but for what the store says it has. So each event arrives at least
// once, and at times twice; readers take equal events as one.
//
// Nothing waits for the store: while it is away, the journal keeps what comes.
package ship

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
)

// Shipper sends one journal to one store. Its fields are set before Run.
type Shipper struct {
	Dir    string // of the journal
	Path   string // file with the confirmed places
	Store  string // name of the store; a new name gets all that the journal has
	Client *logstore.Client
	Events *event.Recorder
	Log    *slog.Logger

	// Times that are waited; zero values are the usual ones.
	Poll    time.Duration // between two looks for new events
	Confirm time.Duration // until what was sent is taken to be on the store's disk
	Backoff time.Duration // after an error; it doubles
	Grace   time.Duration // for which the store may be away without a word: it starts beside us

	mu        sync.Mutex // of all below
	confirmed map[event.Shelf]place
	anew      bool // Rewind was called
	status    Status

	shelves [3]*feed // of the goroutine of Run
	mark    string   // of the store's process that all unconfirmed was sent to
	unsure  bool     // the store may have what is sent next
	outage  time.Time
}

// Status tells how shipping goes.
type Status struct {
	Sent     int64     `json:"sent"`     // events since the start
	Known    int64     `json:"known"`    // events that would have been sent again, and that the store had
	Skipped  int64     `json:"skipped"`  // lines that the store refused, or that are no events
	Failures int64     `json:"failures"` // times that the store could not be reached
	Failing  time.Time `json:"failing,omitzero"`
	Error    string    `json:"error,omitempty"` // the last one, while it lasts
	Newest   time.Time `json:"newest,omitzero"` // time of the newest event that was sent
	Waiting  int64     `json:"waiting"`         // octets of the journal that were not sent, compressed where it is
}

const (
	pollTime    = 500 * time.Millisecond
	backoffTime = time.Second
	graceTime   = 30 * time.Second
	maxBackoff  = time.Minute
	settleTime  = 2 * time.Second // after which the store finds what it took
	batchSize   = 4 << 20         // octets sent at once
)

// Run ships until ctx ends.
func (s *Shipper) Run(ctx context.Context) {
	s.setDefaults()
	s.load()
	s.rewind()
	backoff := s.Backoff
	for ctx.Err() == nil {
		sent, err := s.round(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			s.failed(err)
			s.rewind()
			s.measure()
			wait(ctx, backoff+rand.N(backoff/4+1))
			backoff = min(2*backoff, maxBackoff)
		case sent == 0:
			s.worked()
			backoff = s.Backoff
			wait(ctx, s.Poll)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *Shipper) setDefaults() {
	if s.Poll == 0 {
		s.Poll = pollTime
	}
	if s.Confirm == 0 {
		s.Confirm = logstore.FlushTime
	}
	if s.Backoff == 0 {
		s.Backoff = backoffTime
	}
	if s.Grace == 0 {
		s.Grace = graceTime
	}
}

// Rewind has all sent again that the journal has: the store lost what it had.
func (s *Shipper) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anew = true
}

// Has tells whether the store has all of a segment on its disk.
func (s *Shipper) Has(segment string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.confirmed {
		if sameShelf(p.Segment, segment) {
			return segment < p.Segment
		}
	}
	return false
}

// Status tells how shipping goes.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// rewind goes back to the confirmed places.
func (s *Shipper) rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anew {
		s.confirmed, s.anew = map[event.Shelf]place{}, false
	}
	for i, shelf := range event.Shelves {
		if s.shelves[i] != nil {
			s.shelves[i].close()
		}
		s.shelves[i] = &feed{dir: s.Dir, shelf: shelf, at: s.confirmed[shelf]}
	}
	s.mark, s.unsure = "", true
}

// round sends one batch of each shelf, and gives the number of lines sent.
func (s *Shipper) round(ctx context.Context) (sent int, err error) {
	if err := s.sameStore(ctx); err != nil {
		return 0, err
	}
	known := 0
	for _, f := range s.shelves {
		b, err := f.next()
		if err != nil {
			return sent, err
		}
		if len(b.lines) == 0 {
			continue
		}
		if s.unsure {
			had, err := s.dropKnown(ctx, f.shelf, &b)
			if err != nil {
				return sent, err
			}
			known += had
		}
		if err := s.send(ctx, &b); err != nil {
			return sent, err
		}
		f.sent(time.Now())
		sent += b.count
		s.count(&b)
	}
	if known == 0 {
		s.unsure = false
	}
	return sent, s.confirm(ctx)
}

// errStoreAnew goes back to the confirmed places.
var errStoreAnew = errors.New("the log store was started anew")

// sameStore notes which process of the store it talks to. It waits before the
// first batch until the store finds what it took before.
func (s *Shipper) sameStore(ctx context.Context) (err error) {
	s.mu.Lock()
	anew := s.anew
	s.mu.Unlock()
	if anew {
		return errStoreAnew
	}
	if s.mark != "" {
		return nil
	}
	if s.mark, err = s.started(ctx); err == nil {
		wait(ctx, min(settleTime, s.Confirm))
	}
	return err
}

func (s *Shipper) started(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.Client.Started(ctx)
}

// confirm keeps the places up to which all was sent long enough ago.
func (s *Shipper) confirm(ctx context.Context) error {
	due := time.Now().Add(-s.Confirm)
	places := map[event.Shelf]place{}
	for _, f := range s.shelves {
		if p, ok := f.sentUntil(due); ok {
			places[f.shelf] = p
		}
	}
	if len(places) == 0 {
		return nil
	}
	mark, err := s.started(ctx)
	if err != nil {
		return err
	}
	if mark != s.mark {
		return errStoreAnew
	}
	s.mu.Lock()
	for shelf, p := range places {
		s.confirmed[shelf] = p
	}
	s.mu.Unlock()
	return s.save()
}

func (s *Shipper) count(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Sent += int64(b.count)
	if b.newest.After(s.status.Newest) {
		s.status.Newest = b.newest
	}
}

// failed tells once of an outage that lasts.
func (s *Shipper) failed(err error) {
	s.mu.Lock()
	s.status.Failures++
	s.status.Error = err.Error()
	if s.status.Failing.IsZero() {
		s.status.Failing = time.Now()
	}
	since, sent := s.status.Failing, s.status.Sent
	s.mu.Unlock()
	if s.outage.Equal(since) || time.Since(since) < s.Grace {
		return
	}
	s.outage = since
	s.Log.Warn("events wait in the journal: the log store does not take them", "err", err)
	s.Events.Record(event.Event{Kind: event.Fault, Role: "shipper", Verb: "outage", Reason: err.Error(), Count: sent})
}

// worked ends an outage: all that the journal has was sent.
func (s *Shipper) worked() {
	s.mu.Lock()
	since := s.status.Failing
	s.status.Failing, s.status.Error = time.Time{}, ""
	s.mu.Unlock()
	s.measure()
	if since.IsZero() || !s.outage.Equal(since) {
		return
	}
	s.outage = time.Time{}
	s.Log.Info("the log store has all events again")
	s.Events.Record(event.Event{Kind: event.Lifecycle, Role: "shipper", Verb: "caught up", Millis: time.Since(since).Milliseconds()})
}
