package receive

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTapKeepsTheHeader(t *testing.T) {
	header := "From: a@b.test\r\nReceived: x\r\n\ty\r\nMessage-ID: <1@b.test>\r\n"
	text := header + "\r\nbody\r\n\r\nmore\r\n"
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "octet by octet": iotest.OneByteReader, "in halves": iotest.HalfReader,
	} {
		var out strings.Builder
		tap := &Tap{W: &out}
		if err := Copy(tap, wrap(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		if out.String() != text {
			t.Errorf("%s: passed on %q", name, out.String())
		}
		h := tap.Header()
		if string(h.Bytes()) != header || MessageID(h) != "1@b.test" {
			t.Errorf("%s: kept %q", name, h.Bytes())
		}
	}
}

func TestTapIsBounded(t *testing.T) {
	tap := &Tap{W: io.Discard}
	line := strings.Repeat("x", 998) + "\r\n"
	for range 2 * MaxHeader / len(line) {
		if _, err := io.WriteString(tap, line); err != nil {
			t.Fatal(err)
		}
	}
	if len(tap.kept) > MaxHeader {
		t.Errorf("kept %d octets", len(tap.kept))
	}
}

func TestCopyGivesTheReadersError(t *testing.T) {
	want := errors.New("the peer left")
	if err := Copy(io.Discard, iotest.ErrReader(want)); err != want {
		t.Errorf("got %v", err)
	}
}
