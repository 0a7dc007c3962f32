package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line of a journal that is taken for an event, in
// octets.
const maxLine = 256 << 10

// Reader reads the events of one journal file, in the order of the file. Lines
// that are no events, such as those torn by a crash, are skipped and counted.
type Reader struct {
	// Match tells from the text of a line whether it is worth reading; nil: all.
	Match func(line []byte) bool
	Torn  int // lines that were no events

	lines *lineReader
}

// NewReader reads from r, in little memory whatever comes.
func NewReader(r io.Reader) *Reader { return &Reader{lines: newLineReader(r)} }

// Next gives the next event, or io.EOF.
func (r *Reader) Next() (Event, error) {
	for {
		line, err := r.lines.next()
		r.Torn += r.lines.long
		r.lines.long = 0
		if errors.Is(err, io.EOF) {
			return Event{}, io.EOF
		}
		if err != nil {
			return Event{}, fmt.Errorf("read journal: %w", err)
		}
		if r.Match != nil && !r.Match(line) {
			continue
		}
		if e, ok := Parse(line); ok {
			return e, nil
		}
		r.Torn++
	}
}

// Parse reads one line of a journal, and tells whether it is an event.
func Parse(line []byte) (e Event, ok bool) {
	ok = json.Unmarshal(line, &e) == nil && e.Kind != "" && !e.Time.IsZero()
	return e, ok
}

// lineReader gives lines with their ends; the last may have none. Those over
// maxLine are left out.
type lineReader struct {
	r    *bufio.Reader
	long int // lines left out
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, maxLine)} }

// next gives a line, valid until the next call, or io.EOF.
func (l *lineReader) next() ([]byte, error) {
	skipping := false
	for {
		line, err := l.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			skipping = true
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case skipping:
			l.long++
			skipping = false
		case len(line) > 0:
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
