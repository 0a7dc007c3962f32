package edge

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The snapshots in the data directory of a node: of the engine that judges
// those who bring mail, and of the one that judges logins.
const (
	StrangersName = "edge/strangers"
	LoginsName    = "edge/logins"
)

// SaveFile writes a snapshot, durably and whole or not at all, and makes the
// directory it lies in. One at a time may do it.
func (e *Engine) SaveFile(path string, now Time) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	part := path + ".new"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	err = e.Save(f, now)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(part)
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// LoadFile is Load from a file. Where there is none the error is
// fs.ErrNotExist.
func (e *Engine) LoadFile(path string) (newest Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("load snapshot: %w", err)
	}
	defer f.Close()
	return e.Load(bufio.NewReaderSize(f, 1<<20))
}

// OpenFile makes an engine as large as the one that wrote the file and loads
// it: for those who look at a snapshot.
func OpenFile(path string, rules Rules) (*Engine, Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("load snapshot: %w", err)
	}
	in := &snapshotReader{r: f}
	err = in.begin()
	f.Close()
	if err != nil {
		return nil, 0, fmt.Errorf("load snapshot: %w", err)
	}
	e, err := New(rules, readSizes(in.entries))
	if err != nil {
		return nil, 0, err
	}
	newest, err := e.LoadFile(path)
	if err != nil {
		e.Close()
		return nil, 0, err
	}
	return e, newest, nil
}
