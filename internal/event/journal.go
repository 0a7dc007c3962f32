package event

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	backlog = 32 << 20             // octets that may wait for the disk
	spare   = 1 << 20              // a buffer that grew larger is not used again
	gather  = 5 * time.Millisecond // that one write takes together
)

// Options says where and how long a journal is kept.
type Options struct {
	Dir     string
	Node    string
	Log     *slog.Logger // gets every event at level debug; may be nil
	OnError func(error)  // told when the journal cannot be written or tidied, at most once a minute; may be nil
	Full    func() bool  // tells that the room left is for other things than events; may be nil

	// Limits bound the journal. The serving process sets them; others, whose
	// Limits are nil, only append.
	Limits *Limits
}

// Recorder writes events to the journal. A nil Recorder records nothing.
type Recorder struct {
	opts    Options
	dropped atomic.Int64
	written atomic.Int64
	shipped atomic.Pointer[func(segment string) bool] // nil: events are not shipped
	wake    chan struct{}
	tidy    chan struct{}      // a segment was closed
	stop    context.CancelFunc // ends the writer and the housekeeper
	done    sync.WaitGroup

	mu      sync.Mutex
	pending [3]batch // of each of Shelves
	waiting int      // octets in pending
	closed  bool
}

// batch is lines that wait to be written.
type batch struct {
	lines  []byte
	events int64
}

// Open opens the journal in opts.Dir and makes it when it is new.
func Open(opts Options) (*Recorder, error) {
	j, err := openJournal(opts.Dir)
	if err != nil {
		return nil, err
	}
	r := &Recorder{opts: opts, wake: make(chan struct{}, 1), tidy: make(chan struct{}, 1)}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	w := &writer{r: r, j: j}
	r.done.Go(func() { w.run(ctx) })
	if opts.Limits != nil {
		removeUnfinished(opts.Dir)
		r.done.Go(func() { r.keepHouse(ctx) })
	}
	return r, nil
}

// lines are buffers for events on their way to JSON.
var lines = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// Record puts e on its way to the journal and returns at once: it waits neither
// for the disk nor for who writes to it. Time and node are filled in when they
// are empty; addresses are written in lower case, so that they are found however
// they were spelled.
func (r *Recorder) Record(e Event) {
	if r == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	if e.Node == "" {
		e.Node = r.opts.Node
	}
	e.From, e.To, e.Account = strings.ToLower(e.From), strings.ToLower(e.To), strings.ToLower(e.Account)
	r.tell(&e)
	line := lines.Get().(*[]byte)
	defer lines.Put(line)
	*line = e.appendJSON((*line)[:0])
	if r.take(shelfIndex(e.Kind), *line) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// take lets a line wait for the writer, and tells whether that one has to be
// woken.
func (r *Recorder) take(shelf int, line []byte) (wake bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.waiting+len(line) > backlog {
		r.dropped.Add(1)
		return false
	}
	wake = r.waiting == 0
	r.waiting += len(line)
	b := &r.pending[shelf]
	b.lines = append(b.lines, line...)
	b.events++
	return wake
}

// swap takes what waits, and leaves the given buffers in its place.
func (r *Recorder) swap(with [3]batch) [3]batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = 0
	r.pending, with = with, r.pending
	return with
}

// Written counts the events that were written since Open.
func (r *Recorder) Written() int64 {
	if r == nil {
		return 0
	}
	return r.written.Load()
}

// Dropped counts the events that were lost because the journal could not keep
// up or could not be written.
func (r *Recorder) Dropped() int64 {
	if r == nil {
		return 0
	}
	return r.dropped.Load()
}

// SetShipped gives the journal the function that tells whether the log store
// has all of a segment, by its name. Segments it has not are kept as long as
// the room lasts.
func (r *Recorder) SetShipped(has func(segment string) bool) { r.shipped.Store(&has) }

// Dir gives the journal's directory.
func (r *Recorder) Dir() string { return r.opts.Dir }

// Close writes and syncs what was recorded.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.done.Wait()
	return nil
}

// tell writes e to the log of the process, for whoever watches it at work.
func (r *Recorder) tell(e *Event) {
	if log := r.opts.Log; log != nil && log.Enabled(context.Background(), slog.LevelDebug) {
		log.LogAttrs(context.Background(), slog.LevelDebug, string(e.Kind), slog.String("trace", string(e.Trace)), slog.Any("event", *e))
	}
}

// errFull is why events are dropped while they could still be written.
var errFull = errors.New("events are dropped: the room that is left is kept for mail")

func (r *Recorder) full() bool { return r.opts.Full != nil && r.opts.Full() }

func (r *Recorder) report(err error) {
	if r.opts.OnError != nil {
		r.opts.OnError(err)
	}
}
