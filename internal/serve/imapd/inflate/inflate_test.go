package inflate

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// texts are some to be compressed: small, repetitive, random, mixed.
func texts() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	mixed := append(bytes.Repeat([]byte("a1 FETCH 1:* (FLAGS)\r\n"), 5000), noise[:40_000]...)
	return [][]byte{{}, []byte("x"), []byte(strings.Repeat("abc", 200_000)), noise, append(mixed, mixed...)}
}

func compress(t testing.TB, text []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSameAsWritten: what the standard library's writer makes comes back, in
// whatever pieces it arrives.
func TestSameAsWritten(t *testing.T) {
	for i, text := range texts() {
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression, flate.HuffmanOnly} {
			packed := compress(t, text, level)
			for name, in := range map[string]io.Reader{"whole": bytes.NewReader(packed), "octets": iotest.OneByteReader(bytes.NewReader(packed))} {
				got, err := io.ReadAll(NewReader(bufio.NewReader(in)))
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("text %d, level %d, %s: %d octets for %d, %v", i, level, name, len(got), len(text), err)
				}
			}
		}
	}
}

// partial is "a NOOP\r\n" in a block of fixed codes without its end, as zlib
// leaves it before Z_PARTIAL_FLUSH adds an empty block: the last symbols end in
// the middle of an octet.
func partial(text string) []byte {
	var b bits
	b.add(2, 3) // fixed codes, not the last block
	for i := range len(text) {
		b.code(uint32(text[i])+0x30, 8)
	}
	b.code(0, 7) // end of the block
	b.add(2, 3)  // an empty block of fixed codes
	b.code(0, 7)
	return b.octets()
}

type bits struct {
	out []byte
	acc uint32
	n   uint
}

func (b *bits) add(v uint32, n uint) {
	b.acc |= v << b.n
	for b.n += n; b.n >= 8; b.n -= 8 {
		b.out = append(b.out, byte(b.acc))
		b.acc >>= 8
	}
}

// code adds a Huffman code, first bit first.
func (b *bits) code(v uint32, n uint) {
	for i := range n {
		b.add(v>>(n-1-i)&1, 1)
	}
}

func (b *bits) octets() []byte { return append(b.out, byte(b.acc)) }

// TestTalk: a command is handed out when its octets have come, though nothing
// came that ends on an octet, and the reader does not wait for more.
func TestTalk(t *testing.T) {
	in, out := io.Pipe()
	go out.Write(partial("a NOOP\r\n"))
	defer out.Close()
	r := NewReader(bufio.NewReader(in))
	got := make([]byte, 8)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "a NOOP\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestCorrupt(t *testing.T) {
	for name, in := range map[string]string{
		"kind 3": "\x07", "stored": "\x01\x01\x00\x00\x00x", "no code 256": "\x05\x00\x00\x00\x00\x00\x00\x00\x00",
		"far match": farMatch(),
	} {
		_, err := io.ReadAll(NewReader(bufio.NewReader(strings.NewReader(in + strings.Repeat("\x00", 20)))))
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	packed := compress(t, []byte("some text that is cut"), flate.BestCompression)
	if _, err := io.ReadAll(NewReader(bufio.NewReader(bytes.NewReader(packed[:len(packed)-3])))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
}

// farMatch is a match of what was never there.
func farMatch() string {
	var b bits
	b.add(3, 3)
	b.code(1, 7) // three octets
	b.code(0, 5) // one before
	b.code(0, 7)
	return string(b.octets())
}

// FuzzReader: what one reader takes, the other does too, and they agree on the
// text.
func FuzzReader(f *testing.F) {
	for _, text := range texts()[:3] {
		f.Add(compress(f, text[:min(len(text), 5000)], flate.BestCompression))
		f.Add(compress(f, text[:min(len(text), 5000)], flate.HuffmanOnly))
	}
	f.Add(partial("a NOOP\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 1 << 20
		got, err := io.ReadAll(io.LimitReader(NewReader(bufio.NewReader(bytes.NewReader(in))), most))
		want, other := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), most))
		if (err == nil) != (other == nil) {
			t.Fatalf("%v, standard library: %v", err, other)
		}
		if err == nil && !bytes.Equal(got, want) || err != nil && !bytes.HasPrefix(got, want) {
			t.Fatalf("%d octets, standard library: %d", len(got), len(want))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	text := texts()[4]
	packed := compress(b, text, flate.BestCompression)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		io.Copy(io.Discard, NewReader(bufio.NewReader(bytes.NewReader(packed))))
	}
}
