package event

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Shelf is a part of the journal with files and a size limit of its own, so
// that events that come in masses cannot push out the others.
type Shelf string

// The shelves of a journal.
const (
	Sessions Shelf = "sessions"
	Messages Shelf = "messages"
	Audit    Shelf = "audit"
)

// Shelves are all shelves.
var Shelves = []Shelf{Sessions, Messages, Audit}

// ShelfOf tells where events of a kind are kept.
func ShelfOf(k Kind) Shelf {
	switch k {
	case Connect, Close, Rcpt, Refuse, Edge, Login, Retrieve:
		return Sessions
	case Finding, Accept, Stored, Attempt, Settled, Bounce, Report, Remove:
		return Messages
	}
	return Audit
}

const (
	plain      = ".jsonl"
	compressed = ".zst" // behind plain
	unfinished = ".new" // behind compressed
	nameTime   = "20060102T150405.000000000Z"
)

// Segment is one file of the journal. Its name, without the directory and
// without .zst, is for good; the newest of a shelf is the one that grows.
type Segment struct {
	Name       string
	Shelf      Shelf
	Begun      time.Time // the earliest that an event in it was recorded
	Compressed bool
}

// Path gives the file of the segment in the journal's directory.
func (s Segment) Path(dir string) string {
	if s.Compressed {
		return filepath.Join(dir, s.Name+compressed)
	}
	return filepath.Join(dir, s.Name)
}

func newSegment(shelf Shelf, now time.Time) Segment {
	now = now.UTC()
	return Segment{Name: string(shelf) + "-" + now.Format(nameTime) + plain, Shelf: shelf, Begun: now}
}

// parseSegment reads the name of a file.
func parseSegment(file string) (s Segment, ok bool) {
	s.Name, s.Compressed = strings.CutSuffix(file, compressed)
	stem, isPlain := strings.CutSuffix(s.Name, plain)
	shelf, at, dashed := strings.Cut(stem, "-")
	begun, err := time.Parse(nameTime, at)
	s.Shelf, s.Begun = Shelf(shelf), begun
	return s, isPlain && dashed && err == nil && slices.Contains(Shelves, s.Shelf)
}

// Segments gives the journal's files in dir, the oldest of each shelf first. Of
// a segment that is there twice, because a crash came between its compression
// and its removal, the compressed file is given: it is complete.
func Segments(dir string) ([]Segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var all []Segment
	for _, e := range entries {
		if s, ok := parseSegment(e.Name()); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Shelf, b.Shelf), a.Begun.Compare(b.Begun), compareBool(b.Compressed, a.Compressed))
	})
	return slices.CompactFunc(all, func(a, b Segment) bool { return a.Name == b.Name }), nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Next gives the segment behind one of a name, which need not be there any more,
// in the order of its shelf.
func Next(segments []Segment, shelf Shelf, name string) (s Segment, ok bool) {
	for _, s := range segments {
		if s.Shelf == shelf && s.Name > name {
			return s, true
		}
	}
	return s, false
}

// Grows tells whether somebody may still write to the segment.
func (s Segment) Grows(dir string) bool {
	if s.Compressed {
		return false
	}
	f, err := os.Open(s.Path(dir))
	if err != nil { // compressed meanwhile
		return false
	}
	defer f.Close()
	return !tryLock(f)
}

// Files gives the paths of the journal's files in dir, the newest first.
func Files(dir string) ([]string, error) {
	segments, err := Segments(dir)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(segments, func(a, b Segment) int { return b.Begun.Compare(a.Begun) })
	paths := make([]string, len(segments))
	for i, s := range segments {
		paths[i] = s.Path(dir)
	}
	return paths, nil
}

// OpenFile opens a file of a journal, compressed or not, to be read as JSON
// lines. One that was compressed since it was listed is found, too.
func OpenFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, compressed) {
		path += compressed
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if !strings.HasSuffix(path, compressed) {
		return f, nil
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &compressedFile{z, f}, nil
}

type compressedFile struct {
	*zstd.Decoder
	file *os.File
}

func (c *compressedFile) Close() error {
	c.Decoder.Close()
	return c.file.Close()
}

// rewrite replaces a closed segment by a compressed file of those lines that
// keep wants (nil: all). At any moment one of the two is there and complete. It
// tells whether it did: not while a process still writes to the segment.
func (s Segment) rewrite(dir string, keep func(line []byte) bool) (done bool, err error) {
	in, err := OpenFile(s.Path(dir))
	if err != nil {
		return false, err
	}
	defer in.Close()
	if f, isPlain := in.(*os.File); isPlain && !tryLock(f) {
		return false, nil
	}
	final := filepath.Join(dir, s.Name+compressed)
	if err := writeCompressed(final, in, keep); err != nil {
		return false, fmt.Errorf("compress journal: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return false, fmt.Errorf("compress journal: %w", err)
	}
	if !s.Compressed {
		err = os.Remove(s.Path(dir))
	}
	return true, err
}

// writeCompressed makes the file at path, which appears only when it is
// complete and on disk.
func writeCompressed(path string, r io.Reader, keep func(line []byte) bool) error {
	fresh := path + unfinished
	out, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(copyLines(out, r, keep), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		os.Remove(fresh)
	}
	return err
}

func copyLines(w io.Writer, r io.Reader, keep func(line []byte) bool) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		return err
	}
	if keep == nil {
		_, err := io.Copy(z, r)
		return errors.Join(err, z.Close())
	}
	for lines := newLineReader(r); err == nil; {
		var line []byte
		if line, err = lines.next(); err == nil && keep(line) {
			_, err = z.Write(line)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return errors.Join(err, z.Close())
}
