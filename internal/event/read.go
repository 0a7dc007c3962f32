package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxLine is the longest line of a journal that a Reader takes for an event, in
// octets.
const maxLine = 256 << 10

// Reader reads the events of one journal file, in the order of the file. Lines
// that are no events, such as those torn by a crash, are skipped and counted.
type Reader struct {
	// Match tells from the text of a line whether it is worth reading; nil: all.
	Match func(line []byte) bool
	Torn  int // lines that were no events

	r *bufio.Reader
}

// NewReader reads from r, in little memory whatever comes.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, maxLine)} }

// Next gives the next event, or io.EOF.
func (r *Reader) Next() (Event, error) {
	for {
		line, err := r.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			r.Torn++
			if err := r.skipLine(); err != nil {
				return Event{}, err
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Event{}, fmt.Errorf("read journal: %w", err)
		}
		if len(line) == 0 {
			return Event{}, io.EOF
		}
		if r.Match != nil && !r.Match(line) {
			continue
		}
		var e Event
		if json.Unmarshal(line, &e) == nil && e.Kind != "" && !e.Time.IsZero() {
			return e, nil
		}
		r.Torn++
	}
}

// skipLine goes behind the end of a line that is too long.
func (r *Reader) skipLine() error {
	for {
		_, err := r.r.ReadSlice('\n')
		switch {
		case err == nil:
			return nil
		case errors.Is(err, io.EOF):
			return io.EOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read journal: %w", err)
		}
	}
}

// Files gives the files of the journal in dir, the newest first.
func Files(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list journal files: %w", err)
	}
	slices.Sort(names)
	slices.Reverse(names)
	if newest := filepath.Join(dir, current); exists(newest) {
		names = slices.Insert(names, 0, newest)
	}
	return names, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
