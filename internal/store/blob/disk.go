package blob

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const smallBody = 64 << 10 // octets; larger bodies get a file of their own

// Disk keeps bodies below a directory. Several processes may open the same
// one. The exported fields may be set before it is used.
type Disk struct {
	Reserve     int64 // octets that must stay free but for CreateReserved; 64 MiB
	SegmentSize int64 // octets after which a new segment begins; 128 MiB

	dir  string
	sync func(*os.File) error // fdatasync, but for tests
	put  func(f *os.File, b []byte, at int64) (int, error)

	syncing sync.Mutex // held by Sync, taken before mu

	mu       sync.Mutex // guards the rest, and appending
	closed   bool
	current  *segment            // the one appended to; nil: none yet, or abandoned
	segments map[string]*segment // current, sealed ones not yet synced, lost ones

	fresh freshness
	free  struct {
		sync.Mutex
		asked  time.Time
		octets int64
	}
	stats struct{ bodies, octets, syncs, nanos atomic.Int64 }
}

// OpenDisk opens the store in dir and makes it when it is new.
func OpenDisk(dir string) (*Disk, error) {
	d := &Disk{
		Reserve: 64 << 20, SegmentSize: 128 << 20,
		dir: dir, sync: fdatasync, put: (*os.File).WriteAt,
		segments: map[string]*segment{}, fresh: freshness{at: map[string]time.Time{}},
	}
	for _, p := range []string{dir, d.path(true, ""), d.path(false, "")} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return nil, fmt.Errorf("open body store: %w", err)
		}
	}
	for _, p := range []string{dir, filepath.Dir(dir)} { // the names of the directories themselves
		if err := syncDir(p); err != nil {
			return nil, fmt.Errorf("open body store: %w", err)
		}
	}
	return d, nil
}

// Close ends the store. Open readers stay usable; what was not synced is no
// body.
func (d *Disk) Close() error {
	d.syncing.Lock()
	defer d.syncing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.current = nil
	for _, s := range d.segments {
		d.drop(s)
	}
	return nil
}

func (d *Disk) path(segment bool, name string) string {
	if segment {
		return filepath.Join(d.dir, "segments", name)
	}
	return filepath.Join(d.dir, "files", name)
}

// Stats counts since OpenDisk.
type Stats struct {
	Bodies  int64         // small bodies stored
	Octets  int64         // their octets
	Syncs   int64         // fdatasyncs that made them durable
	Syncing time.Duration // time spent in them
}

// Stats gives the counters.
func (d *Disk) Stats() Stats {
	s := &d.stats
	return Stats{s.bodies.Load(), s.octets.Load(), s.syncs.Load(), time.Duration(s.nanos.Load())}
}

// Room gives the octets that are free, as of at most a second ago.
func (d *Disk) Room() int64 {
	return d.room(time.Second)
}

// RoomNow is Room as of this moment.
func (d *Disk) RoomNow() int64 { return d.room(0) }

// room gives the octets that are free, as of at most age ago.
func (d *Disk) room(age time.Duration) int64 {
	f := &d.free
	f.Lock()
	defer f.Unlock()
	if now := time.Now(); f.asked.IsZero() || now.Sub(f.asked) >= age {
		f.asked = now
		f.octets = freeOctets(d.dir)
	}
	return f.octets
}

// Full tells that only the reserve is left: new mail should be put off.
func (d *Disk) Full() bool { return !d.Fits(0) }

// Fits tells whether a body of so many octets leaves the reserve alone.
func (d *Disk) Fits(size int64) bool { return d.Room()-size >= d.Reserve }

// Create begins a body. It gives ErrFull when only the reserve is left.
func (d *Disk) Create(ctx context.Context) (Writer, error) {
	if d.Full() {
		return nil, ErrFull
	}
	return d.create(ctx, false)
}

// CreateReserved begins a body that may use the reserve: one that is needed to
// make room.
func (d *Disk) CreateReserved(ctx context.Context) (Writer, error) { return d.create(ctx, true) }

func (d *Disk) create(ctx context.Context, reserved bool) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &diskWriter{d: d, reserved: reserved, buf: newBuffer()}, nil
}

// buffers holds room for small bodies and the header in front of each.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, headerSize, 8<<10)
	return &b
}}

func newBuffer() *[]byte {
	b := buffers.Get().(*[]byte)
	*b = (*b)[:headerSize]
	return b
}

