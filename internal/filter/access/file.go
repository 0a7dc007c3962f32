package access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// lookAgain is how often a file is looked at, at most.
const lookAgain = 5 * time.Second

// File is the list of the site in a file of sendmail's access format, which is
// read again when it has changed. It knows no lists of accounts. It is safe for
// concurrent use.
type File struct {
	Path string

	mu      sync.Mutex
	list    *List
	looked  time.Time
	changed time.Time
}

// Lookup implements Lists. A file that cannot be read is an error, and what
// was read last still holds.
func (f *File) Lookup(_ context.Context, account int64) (*List, error) {
	if account != 0 {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.reload()
	return f.list, err
}

func (f *File) reload() error {
	if time.Since(f.looked) < lookAgain {
		return nil
	}
	f.looked = time.Now()
	info, err := os.Stat(f.Path)
	if err != nil || info.ModTime().Equal(f.changed) {
		return err
	}
	in, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	list, problems := ParseSendmail(in)
	// A line that is wrong costs itself; what it is, is told once.
	f.list, f.changed = list, info.ModTime()
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	return nil
}
