package edge

import (
	"bytes"
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// eventLog gives the events of several journal files in the order of time, with
// bounded memory. Files of one node follow one another, those of several run
// side by side; within a file an event may be late, because it was written when
// its look-up had ended.
type eventLog struct {
	files    []*logFile // that have more
	waiting  eventHeap
	pushed   int
	read     int
	torn     int
	misdated int
	newest   time.Time // of what was given
	err      error     // the first that a file gave
}

const (
	lateness  = time.Minute // by which an event may be late
	lateLimit = 1 << 14     // events that wait for late ones at most
	backStep  = time.Hour   // going back by more, a time is wrong
)

// replayed are the kinds of events that a replay looks at.
var replayed = [][]byte{[]byte(`"kind":"rcpt"`), []byte(`"kind":"accept"`), []byte(`"kind":"close"`)}

func openLog(paths []string) (*eventLog, error) {
	l := &eventLog{}
	for _, path := range paths {
		f, err := event.OpenFile(path)
		if err != nil {
			l.close()
			return nil, err
		}
		file := &logFile{path: path, file: f, log: l, reader: event.NewReader(f)}
		file.reader.Match = func(line []byte) bool {
			return slices.ContainsFunc(replayed, func(kind []byte) bool { return bytes.Contains(line, kind) })
		}
		l.files = append(l.files, file)
	}
	for _, f := range slices.Clone(l.files) {
		f.begin()
	}
	return l, l.err
}

// next gives the next event, or io.EOF. What is misdated is left out: from the
// future, or far before what came before it.
func (l *eventLog) next() (event.Event, error) {
	for {
		l.fetch()
		if l.err != nil {
			return event.Event{}, l.err
		}
		if len(l.waiting) == 0 {
			return event.Event{}, io.EOF
		}
		e := heap.Pop(&l.waiting).(logged).Event
		switch back := l.newest.Sub(e.Time); {
		case back > backStep:
			l.misdated++
			continue
		case back > 0:
			e.Time = l.newest
		}
		l.newest = e.Time
		l.read++
		return e, nil
	}
}

// fetch reads on until no file can have an event that belongs before the first
// that waits.
func (l *eventLog) fetch() {
	for len(l.files) > 0 && len(l.waiting) < lateLimit {
		f := slices.MinFunc(l.files, func(a, b *logFile) int { return a.head.Time.Compare(b.head.Time) })
		if len(l.waiting) > 0 && f.head.Time.Sub(l.waiting[0].Time) > lateness {
			return
		}
		l.pushed++
		heap.Push(&l.waiting, logged{f.head, l.pushed})
		f.advance()
	}
}

func (l *eventLog) close() {
	for _, f := range l.files {
		f.file.Close()
	}
	l.files = nil
}

// logFile is one file, read up to one event behind its head.
type logFile struct {
	path      string
	file      io.Closer
	log       *eventLog
	reader    *event.Reader
	head      event.Event
	following *event.Event // nil: head is the last
}

func (f *logFile) begin() {
	f.following = f.pull()
	f.advance()
}

// advance makes the following event the head, and leaves out one whose time is
// far behind that of the next: a single wrong time must not hold up the rest.
func (f *logFile) advance() {
	for f.following != nil {
		f.head = *f.following
		f.following = f.pull()
		if f.following == nil || f.head.Time.Sub(f.following.Time) <= backStep {
			return
		}
		f.log.misdated++
	}
	f.file.Close()
	f.log.torn += f.reader.Torn
	f.log.files = slices.DeleteFunc(f.log.files, func(o *logFile) bool { return o == f })
}

// pull reads an event that is not from the future.
func (f *logFile) pull() *event.Event {
	for {
		e, err := f.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			f.log.err = cmp.Or(f.log.err, fmt.Errorf("%s: %w", f.path, err))
			return nil
		case e.Time.After(time.Now().Add(backStep)):
			f.log.misdated++
		default:
			return &e
		}
	}
}

// logged is an event with its place among those of the same time.
type logged struct {
	event.Event
	place int
}

// eventHeap has the earliest event first.
type eventHeap []logged

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return cmp.Or(h[i].Time.Compare(h[j].Time), cmp.Compare(h[i].place, h[j].place)) < 0
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *eventHeap) Push(x any) { *h = append(*h, x.(logged)) }

// Pop implements heap.Interface.
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
