package cert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Failure is how the last attempt to obtain a certificate ended.
type Failure struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Error implements error.
func (f *Failure) Error() string {
	return fmt.Sprintf("ACME failed at %s: %s", f.Time.UTC().Format(time.RFC3339), f.Text)
}

// Failures reads what a Manager on dir left: the last failure of each name that
// has not been successful since.
func Failures(dir string) (map[string]*Failure, error) {
	text, err := os.ReadFile(failuresFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list map[string]*Failure
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the failures of ACME: %w", err)
	}
	return list, nil
}

func failuresFile(dir string) string { return filepath.Join(dir, "acme-failures.json") }

// failures keeps what Failures reads. A file that cannot be read starts anew.
type failures struct {
	dir  string
	mu   sync.Mutex
	list map[string]*Failure
}

func newFailures(dir string) *failures {
	list, err := Failures(dir)
	if err != nil || list == nil {
		list = map[string]*Failure{}
	}
	return &failures{dir: dir, list: list}
}

// of gives the failure of name, nil when there is none.
func (f *failures) of(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if failed := f.list[strings.ToLower(name)]; failed != nil {
		return failed
	}
	return nil
}

// set notes how an attempt for name ended.
func (f *failures) set(name string, err error) error {
	name = strings.ToLower(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		if f.list[name] == nil {
			return nil
		}
		delete(f.list, name)
	} else {
		f.list[name] = &Failure{Time: time.Now(), Text: err.Error()}
	}
	text, err := json.Marshal(f.list)
	if err != nil {
		return err
	}
	// Renamed into place, so that a reader beside us never sees half of it.
	path := failuresFile(f.dir)
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
