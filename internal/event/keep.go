package event

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Limits bound a journal.
type Limits struct {
	File  int64                  // octets at which a segment is closed, to be compressed
	Shelf map[Shelf]int64        // octets of all files of a shelf; the oldest are deleted; 0: no limit
	Keep  map[Kind]time.Duration // age at which events are deleted; 0: never
}

const (
	tidyTime    = time.Minute    // between two looks at the closed segments
	rewriteTime = 24 * time.Hour // between two rewritings of one segment
)

// keepHouse compresses closed segments and deletes what is over its limits.
func (r *Recorder) keepHouse(ctx context.Context) {
	tick := time.NewTicker(tidyTime)
	defer tick.Stop()
	var reported time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.tidy:
		case <-tick.C:
		}
		if err := r.tidyUp(ctx, time.Now()); err != nil && time.Since(reported) >= time.Minute {
			reported = time.Now()
			r.report(err)
		}
	}
}

// removeUnfinished removes compressed files that a crash left half written. The
// plain ones are still there.
func removeUnfinished(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+compressed+unfinished)) // fails for a wrong pattern only
	for _, name := range names {
		os.Remove(name)
	}
}

// tidyUp looks at all closed segments once.
func (r *Recorder) tidyUp(ctx context.Context, now time.Time) error {
	segments, err := Segments(r.opts.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for i := 0; i+1 < len(segments) && ctx.Err() == nil; i++ {
		if s, next := segments[i], segments[i+1]; s.Shelf == next.Shelf { // not the one that grows
			errs = append(errs, r.tidySegment(s, next.Begun, now))
		}
	}
	for _, shelf := range Shelves {
		errs = append(errs, r.fit(shelf))
	}
	return errors.Join(errs...)
}

// tidySegment compresses a segment whose last event is of the time end, and
// deletes from it what is too old.
func (r *Recorder) tidySegment(s Segment, end, now time.Time) error {
	longest, due := r.overdue(s, end, now)
	if longest > 0 && now.Sub(end) > longest && r.hasShipped(s) {
		return r.remove(s, fmt.Sprintf("older than %v", longest))
	}
	if !s.Compressed {
		if _, err := s.rewrite(r.opts.Dir, nil); err != nil {
			return err
		}
		return nil
	}
	if err := os.Remove(filepath.Join(r.opts.Dir, s.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) { // a crash left it
		return fmt.Errorf("tidy journal: %w", err)
	}
	if !due || !r.hasShipped(s) {
		return nil
	}
	gone := int64(0)
	_, err := s.rewrite(r.opts.Dir, func(line []byte) bool {
		e, ok := Parse(line)
		keep := r.opts.Limits.Keep[e.Kind]
		old := ok && keep > 0 && now.Sub(e.Time) > keep
		if old {
			gone++
		}
		return !old
	})
	if err == nil && gone > 0 {
		r.Record(Event{Kind: Expire, Verb: "journal", Text: s.Name, Count: gone, Reason: "events were older than log.keep says for their kinds"})
	}
	return err
}

// overdue gives the longest time that a kind of the segment's shelf is kept (0:
// for ever), and tells whether some events in it may be over theirs that were
// not when it was last written.
func (r *Recorder) overdue(s Segment, end, now time.Time) (longest time.Duration, due bool) {
	st, err := os.Stat(s.Path(r.opts.Dir))
	if err != nil {
		return 0, false
	}
	written := st.ModTime()
	forever := false
	for _, k := range Kinds {
		keep := r.opts.Limits.Keep[k.Kind]
		switch {
		case ShelfOf(k.Kind) != s.Shelf:
		case keep == 0:
			forever = true
		default:
			longest = max(longest, keep)
			due = due || now.Sub(s.Begun) > keep && written.Before(end.Add(keep))
		}
	}
	if forever {
		longest = 0
	}
	return longest, due && now.Sub(written) >= rewriteTime
}

// fit deletes the oldest closed segments of a shelf that has too many octets.
func (r *Recorder) fit(shelf Shelf) error {
	limit := r.opts.Limits.Shelf[shelf]
	if limit <= 0 {
		return nil
	}
	all, err := Segments(r.opts.Dir)
	if err != nil {
		return err
	}
	var mine []Segment
	var sizes []int64
	var sum int64
	for _, s := range all {
		if st, err := os.Stat(s.Path(r.opts.Dir)); err == nil && s.Shelf == shelf {
			mine, sizes, sum = append(mine, s), append(sizes, st.Size()), sum+st.Size()
		}
	}
	for i := 0; i+1 < len(mine) && sum > limit; i++ {
		if err := r.remove(mine[i], fmt.Sprintf("the journal may have %d octets of %s", limit, shelf)); err != nil {
			return err
		}
		sum -= sizes[i]
	}
	return nil
}

// remove deletes a segment and says so. What the log store has not yet is lost
// by it, which is a fault.
func (r *Recorder) remove(s Segment, why string) error {
	e := Event{Kind: Expire, Verb: "journal", Text: s.Name, Reason: why, Count: countLines(s.Path(r.opts.Dir))}
	if !r.hasShipped(s) {
		e.Kind, e.Reason = Fault, "events that the log store has not were deleted: "+why
	}
	for _, path := range []string{filepath.Join(r.opts.Dir, s.Name), filepath.Join(r.opts.Dir, s.Name+compressed)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete journal segment: %w", err)
		}
	}
	r.Record(e)
	return nil
}

func (r *Recorder) hasShipped(s Segment) bool {
	has := r.shipped.Load()
	return has == nil || (*has)(s.Name)
}

// countLines gives the number of lines of a journal file, as far as it can be
// read.
func countLines(path string) (n int64) {
	f, err := OpenFile(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for {
		k, err := f.Read(buf)
		for _, c := range buf[:k] {
			if c == '\n' {
				n++
			}
		}
		if err != nil {
			return n
		}
	}
}
