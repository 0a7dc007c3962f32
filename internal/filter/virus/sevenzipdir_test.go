package virus

import (
	"bytes"
	"testing"
)

// A directory of some octets that announces flags of ten thousand files, again
// and again, does not get memory for them each time.
func TestAnnouncedFlagsTakeNoMemory(t *testing.T) {
	d := &directory7z{}
	if set := d.flags(maxEntries); len(set) != 0 || !d.bad {
		t.Errorf("%d flags of nothing", len(set))
	}
	files := append([]byte{files7z, 0xa7, 0x10}, bytes.Repeat([]byte{emptyStreams7z, 0}, 1<<20)...) // 10,000 files
	again := func() { (&directory7z{cursor: cursor{data: append([]byte{directory7zID}, files...)}}).read() }
	if n := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			again()
		}
	}).AllocedBytesPerOp(); n > 16<<20 {
		t.Errorf("%d octets for a directory of %d", n, len(files))
	}
}
