// Package blob stores message bodies: octets that are written once, read many
// times and deleted at last.
//
// # On disk
//
// A Disk has two directories:
//
//	segments/NAME   many small bodies, one after the other
//	files/NAME      one large body each
//
// NAME is twelve random letters and digits and is never used again. Both kinds
// of file are made of records; a file in files/ is one record, a segment begins
// with the 16 octets "migiwa segment 1" and goes on with records:
//
//	0   4  "mgb1"
//	4   4  CRC-32C of the body
//	8   8  length of the body
//	16  4  CRC-32C of NAME and the 16 octets above
//	20     the body
//
// Numbers are little-endian. The last field makes a record of another file, or
// what a crash left, invalid. A Ref is "sNAME.OFFSET.LENGTH" or "fNAME.LENGTH",
// OFFSET being that of the record; opening one compares it with the record, and
// reading a body from its beginning to its end verifies its CRC.
//
// # Writing
//
// A body up to 64 KiB waits in memory until Commit appends it to the segment.
// Sync makes all that were appended durable with one fdatasync; who refers to a
// body calls it before the reference is durable, so that the bodies of one
// group commit share it. A larger body goes to a file of its own while it comes
// in, with an fsync of file and directory at Commit.
//
// A segment belongs to the process that made it, which holds a lock (flock) on
// it and appends to no other; it is sealed when it has grown to SegmentSize or
// its process has ended. So there is no recovery: what a crash left torn at a
// segment's end is named by no Ref, and goes when the segment is rewritten.
//
// # Failures
//
// When the disk is full, what was half written is cut off, that body gets
// ErrFull, and the next Commit tries again. After any other failure to write or
// sync, nothing more is appended to that segment, and after one to sync all
// further Syncs of it fail. Create refuses with ErrFull while less than Reserve
// is free, so that what has begun can end.
//
// # Deleting
//
// File bodies are removed one by one, segments whole, by Collect of package
// body, which knows what is referred to. It leaves alone segments and files
// that were written to lately: their bodies may not yet be in the database.
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

// ErrCorrupt means that what is on disk is not the body that was stored.
var ErrCorrupt = errors.New("message body is damaged")

// ErrClosed is what a closed store gives.
var ErrClosed = errors.New("body store closed")

// Stored is a complete body.
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
	// Commit returns when the body is complete and can be opened. It is on
	// disk once Sync of its segment has returned, if it has one.
	Commit(ctx context.Context) (Stored, error)
	// Abort throws the body away.
	Abort()
}

// Reader reads a stored body. Reading on from its beginning to its end gives
// ErrCorrupt in place of io.EOF when the body is not what was stored.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64
}
