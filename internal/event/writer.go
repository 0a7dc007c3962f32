package event

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

func shelfIndex(k Kind) int { return slices.Index(Shelves, ShelfOf(k)) }

// writer is the goroutine that writes to the journal.
type writer struct {
	r        *Recorder
	j        *journal
	told     int64     // dropped events that the journal tells of
	failed   error     // since the last tick
	reported time.Time // when a failure was last reported
}

func (w *writer) run(ctx context.Context) {
	defer w.j.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var free [3]batch
	for {
		select {
		case <-ctx.Done():
			w.flush(free)
			return
		case <-w.r.wake:
			time.Sleep(gather) // not to be woken for each event of a busy time
			free = w.flush(free)
		case now := <-tick.C:
			free = w.flush(free) // Record wakes for the first that waits only
			w.tick(now)
		}
	}
}

// flush writes what was recorded, or drops it when it cannot, and gives the
// buffers back.
func (w *writer) flush(free [3]batch) [3]batch {
	taken := w.r.swap(free)
	for i := range taken {
		b := &taken[i]
		if b.events == 0 {
			continue
		}
		err := errFull
		if !w.r.full() {
			err = w.j.shelves[i].write(b.lines)
		}
		if err != nil {
			w.r.dropped.Add(b.events)
			w.failed = err
		} else {
			w.r.written.Add(b.events)
		}
		b.lines, b.events = b.lines[:0], 0
		if cap(b.lines) > spare {
			b.lines = nil
		}
	}
	return taken
}

// tick does what is due each second: it tells of dropped events once there is
// room again, syncs, closes full segments, and reports a failure at most once a
// minute.
func (w *writer) tick(now time.Time) {
	if n := w.r.dropped.Load(); n > w.told && w.failed == nil && !w.r.full() {
		w.r.Record(Event{Kind: Fault, Reason: "events were dropped", Count: n - w.told})
		w.told = n
	}
	var limit int64
	if w.r.opts.Limits != nil {
		limit = w.r.opts.Limits.File
	}
	w.j.sync()
	for _, s := range w.j.shelves {
		rotated, err := s.maintain(now, limit)
		if err != nil {
			w.failed = err
		}
		if rotated {
			select {
			case w.r.tidy <- struct{}{}:
			default:
			}
		}
	}
	if w.failed != nil && (w.reported.IsZero() || now.Sub(w.reported) >= time.Minute) {
		w.reported = now
		w.r.report(w.failed)
	}
	w.failed = nil
}

// journal is the files that grow.
type journal struct{ shelves [3]*shelfFile }

func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{}
	for i, shelf := range Shelves {
		s := &shelfFile{dir: dir, shelf: shelf}
		err := s.open(time.Now())
		if err == nil {
			err = s.closeTornLine()
		}
		j.shelves[i] = s
		if err != nil {
			j.close()
			return nil, err
		}
	}
	return j, nil
}

// sync syncs all files at the same time: the file system then makes one commit
// of its own of it, for which mail that is being written waits, too.
func (j *journal) sync() {
	var all sync.WaitGroup
	for _, s := range j.shelves {
		if s.dirty && s.file != nil {
			all.Go(func() {
				s.unsynced = s.file.Sync()
				s.dirty = s.unsynced != nil
			})
		}
	}
	all.Wait()
}

func (j *journal) close() {
	for _, s := range j.shelves {
		if s != nil && s.file != nil {
			s.file.Sync()
			s.file.Close()
		}
	}
}

// shelfFile is the newest segment of a shelf.
type shelfFile struct {
	dir     string
	shelf   Shelf
	segment Segment
	file    *os.File // nil when it could not be opened again
	dirty   bool
	torn    bool // the last line has no end

	unsynced error // of the last sync
}

// open opens the newest segment of the shelf, or a new one.
func (s *shelfFile) open(now time.Time) error {
	for {
		newest, err := newestSegment(s.dir, s.shelf)
		if err != nil {
			return err
		}
		if newest.Name == "" || newest.Compressed {
			return s.begin(now)
		}
		if err := s.openSegment(newest, os.O_APPEND); err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
}

// begin opens a new segment.
func (s *shelfFile) begin(now time.Time) error {
	err := s.openSegment(newSegment(s.shelf, now), os.O_APPEND|os.O_CREATE|os.O_EXCL)
	if err == nil {
		err = syncDir(s.dir)
	}
	return err
}

func (s *shelfFile) openSegment(seg Segment, flag int) error {
	f, err := os.OpenFile(seg.Path(s.dir), os.O_RDWR|flag, 0o600)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if err := holdLock(f); err != nil {
		f.Close()
		return fmt.Errorf("open journal: %w", err)
	}
	if !same(f, seg.Path(s.dir)) { // compressed while the lock was waited for
		f.Close()
		return os.ErrNotExist
	}
	s.segment, s.file, s.torn = seg, f, false
	return nil
}

// same tells whether path is still the open file.
func same(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

func newestSegment(dir string, shelf Shelf) (newest Segment, err error) {
	all, err := Segments(dir)
	for _, s := range all {
		if s.Shelf == shelf {
			newest = s
		}
	}
	return newest, err
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
func (s *shelfFile) closeTornLine() error {
	st, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if st.Size() == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := s.file.ReadAt(last, st.Size()-1); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if last[0] != '\n' {
		_, err := s.file.Write([]byte("\n"))
		s.torn = err != nil // a full disk is no reason not to serve
	}
	return nil
}

// write appends whole lines.
func (s *shelfFile) write(lines []byte) error {
	if s.file == nil {
		if err := s.open(time.Now()); err != nil {
			return err
		}
	}
	if s.torn {
		if _, err := s.file.Write([]byte("\n")); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
		s.torn = false
	}
	if n, err := s.file.Write(lines); err != nil {
		s.torn = n > 0 && lines[n-1] != '\n'
		return fmt.Errorf("write journal: %w", err)
	}
	s.dirty = true
	return nil
}

// maintain follows another process to a newer segment, and begins one when this
// has limit octets (0: never). It tells whether it left one.
func (s *shelfFile) maintain(now time.Time, limit int64) (left bool, err error) {
	if s.file == nil {
		return false, s.open(now)
	}
	if s.unsynced != nil {
		return false, fmt.Errorf("sync journal: %w", s.unsynced)
	}
	newest, err := newestSegment(s.dir, s.shelf)
	if err != nil {
		return false, err
	}
	if newest.Name != s.segment.Name || newest.Compressed {
		return true, s.leave(s.open, now)
	}
	st, err := s.file.Stat()
	if err != nil {
		return false, fmt.Errorf("stat journal: %w", err)
	}
	if limit > 0 && st.Size() >= limit && now.After(s.segment.Begun) {
		return true, s.leave(s.begin, now)
	}
	return false, nil
}

// leave closes the segment for another.
func (s *shelfFile) leave(to func(time.Time) error, now time.Time) error {
	s.file.Close()
	s.file = nil
	return to(now)
}
