package receive

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/migiwa/migiwa/internal/mail"
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
		if err := tap.Close(); err != nil {
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

func TestTapEditsTheHeader(t *testing.T) {
	for text, want := range map[string]string{
		"A: 1\r\nB: 2\r\n\r\nB: 3\r\n": "A: 1\r\n\r\nB: 3\r\n",
		"A: 1\r\nB: 2\r\n":             "A: 1\r\n",
		"B: 2\r\n\r\n":                 "\r\n",
		"":                             "",
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "octet by octet": iotest.OneByteReader} {
			var out strings.Builder
			tap := &Tap{W: &out, Edit: func(h *mail.Header) bool { return h.Delete("B") > 0 }}
			if err := errors.Join(Copy(tap, wrap(strings.NewReader(text))), tap.Close()); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("%q %s: passed on %q, want %q", text, name, out.String(), want)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	for value, want := range map[string]bool{
		"mx.here.test; spf=pass": true, " MX.Here.Test 1; spf=pass": true, "mx.here.test": true, `"mx.here.test"; x`: true,
		"(a (b)) mx.here.test(c);": true, "mx.here.test/1; x": true,
		"other.test; spf=pass (mx.here.test)": false, "mx.here.test.evil.test; x": false, "": false, "; mx.here.test": false,
	} {
		if claims(value, "mx.here.test") != want {
			t.Errorf("%q: not %v", value, want)
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
