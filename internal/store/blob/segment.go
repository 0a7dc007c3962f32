package blob

import (
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

// Segments lists, in the order of their names, the sealed segments nobody has
// written to for age.
func (d *Disk) Segments(age time.Duration) ([]Segment, error) {
	var list []Segment
	err := d.settled(true, age, func(name string, size int64) {
		if !d.inUse(name) {
			list = append(list, Segment{name, size})
		}
	})
	return list, err
}

// Files lists the refs of the file bodies nobody has written to for age, with
// those that were never committed: of them, the ref only serves for Remove.
func (d *Disk) Files(age time.Duration) ([]Ref, error) {
	var list []Ref
	err := d.settled(false, age, func(name string, size int64) {
		list = append(list, place{name: name, length: max(0, size-headerSize)}.ref())
	})
	return list, err
}

func (d *Disk) settled(segments bool, age time.Duration, fn func(name string, size int64)) error {
	entries, err := os.ReadDir(d.path(segments, ""))
	if err != nil {
		return fmt.Errorf("list bodies: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !isName(e.Name()) || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		if time.Since(info.ModTime()) >= age && !d.fresh.within(e.Name(), age) {
			fn(e.Name(), info.Size())
		}
	}
	return nil
}

// inUse tells whether a process still appends to segment name.
func (d *Disk) inUse(name string) bool {
	f, err := os.Open(d.path(true, name))
	if err != nil {
		return true
	}
	defer f.Close()
	return lock(f) != nil
}

// RemoveSegment deletes a whole segment. That it is gone already is no error.
func (d *Disk) RemoveSegment(name string) error {
	if !isName(name) || d.inUse(name) {
		if _, err := os.Stat(d.path(true, name)); os.IsNotExist(err) {
			return nil
		}
		return fmt.Errorf("remove segment %q: %w", name, fs.ErrInvalid)
	}
	if err := os.Remove(d.path(true, name)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}
