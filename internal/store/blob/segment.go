package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// freshness remembers when this process last wrote to a file, by a clock that
// does not jump. The times in the file system serve for other processes.
type freshness struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (f *freshness) touch(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at[name] = time.Now()
}

func (f *freshness) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.at, name)
}

// within tells whether name was touched in the last age, and forgets it if not.
func (f *freshness) within(name string, age time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.at[name]
	if ok && time.Since(at) >= age {
		delete(f.at, name)
		return false
	}
	return ok
}

// Segment is a sealed segment.
type Segment struct {
	Name string
	Size int64 // octets, of dead bodies too
}

// Segments lists, in the order of their names, at most limit sealed segments
// after the name given that nobody has written to for age.
func (d *Disk) Segments(age time.Duration, after string, limit int) ([]Segment, error) {
	var list []Segment
	err := d.settled(true, age, after, func(name string, size int64) bool {
		if !d.inUse(true, name) {
			list = append(list, Segment{Name: name, Size: size})
		}
		return len(list) < limit
	})
	return list, err
}

// Files lists the files that hold one body, or the beginning of one that was
// never committed: in the order of their names, at most limit after the name
// given, that nobody has written to for age.
func (d *Disk) Files(age time.Duration, after string, limit int) ([]string, error) {
	var list []string
	err := d.settled(false, age, after, func(name string, _ int64) bool {
		list = append(list, name)
		return len(list) < limit
	})
	return list, err
}

// BeingWritten tells whether a process still writes the body of a file.
func (d *Disk) BeingWritten(file string) bool { return d.inUse(false, file) }

// settled calls fn for the files that were not written to for age, until it
// returns false.
func (d *Disk) settled(segments bool, age time.Duration, after string, fn func(name string, size int64) bool) error {
	entries, err := os.ReadDir(d.path(segments, ""))
	if err != nil {
		return fmt.Errorf("list bodies: %w", err)
	}
	for _, e := range entries {
		if e.Name() <= after || !isName(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		if time.Since(info.ModTime()) < age || d.fresh.within(e.Name(), age) {
			continue
		}
		if !fn(e.Name(), info.Size()) {
			return nil
		}
	}
	return nil
}

// inUse tells whether a process still writes to a file.
func (d *Disk) inUse(segment bool, name string) bool {
	f, err := os.Open(d.path(segment, name))
	if err != nil {
		return true
	}
	defer f.Close()
	return lock(f, false) != nil
}

// RemoveSegment deletes a whole segment. That it is gone already is no error;
// that a process still appends to it is fs.ErrInvalid.
func (d *Disk) RemoveSegment(name string) error {
	if !isName(name) {
		return fmt.Errorf("remove segment %q: %w", name, fs.ErrInvalid)
	}
	f, err := os.Open(d.path(true, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	defer f.Close()
	// The lock is held until the name is gone: see begin.
	if err := lock(f, false); err != nil {
		return fmt.Errorf("remove segment %q: %w", name, fs.ErrInvalid)
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}
