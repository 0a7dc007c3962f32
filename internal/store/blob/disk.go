package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Disk keeps bodies below a directory.
type Disk struct{ dir string }

// OpenDisk opens the store in dir and makes it when it is new.
func OpenDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open body store: %w", err)
	}
	return &Disk{dir: dir}, nil
}

// Close ends the store.
func (d *Disk) Close() error { return nil }

// Create begins a body.
func (d *Disk) Create(ctx context.Context) (Writer, error) { return &diskWriter{d: d}, nil }

// Open opens a stored body.
func (d *Disk) Open(ctx context.Context, ref Ref) (Reader, error) {
	b, err := os.ReadFile(filepath.Join(d.dir, string(ref)))
	if os.IsNotExist(err) {
		return nil, ErrNotFound
	}
	return memReader{bytes.NewReader(b)}, err
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }

type diskWriter struct {
	d   *Disk
	buf bytes.Buffer
}

func (w *diskWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }
func (w *diskWriter) Size() int64                 { return int64(w.buf.Len()) }
func (w *diskWriter) Abort()                      {}
func (w *diskWriter) Commit(ctx context.Context) (Stored, error) {
	s := Stored{Ref: Ref(rand.Text()), Size: w.Size()}
	return s, os.WriteFile(filepath.Join(w.d.dir, string(s.Ref)), w.buf.Bytes(), 0o600)
}

var _ io.ReaderAt = memReader{}
