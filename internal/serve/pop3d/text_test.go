package pop3d

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWriteText(t *testing.T) {
	for _, c := range []struct {
		in    string
		lines int
		want  string
	}{
		{"", -1, ".\r\n"},
		{"a", -1, "a\r\n.\r\n"},
		{"a\r", -1, "a\r\n.\r\n"},
		{"a\nb\r\n", -1, "a\r\nb\r\n.\r\n"},
		{".\r\n..\r\na.\r\n.", -1, "..\r\n...\r\na.\r\n..\r\n.\r\n"},
		{"h: 1\r\n\r\n1\r\n2\r\n3\r\n", 0, "h: 1\r\n\r\n.\r\n"},
		{"h: 1\r\n\r\n1\r\n2\r\n3\r\n", 2, "h: 1\r\n\r\n1\r\n2\r\n.\r\n"},
		{"h: 1\r\n\r\n1\r\n2\r\n3\r\n", 9, "h: 1\r\n\r\n1\r\n2\r\n3\r\n.\r\n"},
		{"h: 1\n\n1\n2\n", 1, "h: 1\r\n\r\n1\r\n.\r\n"},
		{"h: 1\r\nno body", 5, "h: 1\r\nno body\r\n.\r\n"},
		{"\r\n\r\n\r\n\r\n", 1, "\r\n\r\n.\r\n"},
		{"h: 1\r\n\r\n\r\n.\r\n", 2, "h: 1\r\n\r\n\r\n..\r\n.\r\n"},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "octets": iotest.OneByteReader(strings.NewReader(c.in))} {
			var b bytes.Buffer
			if err := writeText(&b, r, c.lines); err != nil || b.String() != c.want {
				t.Errorf("%q %d %s: %q, %v, want %q", c.in, c.lines, name, b.String(), err, c.want)
			}
		}
	}
}

// FuzzText: what a client decodes is the message, whatever the pieces.
func FuzzText(f *testing.F) {
	f.Add("h: 1\r\n\r\n.\r\n..\r\nlast")
	f.Add("\r\r\n\n.\n")
	f.Fuzz(func(t *testing.T, in string) {
		var one, two bytes.Buffer
		writeText(&one, strings.NewReader(in), -1)
		writeText(&two, iotest.OneByteReader(strings.NewReader(in)), -1)
		if one.String() != two.String() {
			t.Fatalf("%q and %q", one.String(), two.String())
		}
		got, err := io.ReadAll(textproto.NewReader(bufio.NewReader(&one)).DotReader())
		if err != nil {
			t.Fatal(err)
		}
		// DotReader gives LF for CRLF.
		want := strings.ReplaceAll(in, "\r\n", "\n")
		if strings.Contains(want, "\r") {
			return // a bare CR means something else to DotReader
		}
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		if string(got) != want {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
