package wire

import (
	"bufio"
	"runtime"
	"strings"
	"testing"
)

// TestAnnouncedLiteral: what a client announces takes no memory before it comes.
func TestAnnouncedLiteral(t *testing.T) {
	d := &Decoder{R: bufio.NewReader(strings.NewReader("{250000}\r\nabc")), Continue: func() error { return nil }}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d.Octets()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; d.Err() == nil || took > 32<<10 {
		t.Errorf("%d octets for a literal that did not come: %v", took, d.Err())
	}
	d = &Decoder{R: bufio.NewReader(strings.NewReader("{0+}\r\n\r\n"))}
	if b := d.Octets(); b == nil || len(b) > 0 || d.End() != nil {
		t.Errorf("empty literal gives %v, %v", b, d.Err())
	}
}
