package imapd

import (
	"bufio"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// FuzzParseMessageCommands: whatever a client writes, the parsers end, and what
// they take is within bounds.
func FuzzParseMessageCommands(f *testing.F) {
	for _, s := range []string{
		"1:* (FLAGS UID BODY.PEEK[1.2.HEADER.FIELDS (From \"To\")]<0.5> PREVIEW (LAZY)) (CHANGEDSINCE 5 VANISHED)",
		"$ full", "* PREVIEW (LAZY) (CHANGEDSINCE 1)", "1 BINARY.SIZE[1.1.1.1]", "1 BODY[]<18446744073709551615.1>", "1 BODY[9999999999]",
		"1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen foo)", "1,2:3 -flags a b", "1 box", "1", "1 {3+}\r\nbox",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, command := range messageCommands {
			if strings.HasSuffix(name, "APPEND") || strings.HasSuffix(name, "REPLACE") {
				continue // they look for the mailbox
			}
			c := &conn{}
			d := &wire.Decoder{R: bufio.NewReader(strings.NewReader(" " + text + "\r\n")), Continue: func() error { return nil }}
			task := command.parse(c, d)
			if d.Err() == nil && task.run == nil {
				t.Fatalf("%s %q: neither error nor task", name, text)
			}
		}
	})
}

// FuzzParseURL: what is taken for a URL names a message.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"/INBOX/;UID=1", "/a%20b;UIDVALIDITY=3/;UID=2/;SECTION=1.2.MIME/;PARTIAL=3.4", ";UID=9", "imap://u@h/x/;UID=1/;SECTION=HEADER.FIELDS%20(A%20B)",
		"/x/;UID=1/;SECTION={3}", "/;UID=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseURL(text, "h")
		if err == nil && (u.uid == 0 || u.partial.offset < 0 || u.partial.length < 0) {
			t.Errorf("%q: %+v", text, u)
		}
	})
}
