package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEncodeQuoted(t *testing.T) {
	long := strings.Repeat("x", 80)
	for in, want := range map[string]string{
		"":               "",
		"plain\r\n":      "plain\r\n",
		"é = 1\r\n":      "=C3=A9 =3D 1\r\n",
		"end \r\nmid  x": "end=20\r\nmid  x",
		"end\t":          "end=09",
		"\r\r\n\n":       "=0D\r\n=0A",
		"a \rb":          "a =0Db",
		"x\r":            "x=0D",
		"x \r":           "x =0D",
		"--b\r\n-- \r\n": "=2D-b\r\n=2D-=20\r\n",
		long:             long[:75] + "=\r\n" + long[75:],
		long[:75] + "-b": long[:75] + "=\r\n=2Db",
		long[:73] + "é":  long[:73] + "=\r\n=C3=A9",
	} {
		got, err := io.ReadAll(EncodeQuoted(iotest.OneByteReader(strings.NewReader(in))))
		if err != nil || string(got) != want {
			t.Errorf("%q becomes %q, want %q (%v)", in, got, want, err)
		}
	}
}

// FuzzEncode: what is encoded comes back by our decoders and by Go's, and its
// lines are short, 7-bit and no boundaries.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("é--\r\n--b \r\n\n\r \t"))
	f.Add(bytes.Repeat([]byte("12345678901234567890--"), 20))
	f.Fuzz(func(t *testing.T, in []byte) {
		for name, c := range map[string]struct {
			encode func(io.Reader) io.Reader
			ours   string
			theirs func(io.Reader) io.Reader
		}{
			"base64": {EncodeBase64, "base64", func(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) }},
			"quoted": {EncodeQuoted, "quoted-printable", func(r io.Reader) io.Reader { return quotedprintable.NewReader(r) }},
		} {
			out, err := io.ReadAll(c.encode(bytes.NewReader(in)))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(string(out), "\r\n") {
				if len(line) > 76 || strings.HasPrefix(line, "-") || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }) {
					t.Errorf("%s: line %q", name, line)
				}
			}
			p := &Part{Encoding: c.ours}
			for who, r := range map[string]io.Reader{"our": p.Decode(bytes.NewReader(out)), "Go's": c.theirs(bytes.NewReader(out))} {
				if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, in) {
					t.Errorf("%s: %q comes back by %s decoder as %q (%v)", name, in, who, back, err)
				}
			}
			if len(p.Defects) > 0 {
				t.Errorf("%s: %v", name, p.Defects)
			}
		}
	})
}
