package ship

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// place is a place in the journal.
type place struct {
	Segment string `json:"segment"` // its name; empty: before the first one
	Offset  int64  `json:"offset"`  // in its text, uncompressed
}

func sameShelf(a, b string) bool {
	x, _, _ := strings.Cut(a, "-")
	y, _, _ := strings.Cut(b, "-")
	return x == y
}

// feed reads a shelf of the journal, from a place on, following it from segment
// to segment.
type feed struct {
	dir   string
	shelf event.Shelf
	at    place // up to where was read

	segment event.Segment
	file    io.ReadCloser // of segment; nil: to be opened
	rest    []byte        // read, and not yet given: no whole line
	buf     []byte

	pending []milestone // sent, not yet confirmed
}

// milestone is a place up to which was sent, and when.
type milestone struct {
	place
	at time.Time
}

// batch is lines to be sent.
type batch struct {
	lines  []byte
	count  int
	newest time.Time // of the last line
}

func (f *feed) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// next gives some lines, none when there are no more for now.
func (f *feed) next() (b batch, err error) {
	for {
		if f.file == nil {
			if more, err := f.open(); err != nil || !more {
				return b, err
			}
		}
		growing := f.segment.Grows(f.dir) // before reading: what comes later is read later
		b, err = f.read()
		if err != nil || len(b.lines) > 0 {
			return b, err
		}
		if growing || !f.follow() {
			return b, nil
		}
	}
}

// open opens the segment of the place, or the one behind it.
func (f *feed) open() (more bool, err error) {
	segments, err := event.Segments(f.dir)
	if err != nil {
		return false, err
	}
	for _, s := range segments {
		if s.Shelf != f.shelf || s.Name < f.at.Segment {
			continue
		}
		if s.Name != f.at.Segment {
			f.at = place{Segment: s.Name}
		}
		f.segment, f.rest = s, nil
		return f.openAt(s.Path(f.dir))
	}
	return false, nil
}

func (f *feed) openAt(path string) (bool, error) {
	file, err := event.OpenFile(path)
	if errors.Is(err, fs.ErrNotExist) { // deleted since it was listed
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if plain, ok := file.(*os.File); ok {
		_, err = plain.Seek(f.at.Offset, io.SeekStart)
	} else if _, err = io.CopyN(io.Discard, file, f.at.Offset); err == io.EOF { // rewritten, and shorter: it had been sent
		err = nil
	}
	if err != nil {
		file.Close()
		return false, fmt.Errorf("read journal: %w", err)
	}
	f.file = file
	return true, nil
}

// follow goes to the segment behind the one that has no more.
func (f *feed) follow() bool {
	segments, err := event.Segments(f.dir)
	if err != nil {
		return false
	}
	next, ok := event.Next(segments, f.shelf, f.segment.Name)
	if !ok {
		return false
	}
	f.close()
	f.at = place{Segment: next.Name}
	return true
}

// read gives whole lines of the open segment.
func (f *feed) read() (b batch, err error) {
	if f.buf == nil {
		f.buf = make([]byte, batchSize)
	}
	n := copy(f.buf, f.rest)
	for n < len(f.buf) {
		k, err := f.file.Read(f.buf[n:])
		n += k
		if err == io.EOF {
			break
		}
		if err != nil { // damaged: what is behind cannot be read
			f.close()
			return b, f.leaveDamaged(err)
		}
	}
	end := bytes.LastIndexByte(f.buf[:n], '\n') + 1
	if end == 0 && n == len(f.buf) { // no event
		end = n
	}
	f.rest = append(f.rest[:0], f.buf[end:n]...)
	b.lines = f.buf[:end]
	f.at.Offset += int64(end)
	b.count = bytes.Count(b.lines, []byte{'\n'})
	b.newest = lineTime(b.lines)
	return b, nil
}

// leaveDamaged goes behind a segment that cannot be read.
func (f *feed) leaveDamaged(err error) error {
	if !f.follow() {
		return fmt.Errorf("read journal %s: %w", f.segment.Name, err)
	}
	return nil
}

// lineTime gives the time of the last line.
func lineTime(lines []byte) time.Time {
	last := bytes.TrimSuffix(lines, []byte{'\n'})
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	var e struct {
		Time time.Time `json:"time"`
	}
	json.Unmarshal(last, &e) // a torn line has no time
	return e.Time
}

func (f *feed) sent(now time.Time) { f.pending = append(f.pending, milestone{f.at, now}) }

// sentUntil gives the last place up to which was sent before due, and forgets
// those before it.
func (f *feed) sentUntil(due time.Time) (p place, ok bool) {
	for len(f.pending) > 0 && !f.pending[0].at.After(due) {
		p, ok = f.pending[0].place, true
		f.pending = f.pending[1:]
	}
	return p, ok
}

// load reads the confirmed places. Without them, or with those of another
// store, all that the journal has is sent.
func (s *Shipper) load() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = map[event.Shelf]place{}
	text, err := os.ReadFile(s.Path)
	if err != nil {
		return
	}
	var kept kept
	if json.Unmarshal(text, &kept) == nil && kept.Store == s.Store && kept.Places != nil {
		s.confirmed = kept.Places
	}
}

// kept is the file of the places.
type kept struct {
	Store  string                `json:"store"`
	Places map[event.Shelf]place `json:"places"`
}

// Places are how far the journal is confirmed to be in the store.
type Places map[event.Shelf]place

// ReadPlaces reads the file that a Shipper writes; without one, nothing is
// confirmed.
func ReadPlaces(path string) Places {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var k kept
	if json.Unmarshal(text, &k) != nil {
		return nil
	}
	return k.Places
}

// Behind gives how many octets of a segment, which has size, are not confirmed;
// of a compressed one all, until it is whole.
func (p Places) Behind(s event.Segment, size int64) int64 {
	switch at := p[s.Shelf]; {
	case s.Name < at.Segment:
		return 0
	case s.Name == at.Segment && !s.Compressed:
		return max(size-at.Offset, 0)
	}
	return size
}

func (s *Shipper) save() error {
	s.mu.Lock()
	text, err := json.Marshal(kept{s.Store, s.confirmed})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.Path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep places: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), s.Path)
	}
	if err != nil {
		return fmt.Errorf("keep places: %w", err)
	}
	return nil
}

// measure finds out how much of the journal was not sent.
func (s *Shipper) measure() {
	segments, err := event.Segments(s.Dir)
	if err != nil {
		return
	}
	var waiting int64
	for _, f := range s.shelves {
		for _, seg := range segments {
			st, err := os.Stat(seg.Path(s.Dir))
			switch {
			case err != nil || seg.Shelf != f.shelf || seg.Name < f.at.Segment:
			case seg.Name > f.at.Segment:
				waiting += st.Size()
			case !seg.Compressed:
				waiting += max(st.Size()-f.at.Offset, 0)
			}
		}
	}
	s.mu.Lock()
	s.status.Waiting = waiting
	s.mu.Unlock()
}
