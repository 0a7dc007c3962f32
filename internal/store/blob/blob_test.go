package blob

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func openDisk(t testing.TB, dir string) *Disk {
	t.Helper()
	d, err := OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// random gives n octets that seed determines.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(s).Read(b)
	return b
}

func put(d *Disk, b []byte) (Stored, error) {
	w, err := d.Create(context.Background())
	if err != nil {
		return Stored{}, err
	}
	defer w.Abort()
	for len(b) > 0 { // in uneven pieces
		n := min(len(b), 30011)
		if _, err := w.Write(b[:n]); err != nil {
			return Stored{}, err
		}
		b = b[n:]
	}
	s, err := w.Commit(context.Background())
	if err != nil {
		return s, err
	}
	if name, ok := SegmentOf(s.Ref); ok {
		err = d.Sync(name)
	}
	return s, err
}

func get(d *Disk, ref Ref) ([]byte, error) {
	r, err := d.Open(context.Background(), ref)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestBodiesComeBack(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.SegmentSize = 200_000
	var wg sync.WaitGroup
	for i, n := range []int{0, 1, 4096, smallBody - 1, smallBody, smallBody + 1, 300_000, 5_000_000} {
		for j := range 8 {
			wg.Go(func() {
				want := random(uint64(i*8+j), n)
				s, err := put(d, want)
				if err != nil || s.Size != int64(n) {
					t.Errorf("%d octets: %+v, %v", n, s, err)
					return
				}
				if (s.Ref[0] == 's') != (n <= smallBody) {
					t.Errorf("%d octets are in %s", n, s.Ref)
				}
				if got, err := get(d, s.Ref); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets: %d come back, %v", n, len(got), err)
				}
			})
		}
	}
	wg.Wait()
	for i := range 8 { // each is larger than what is left of a segment
		if _, err := put(d, random(uint64(i), 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	segments, _ := os.ReadDir(d.path(true, ""))
	if len(segments) < 2 {
		t.Errorf("%d segments after %d octets", len(segments), d.Stats().Octets)
	}
	if s := d.Stats(); s.Bodies != 48 || s.Syncs == 0 || s.Syncs > s.Bodies {
		t.Errorf("%+v", s)
	}
}

func TestReaderSeeks(t *testing.T) {
	d := openDisk(t, t.TempDir())
	want := random(1, 10_000)
	s, err := put(d, want)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(t.Context(), s.Ref)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, 100)
	if _, err := r.ReadAt(p, 5000); err != nil || !bytes.Equal(p, want[5000:5100]) {
		t.Errorf("ReadAt: %v", err)
	}
	for _, at := range []int64{9000, 0, 3} {
		r.Seek(at, io.SeekStart)
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[at:]) {
			t.Errorf("after seek to %d: %d octets, %v", at, len(got), err)
		}
	}
	if got, _ := get(d, s.Ref); !bytes.Equal(got, want) {
		t.Error("whole body differs")
	}
}

func TestDamageIsSeen(t *testing.T) {
	d := openDisk(t, t.TempDir())
	for _, n := range []int{4096, 200_000} {
		s, err := put(d, random(2, n))
		if err != nil {
			t.Fatal(err)
		}
		p, _ := parseRef(s.Ref)
		f, err := os.OpenFile(d.path(p.segment, p.name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 4, 8, 17, headerSize, headerSize + 100, headerSize + int64(n) - 1} {
			var b [1]byte
			f.ReadAt(b[:], p.offset+at)
			f.WriteAt([]byte{b[0] ^ 1}, p.offset+at)
			if _, err := get(d, s.Ref); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d octets, damaged at %d: %v", n, at, err)
			}
			f.WriteAt(b[:], p.offset+at)
		}
		if _, err := get(d, s.Ref); err != nil {
			t.Errorf("mended: %v", err)
		}
		f.Truncate(p.offset + headerSize + int64(n) - 1)
		if _, err := get(d, s.Ref); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut: %v", err)
		}
		f.Close()
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	d := openDisk(t, t.TempDir())
	for _, n := range []int{100, 200_000} {
		w, _ := d.Create(t.Context())
		w.Write(random(3, n))
		w.Abort()
		w.Abort()
		if _, err := w.Commit(t.Context()); err == nil {
			t.Error("committed after Abort")
		}
	}
	for _, kind := range []bool{true, false} {
		if l, _ := os.ReadDir(d.path(kind, "")); len(l) != 0 {
			t.Errorf("left: %v", l)
		}
	}
}

// TestFullDisk lets the disk fill in the middle of a body, and be emptied.
func TestFullDisk(t *testing.T) {
	d := openDisk(t, t.TempDir())
	first, err := put(d, random(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	var isFull, half bool
	d.mu.Lock()
	d.put = func(f *os.File, b []byte, at int64) (int, error) {
		if !isFull {
			return f.WriteAt(b, at)
		}
		n, _ := f.WriteAt(b[:len(b)/2], at)
		half = true
		return n, &os.PathError{Op: "write", Err: syscall.ENOSPC}
	}
	d.mu.Unlock()
	isFull = true
	for range 3 {
		if _, err := put(d, random(2, 5000)); !errors.Is(err, ErrFull) || !half {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	isFull = false
	second, err := put(d, random(3, 5000))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := parseRef(first.Ref)
	b, _ := parseRef(second.Ref)
	if a.name != b.name || b.offset != a.offset+headerSize+5000 {
		t.Errorf("%s, then %s", first.Ref, second.Ref)
	}
	if got, err := get(d, second.Ref); err != nil || !bytes.Equal(got, random(3, 5000)) {
		t.Error(err)
	}
	d.Reserve = 1 << 62
	if _, err := d.Create(t.Context()); !errors.Is(err, ErrFull) || !d.Full() {
		t.Errorf("in the reserve: %v", err)
	}
	if w, err := d.CreateReserved(t.Context()); err != nil {
		t.Error(err)
	} else {
		w.Abort()
	}
}

// TestReserveHoldsWhileBodiesComeIn: what began while there was room does not
// use the reserve up.
func TestReserveHoldsWhileBodiesComeIn(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.Reserve = 0
	for _, size := range []int{1000, 4 << 20} {
		w, err := d.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.CreateReserved(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.Reserve = 1 << 62
		if _, err = w.Write(random(1, size)); err == nil {
			for range 4 { // it looks from time to time only
				w.Write(random(1, size))
			}
			_, err = w.Commit(t.Context())
		}
		if !errors.Is(err, ErrFull) {
			t.Errorf("%d octets: %v", size, err)
		}
		r.Write(random(1, size))
		if _, err := r.Commit(t.Context()); err != nil {
			t.Errorf("%d octets of the reserve: %v", size, err)
		}
		d.Reserve = 0
	}
	if d.Reserve = d.Room() / 2; d.Fits(d.Room()) || !d.Fits(0) {
		t.Error("a body that would need the reserve fits")
	}
}

// TestFailedSyncEndsTheSegment: a second fsync after a failed one proves nothing.
func TestFailedSyncEndsTheSegment(t *testing.T) {
	d := openDisk(t, t.TempDir())
	first, err := put(d, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.sync = func(*os.File) error { return syscall.EIO }
	d.mu.Unlock()
	if _, err := put(d, []byte("b")); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrFull) {
		t.Fatalf("failed sync: %v", err)
	}
	d.mu.Lock()
	d.sync = fdatasync
	d.mu.Unlock()
	second, err := put(d, []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := SegmentOf(first.Ref); true {
		if b, _ := SegmentOf(second.Ref); a == b {
			t.Error("went on in the segment whose sync failed")
		}
	}
	if got, err := get(d, first.Ref); err != nil || string(got) != "a" {
		t.Errorf("what was stored before: %q, %v", got, err)
	}
	if name, _ := SegmentOf(first.Ref); !errors.Is(d.Sync(name), syscall.EIO) {
		t.Error("a later Sync of that segment calls it safe")
	}
}

// TestSegmentsSealWhileTheySync: appending goes on beside a sync and over the
// size of a segment, and every segment that is done is closed.
func TestSegmentsSealWhileTheySync(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.SegmentSize = 10_000
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				want := random(uint64(100*i+j), 1000)
				s, err := put(d, want)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := get(d, s.Ref); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(d.segments); n != 1 {
		t.Errorf("%d segments are open", n)
	}
	if l, err := d.Segments(0, "", 1000); err != nil || len(l) < 400_000/11_100-1 {
		t.Errorf("%d sealed segments, %v", len(l), err)
	}
}

// TestProcessesShareTheDirectory: two stores are like two processes, since
// locks belong to file descriptors.
func TestProcessesShareTheDirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := openDisk(t, dir), openDisk(t, dir)
	one, err := put(a, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(b, one.Ref); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	name, _ := SegmentOf(one.Ref)
	if l, err := b.Segments(0, "", 10); err != nil || len(l) != 0 {
		t.Errorf("the other's open segment is taken for sealed: %v, %v", l, err)
	}
	if b.RemoveSegment(name) == nil {
		t.Error("removed the other's open segment")
	}
	a.Close()
	if l, err := b.Segments(time.Hour, "", 10); err != nil || len(l) != 0 {
		t.Errorf("a segment just sealed is taken for settled: %v, %v", l, err)
	}
	if l, err := b.Segments(0, "", 10); err != nil || len(l) != 1 || l[0].Name != name {
		t.Errorf("%v, %v", l, err)
	}
	if err := b.RemoveSegment(name); err != nil {
		t.Error(err)
	}
	if _, err := get(b, one.Ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
	if _, err := put(a, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{"sabcdefghijkl.16.4096", "fabcdefghijkl.70000", "", "s", "f../../etc/pas.1",
		"sabcdefghijkl.016.1", "sabcdefghijkl.16.-1", "fabcdefghijkl.1.1", "xabcdefghijkl.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseRef(Ref(s))
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			return
		}
		if p.ref() != Ref(s) {
			t.Fatalf("%q is read as %q", s, p.ref())
		}
		if filepath.Base(p.name) != p.name || p.offset < 0 || p.length < 0 {
			t.Fatalf("%q leads to %+v", s, p)
		}
	})
}

// FuzzSegment opens bodies of a segment of any content: it gives the body that
// the record's CRC stands for, or an error.
func FuzzSegment(f *testing.F) {
	const name = "abcdefghijkl"
	body := []byte("From: a\r\n\r\nb\r\n")
	good := append([]byte(segmentMagic), make([]byte, headerSize)...)
	sum := crc32.Checksum(body, castagnoli)
	putHeader(good[16:], name, sum, int64(len(body)))
	f.Add(append(good, body...), int64(16), int64(len(body)))
	f.Add([]byte(segmentMagic), int64(16), int64(0))
	dir := f.TempDir()
	d := openDisk(f, dir)
	f.Fuzz(func(t *testing.T, content []byte, offset, length int64) {
		if err := os.WriteFile(d.path(true, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		p := place{true, name, offset, length}
		got, err := get(d, p.ref())
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(got, content[offset+headerSize:][:length]) {
			t.Fatalf("%d octets that are not there", len(got))
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	d := openDisk(b, b.TempDir())
	s, err := put(d, random(1, 4096))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := d.Open(b.Context(), s.Ref)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
