package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// Open opens a stored body. A body that was just moved to another segment, or
// deleted, is ErrNotFound; one whose place holds something else is ErrCorrupt.
//
// Every Reader has its own file descriptor. Opening and closing it takes some
// 10 µs; sharing would keep segments on the disk that were deleted.
func (d *Disk) Open(ctx context.Context, ref Ref) (Reader, error) {
	p, err := parseRef(ref)
	if err != nil {
		return nil, fmt.Errorf("open body: %w", err)
	}
	f, err := os.Open(d.path(p.segment, p.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open body: %w: %s", ErrNotFound, ref)
	}
	if err != nil {
		return nil, fmt.Errorf("open body: %w", err)
	}
	header := make([]byte, headerSize)
	if _, err := f.ReadAt(header, p.offset); err != nil && err != io.EOF {
		f.Close()
		return nil, fmt.Errorf("open body %s: %w", ref, err)
	}
	sum, length, ok := parseHeader(header, p.name)
	if !ok || length != p.length {
		f.Close()
		return nil, fmt.Errorf("open body: %w: %s", ErrCorrupt, ref)
	}
	r := &reader{file: f, ref: ref, sum: sum}
	r.SectionReader = io.NewSectionReader(f, p.offset+headerSize, length)
	return r, nil
}

// reader verifies the body's CRC while it is read from its beginning; a part
// read after a Seek elsewhere is not verified.
type reader struct {
	*io.SectionReader
	file *os.File
	ref  Ref
	sum  uint32 // that of the record

	at       int64  // where Read goes on
	verified int64  // how far hash has come
	hash     uint32 // of the first verified octets
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if r.at == r.verified {
		r.hash = crc32.Update(r.hash, castagnoli, p[:n])
		r.verified += int64(n)
	}
	r.at += int64(n)
	if r.at < r.Size() {
		if err == io.EOF { // the file is shorter than its record says
			err = fmt.Errorf("read body: %w: %s ends early", ErrCorrupt, r.ref)
		}
		return n, err
	}
	if r.verified == r.Size() && r.hash != r.sum {
		return n, fmt.Errorf("read body: %w: %s has another checksum", ErrCorrupt, r.ref)
	}
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.SectionReader.Seek(offset, whence)
	if err == nil {
		r.at = at
	}
	return at, err
}

func (r *reader) Close() error { return r.file.Close() }
