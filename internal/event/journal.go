package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	current = "events.jsonl"
	backlog = 1 << 16 // events that may wait for the disk
	flushAt = 1 << 16 // octets gathered before a write
	gather  = 5 * time.Millisecond
)

// Options says where and how long a journal is kept.
type Options struct {
	Dir     string
	Node    string
	MaxSize int64         // octets of one file; 0: this process never closes files
	Keep    time.Duration // age at which closed files are deleted
	Log     *slog.Logger  // gets every event at level debug; may be nil
	OnError func(error)   // told when the journal cannot be written, at most once a minute; may be nil
	Full    func() bool   // tells that the room left is for other things than events; may be nil
}

// Recorder writes events to the journal. A nil Recorder records nothing.
type Recorder struct {
	opts    Options
	events  chan Event
	dropped atomic.Int64
	written atomic.Int64
	done    chan struct{}

	mu     sync.RWMutex // held for reading while handing to events
	closed bool
}

// Open opens the journal in opts.Dir and makes it when it is new.
func Open(opts Options) (*Recorder, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{opts: opts}
	if err := j.open(); err != nil {
		return nil, err
	}
	if err := j.closeTornLine(); err != nil {
		j.file.Close()
		return nil, err
	}
	r := &Recorder{opts: opts, events: make(chan Event, backlog), done: make(chan struct{})}
	go r.run(j)
	return r, nil
}

// Record hands e to the journal and returns at once. Time and node are filled
// in when they are empty.
func (r *Recorder) Record(e Event) {
	if r == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	if e.Node == "" {
		e.Node = r.opts.Node
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.dropped.Add(1)
		return
	}
	select {
	case r.events <- e:
	default:
		r.dropped.Add(1)
	}
}

// Written and Dropped count events since Open, for metrics.
func (r *Recorder) Written() int64 { return r.written.Load() }

// Dropped counts the events that were lost because the journal could not keep
// up or could not be written.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

// Close writes and syncs what was recorded.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	already := r.closed
	if !already {
		r.closed = true
		close(r.events)
	}
	r.mu.Unlock()
	<-r.done
	return nil
}

// run is the only goroutine that touches the file.
func (r *Recorder) run(j *journal) {
	defer close(r.done)
	defer j.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	w := &writer{r: r, j: j}
	w.enc = json.NewEncoder(&w.buf)
	w.enc.SetEscapeHTML(false)
	for {
		select {
		case e, ok := <-r.events:
			if !ok {
				w.flush()
				return
			}
			w.add(e)
			idle := len(r.events) == 0
			if idle || w.buf.Len() >= flushAt {
				w.flush()
			}
			if idle {
				time.Sleep(gather) // not to be woken for each event of a busy time
			}
		case now := <-tick.C:
			w.tick(now)
		}
	}
}

// writer gathers lines for the journal and keeps count of what became of them.
type writer struct {
	r        *Recorder
	j        *journal
	buf      bytes.Buffer
	enc      *json.Encoder
	pending  int64     // events in buf
	told     int64     // dropped events that the journal tells of
	failed   error     // since the last tick
	reported time.Time // when a failure was last reported
}

func (w *writer) add(e Event) {
	w.r.tell(e)
	if w.enc.Encode(e) == nil { // Event has no type that cannot be encoded
		w.pending++
	}
}

// flush writes what was gathered, or drops it when it cannot.
func (w *writer) flush() {
	err := errFull
	if !w.r.full() {
		err = w.j.write(w.buf.Bytes())
	}
	if err != nil {
		w.r.dropped.Add(w.pending)
		w.failed = err
	} else {
		w.r.written.Add(w.pending)
	}
	w.buf.Reset()
	w.pending = 0
}

// tick does what is due each second: it tells of dropped events once there is
// room again, syncs the file, and reports a failure at most once a minute.
func (w *writer) tick(now time.Time) {
	if n := w.r.dropped.Load(); n > w.told && w.failed == nil && !w.r.full() {
		w.add(Event{Time: now.UTC(), Node: w.r.opts.Node, Kind: Fault, Reason: "events were dropped", Count: n - w.told})
		w.told = n
		w.flush()
	}
	if err := w.j.maintain(now); err != nil {
		w.failed = err
	}
	if w.failed != nil && (w.reported.IsZero() || now.Sub(w.reported) >= time.Minute) {
		w.reported = now
		w.r.report(w.failed)
	}
	w.failed = nil
}

// tell writes e to the log of the process, for whoever watches it at work.
func (r *Recorder) tell(e Event) {
	if log := r.opts.Log; log != nil && log.Enabled(context.Background(), slog.LevelDebug) {
		log.LogAttrs(context.Background(), slog.LevelDebug, string(e.Kind), slog.String("trace", string(e.Trace)), slog.Any("event", e))
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

// journal is the file side of a Recorder.
type journal struct {
	opts  Options
	file  *os.File // nil when it could not be opened again
	dirty bool
	torn  bool // the last line has no end
}

func (j *journal) path() string { return filepath.Join(j.opts.Dir, current) }

func (j *journal) open() error {
	f, err := os.OpenFile(j.path(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if err := syncDir(j.opts.Dir); err != nil {
		f.Close()
		return fmt.Errorf("open journal: %w", err)
	}
	j.file = f
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// closeTornLine ends a last line that a crash cut short. It appends, since
// another process may be appending, too.
func (j *journal) closeTornLine() error {
	st, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if st.Size() == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := j.file.ReadAt(last, st.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("open journal: %w", err)
	}
	if last[0] == '\n' {
		return nil
	}
	if _, err := j.file.Write([]byte("\n")); err != nil {
		j.torn = true // a full disk is no reason not to serve
	}
	return nil
}

// write appends whole lines, to the new file when another process closed ours.
func (j *journal) write(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if j.file == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	if j.torn {
		if _, err := j.file.Write([]byte("\n")); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
		j.torn = false
	}
	if n, err := j.file.Write(lines); err != nil {
		j.torn = n > 0 && lines[n-1] != '\n'
		return fmt.Errorf("write journal: %w", err)
	}
	j.dirty = true
	return nil
}

// maintain syncs, follows a rename, closes a full file and deletes old ones.
func (j *journal) maintain(now time.Time) error {
	if !j.dirty {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	j.dirty = false
	mine, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("stat journal: %w", err)
	}
	there, err := os.Stat(j.path())
	if err != nil || !os.SameFile(mine, there) {
		return j.reopen()
	}
	if j.opts.MaxSize > 0 && mine.Size() >= j.opts.MaxSize {
		return j.rotate(now)
	}
	return nil
}

func (j *journal) rotate(now time.Time) error {
	closed := filepath.Join(j.opts.Dir, "events-"+now.UTC().Format("20060102T150405.000000000")+".jsonl")
	if err := os.Rename(j.path(), closed); err != nil {
		return fmt.Errorf("close journal file: %w", err)
	}
	if err := j.reopen(); err != nil {
		return err
	}
	return j.expire(now)
}

// reopen leaves a file that was renamed for the new one.
func (j *journal) reopen() error {
	j.file.Close()
	j.file, j.torn = nil, false
	return j.open()
}

func (j *journal) expire(now time.Time) error {
	if j.opts.Keep <= 0 {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(j.opts.Dir, "events-*.jsonl"))
	if err != nil {
		return fmt.Errorf("list journal files: %w", err)
	}
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil || now.Sub(st.ModTime()) < j.opts.Keep {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete old journal file: %w", err)
		}
	}
	return nil
}

func (j *journal) close() {
	if j.file != nil {
		j.file.Sync()
		j.file.Close()
	}
}
