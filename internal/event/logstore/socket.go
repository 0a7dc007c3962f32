package logstore

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxSocket is the longest path that the system takes for a Unix socket
// (sun_path, with its end).
const maxSocket = 107

// ShortPath gives another name of a Unix socket's path where that is too long
// for the system, valid until done is called.
func ShortPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocket {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("log store: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}
