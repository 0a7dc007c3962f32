package inflate

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// texts are of many kinds: empty, all alike, words, noise.
func texts() []string {
	random := rand.New(rand.NewPCG(1, 2))
	var words, noise strings.Builder
	for range 40_000 {
		fmt.Fprintf(&words, "%d UID FETCH %d (BODY.PEEK[])\r\n", random.IntN(1000), random.IntN(50))
		noise.WriteByte(byte(random.Uint32()))
	}
	return []string{"", "a", "a NOOP\r\n", strings.Repeat("z", 100_000), words.String(), noise.String(), words.String()[:300]}
}

func TestAsTheStandardLibrary(t *testing.T) {
	for i, text := range texts() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			half := len(text) / 2
			io.WriteString(w, text[:half])
			w.Flush()
			io.WriteString(w, text[half:])
			w.Close()
			for name, r := range map[string]io.Reader{"whole": &b, "octet by octet": iotest.OneByteReader(bytes.NewReader(b.Bytes()))} {
				got, err := io.ReadAll(NewReader(bufio.NewReader(r)))
				if err != nil || string(got) != text {
					t.Errorf("text %d, level %d, %s: %d octets of %d, %v", i, level, name, len(got), len(text), err)
				}
			}
		}
	}
}

// TestNothingIsHeldBack: what a sync flush has in front of its empty block is
// given though none of the empty block has come.
func TestNothingIsHeldBack(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	r := &dry{}
	z := NewReader(bufio.NewReader(r))
	for _, text := range texts()[1:] {
		b.Reset()
		io.WriteString(w, text)
		w.Flush()
		whole, tail := b.Bytes()[:b.Len()-4], b.Bytes()[b.Len()-4:]
		r.there = append(r.there, whole...)
		got, err := io.ReadAll(z)
		if !errors.Is(err, errDry) || string(got) != text {
			t.Fatalf("%d octets of %d, %v", len(got), len(text), err)
		}
		r.there = append(r.there, tail...)
	}
}

// dry gives what is there, then an error that need not be the last word.
type dry struct{ there []byte }

var errDry = errors.New("nothing there")

func (d *dry) Read(p []byte) (int, error) {
	if len(d.there) == 0 {
		return 0, errDry
	}
	n := copy(p, d.there)
	d.there = d.there[n:]
	return n, nil
}

func TestCorrupt(t *testing.T) {
	for name, in := range map[string]string{
		"block of no kind":      "\x07",
		"stored, wrong check":   "\x01\x01\x00\x00\x00x",
		"copy from before":      "\x03\x02\x00", // a length at the very beginning
		"too many codes":        "\xfd\xff\xff",
		"no code for the codes": "\x05\x00\x00\x00\x00\x00",
	} {
		if got, err := io.ReadAll(NewReader(bufio.NewReader(strings.NewReader(in)))); err == nil {
			t.Errorf("%s: taken as %q", name, got)
		}
	}
	if _, err := io.ReadAll(NewReader(bufio.NewReader(strings.NewReader("")))); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// FuzzReader compares with the standard library.
func FuzzReader(f *testing.F) {
	for _, text := range texts() {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestCompression)
		io.WriteString(w, text[:min(len(text), 2000)])
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), most))
		got, err := io.ReadAll(io.LimitReader(NewReader(bufio.NewReader(bytes.NewReader(in))), most))
		if (err == nil) != (wantErr == nil) || wantErr == nil && !bytes.Equal(got, want) {
			t.Errorf("%d octets and %v, want %d and %v", len(got), err, len(want), wantErr)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var z bytes.Buffer
	w, _ := flate.NewWriter(&z, flate.DefaultCompression)
	text := strings.Repeat(texts()[4], 1)
	io.WriteString(w, text)
	w.Close()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, NewReader(bufio.NewReader(bytes.NewReader(z.Bytes())))); err != nil {
			b.Fatal(err)
		}
	}
}