// diskWriter holds a body in buf while it is small, in file afterwards.
type diskWriter struct {
	d        *Disk
	reserved bool    // may use the reserve
	buf      *[]byte // header and body; nil when spent or spilled
	size     int64
	err      error // of an earlier Write

	file  *os.File
	name  string
	sum   uint32
	asked int64 // the size at which the room was last asked for
}

// askEvery is how much of a large body is written between two looks at the
// room that is left: the disk may have been nearly full when it began.
const askEvery = 1 << 20

func (w *diskWriter) Size() int64 { return w.size }

func (w *diskWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.buf != nil && len(*w.buf)+len(p) <= headerSize+smallBody {
		*w.buf = append(*w.buf, p...)
		w.size += int64(len(p))
		return len(p), nil
	}
	if w.buf != nil {
		w.err = w.spill()
	}
	if w.file == nil && w.err == nil {
		w.err = os.ErrClosed
	}
	if !w.reserved && w.err == nil && w.size-w.asked >= askEvery {
		w.asked = w.size
		if w.d.room(0) < w.d.Reserve {
			w.err = ErrFull
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.sum = crc32.Update(w.sum, castagnoli, p[:n])
	w.size += int64(n)
	w.err = full(err)
	return n, w.err
}

// spill moves the body to a file. The place of the header stays empty until
// Commit.
func (w *diskWriter) spill() error {
	w.name = newName()
	w.d.fresh.touch(w.name)
	f, err := os.OpenFile(w.d.path(false, w.name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return full(err)
	}
	w.file = f
	if err := lock(f, true); err != nil { // until it is closed: nobody may take it for left behind
		return err
	}
	clear((*w.buf)[:headerSize])
	if _, err := f.Write(*w.buf); err != nil {
		return full(err)
	}
	w.sum = crc32.Checksum((*w.buf)[headerSize:], castagnoli)
	buffers.Put(w.buf)
	w.buf = nil
	return nil
}

func (w *diskWriter) Abort() {
	if w.buf != nil {
		buffers.Put(w.buf)
		w.buf = nil
	}
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
		w.d.fresh.forget(w.name)
		w.file = nil
	}
}

func (w *diskWriter) Commit(ctx context.Context) (Stored, error) {
	defer w.Abort()
	if w.err == nil && w.buf == nil && w.file == nil {
		w.err = os.ErrClosed
	}
	if w.err != nil {
		return Stored{}, fmt.Errorf("store body: %w", w.err)
	}
	if w.file != nil {
		return w.commitFile()
	}
	if err := ctx.Err(); err != nil {
		return Stored{}, err
	}
	stored, err := w.d.append(*w.buf, w.reserved)
	if err != nil {
		return Stored{}, fmt.Errorf("store body: %w", err)
	}
	return stored, nil
}

func (w *diskWriter) commitFile() (Stored, error) {
	header := make([]byte, headerSize)
	putHeader(header, w.name, w.sum, w.size)
	_, err := w.file.WriteAt(header, 0)
	if err == nil {
		err = w.d.sync(w.file)
	}
	if err == nil {
		err = syncDir(w.d.path(false, ""))
	}
	if err != nil {
		return Stored{}, fmt.Errorf("store body: %w", full(err))
	}
	w.file.Close() // everything is on disk: nothing to learn from an error
	w.file = nil
	w.d.fresh.touch(w.name)
	return Stored{Ref: place{name: w.name, length: w.size}.ref(), Size: w.size}, nil
}

// full gives a full disk, or a used-up disk quota, as ErrFull.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Has gives ErrNotFound when the file that ref names is gone.
func (d *Disk) Has(ref Ref) error {
	p, err := parseRef(ref)
	if err != nil {
		return err
	}
	if p.segment && d.holds(p.name) {
		return nil
	}
	if _, err := os.Stat(d.path(p.segment, p.name)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, ref)
	} else if err != nil {
		return fmt.Errorf("look for body: %w", err)
	}
	return nil
}

// Remove deletes a file body. That it is gone already is no error.
func (d *Disk) Remove(ref Ref) error {
	p, err := parseRef(ref)
	if err != nil {
		return err
	}
	if p.segment {
		return nil // goes with its segment
	}
	return d.RemoveFile(p.name)
}

// RemoveFile is Remove by the name of a file.
func (d *Disk) RemoveFile(name string) error {
	if !isName(name) {
		return fmt.Errorf("remove file %q: %w", name, fs.ErrInvalid)
	}
	d.fresh.forget(name)
	if err := os.Remove(d.path(false, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove body: %w", err)
	}
	return nil
}
