// Package blob stores message bodies: bytes that are written once, read many
// times and deleted at last.
package blob

import (
	"context"
	"errors"
	"io"
)

// Ref names a stored body. It means something only to the store that gave it.
type Ref string

// ErrFull means that the store has no room, or only its reserve, left.
var ErrFull = errors.New("no room for message bodies")

// ErrNotFound means that the store has no body of this name.
var ErrNotFound = errors.New("no such message body")

// Stored is a body that is on disk.
type Stored struct {
	Ref  Ref
	Size int64 // octets
}

// Writer takes one body. After Commit or Abort it is spent; Abort after Commit
// does nothing, so it can be deferred.
type Writer interface {
	io.Writer
	// Size is the number of octets written so far.
	Size() int64
	// Commit returns when the body is on disk. Many writers share one fsync.
	Commit(ctx context.Context) (Stored, error)
	// Abort throws the body away.
	Abort()
}

// Reader reads a stored body.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64
}
