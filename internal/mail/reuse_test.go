package mail

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestBodyLeftOver reads a body after ReadMIME has ended with an error, when
// its buffers are those of another message.
func TestBodyLeftOver(t *testing.T) {
	enough := errors.New("enough")
	var left io.Reader
	_, err := ReadMIME(strings.NewReader("A: b\r\n\r\nfirst line\r\nsecond\r\n"), DefaultMIMELimits(), func(_ *Part, body io.Reader) error {
		left = body
		body.Read(make([]byte, 3))
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatalf("got %v", err)
	}
	_, err = ReadMIME(strings.NewReader("A: b\r\n\r\nof somebody else\r\n"), DefaultMIMELimits(), func(_ *Part, body io.Reader) error {
		if b, err := io.ReadAll(left); len(b) > 0 || err != nil {
			t.Errorf("the body left over gives %q, %v", b, err)
		}
		b, err := io.ReadAll(body)
		if string(b) != "of somebody else\r\n" {
			t.Errorf("the body gives %q", b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTextInPieces reads texts at once and octet by octet, of sizes around what
// a charset is judged by.
func TestTextInPieces(t *testing.T) {
	for _, charset := range []string{"", "us-ascii", "utf-8", "iso-8859-1", "iso-2022-jp", "utf-7"} {
		for _, unit := range []string{"a", "é", "日", "\xff", "+AGE-", "\x1b$B$3\x1b(B"} {
			for _, size := range []int{0, 1, guessFrom - 1, guessFrom, guessFrom + 1, 2 * guessFrom} {
				text := strings.Repeat(unit, size/len(unit)+1)[:size]
				p := Part{Params: map[string]string{"charset": charset}}
				want, err := io.ReadAll(p.Text(strings.NewReader(text)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(p.Text(iotest.OneByteReader(strings.NewReader(text))))
				if err != nil || string(got) != string(want) {
					t.Errorf("%q, %d octets of %q: read octet by octet they differ (%v)", charset, size, unit, err)
				}
				if whole := DecodeCharset(charset, []byte(text)); size < guessFrom && string(got) != whole {
					t.Errorf("%q, %d octets of %q: a stream gives another text", charset, size, unit)
				}
				if _, err := io.ReadAll(p.Text(io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF)))); err == nil {
					t.Errorf("%q, %d octets of %q: an error is lost", charset, size, unit)
				}
			}
		}
	}
}
