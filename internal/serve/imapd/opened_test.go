package imapd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail/outline"
)

// FuzzHeaderSize: the header ends where the outline has it.
func FuzzHeaderSize(f *testing.F) {
	for _, s := range []string{"", "\n", "\r\n", "\r\r\n\r\n", "a: b", "a: b\r\n\r\ntext", "a: b\n\n", "no header\r\nat all", "\r", "a\r\n\r", " \n\n",
		strings.Repeat("X-Long: 1\r\n", 2000) + "\r\ntext", strings.Repeat("x", frontSize-1) + "\n\n", strings.Repeat("x", frontSize-2) + "\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := outline.Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := emptyLine(bytes.NewReader(text), text[:min(len(text), frontSize)])
		if err != nil || got != o.Root().HeaderSize {
			t.Errorf("%.200q: %d, %v; outline %d", text, got, err, o.Root().HeaderSize)
		}
	})
}

// TestNestedSections: what stands in messages that stand in messages is found.
func TestNestedSections(t *testing.T) {
	h, c := boxed(t, 0)
	inner := "Subject: in\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nfirst\r\n--i\r\nContent-Type: text/html\r\n\r\nsecond\r\n--i--\r\n"
	message := "Subject: out\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n--o\r\nContent-Type: text/plain\r\n\r\none\r\n" +
		"--o\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--o--\r\n"
	h.deliver(t, 1, "", message)
	c.ok("NOOP")
	head, text, _ := strings.Cut(inner, "\r\n\r\n")
	outer, outerText, _ := strings.Cut(message, "\r\n\r\n")
	for section, want := range map[string]string{
		"": message, "HEADER": outer + "\r\n\r\n", "TEXT": outerText,
		"1": "one", "1.MIME": "Content-Type: text/plain\r\n\r\n", "1.HEADER": "", "1.1": "one", "1.2": "", "3": "", "0": "",
		"2": inner, "2.MIME": "Content-Type: message/rfc822\r\n\r\n", "2.HEADER": head + "\r\n\r\n", "2.TEXT": text,
		"2.HEADER.FIELDS (subject)": "Subject: in\r\n\r\n", "2.HEADER.FIELDS.NOT (SUBJECT)": "Content-Type: multipart/mixed; boundary=i\r\n\r\n",
		"2.1": "first", "2.1.MIME": "\r\n", "2.2": "second", "2.2.MIME": "Content-Type: text/html\r\n\r\n", "2.3": "", "2.0": "",
	} {
		c.tells("FETCH 1 BODY.PEEK["+section+"]", "OK", fmt.Sprintf("* 1 FETCH (BODY[%s] {%d}\r\n%s)", strings.ToUpper(section), len(want), want))
	}
}
