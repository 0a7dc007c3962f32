package blob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
)

// nearGet reads a body through n.
func nearGet(n *Near, ref Ref) ([]byte, error) {
	r, err := n.Open(context.Background(), ref)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestNearGivesTheSame(t *testing.T) {
	d := openDisk(t, t.TempDir())
	near := d.Near()
	defer near.Close()
	var refs []Ref
	var bodies [][]byte
	check := func(i int) {
		t.Helper()
		if got, err := nearGet(near, refs[i]); err != nil || !bytes.Equal(got, bodies[i]) {
			t.Fatalf("body %d of %d octets: %d, %v", i, len(bodies[i]), len(got), err)
		}
	}
	for i, size := range []int{0, 1, 4000, maxNear, maxNear + 1, 70_000, 5000, 5000, 5000, 5000, 300, 300, maxNear, maxNear, maxNear, 10} {
		b := random(uint64(i), size)
		s, err := put(d, b)
		if err != nil {
			t.Fatal(err)
		}
		refs, bodies = append(refs, s.Ref), append(bodies, b)
		check(i) // which a block read before it does not have
	}
	for range 2 {
		for i := range refs {
			check(i)
		}
	}
	for i := range refs {
		check(len(refs) - 1 - i)
	}
	early, err := near.Open(t.Context(), refs[2])
	if err != nil {
		t.Fatal(err)
	}
	near.Close()
	if got, err := io.ReadAll(early); err != nil || !bytes.Equal(got, bodies[2]) {
		t.Errorf("opened before Close: %d octets, %v", len(got), err)
	}
	check(6)
	if near.file != nil {
		t.Error("a closed Near has a file")
	}
}

func TestNearSeesDamage(t *testing.T) {
	d := openDisk(t, t.TempDir())
	var refs []Ref
	for i := range 3 {
		s, err := put(d, random(uint64(i), 1000))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, s.Ref)
	}
	p, err := parseRef(refs[1])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.path(true, p.name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), p.offset+headerSize+100); err != nil {
		t.Fatal(err)
	}
	near := d.Near()
	defer near.Close()
	for i, want := range []error{nil, ErrCorrupt, nil} {
		if _, err := nearGet(near, refs[i]); !errors.Is(err, want) {
			t.Errorf("body %d: %v, want %v", i, err, want)
		}
	}
	if _, err := nearGet(near, Ref(SegmentPrefix("aaaaaaaaaaaa")+"16.10")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such segment: %v", err)
	}
}

// BenchmarkNear is BenchmarkOpen for bodies that lie behind one another.
func BenchmarkNear(b *testing.B) {
	d := openDisk(b, b.TempDir())
	var refs []Ref
	for i := range 1000 {
		s, err := put(d, random(uint64(i), 4096))
		if err != nil {
			b.Fatal(err)
		}
		refs = append(refs, s.Ref)
	}
	near := d.Near()
	defer near.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r, err := near.Open(b.Context(), refs[i%len(refs)])
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
