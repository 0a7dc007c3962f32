package imapd

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// TestStructure has of everything what TestAsDovecot compares, for machines
// without a Dovecot, and what differs with UTF-8.
func TestStructure(t *testing.T) {
	const global = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/global\n\nSubject: é\nFrom: \"a  b\" <c@d>\n\nx\n--b--\n"
	const plain = "Content-Type: Text/Html; x=\"a \\\"b\"\nContent-ID:\nContent-Transfer-Encoding: Base64\nContent-Disposition: inline\nContent-Language: en, ja\nContent-Location: l\nContent-MD5: m\n\nx\ny\n"
	for _, c := range []struct {
		utf8, extensible bool
		in, want         string
	}{
		{false, true, plain, `("Text" "Html" ("x" "a \"b" "charset" "us-ascii") "" NIL "Base64" 6 2 "m" ("inline" NIL) ("en" "ja") "l")`},
		{false, false, plain, `("Text" "Html" ("x" "a \"b" "charset" "us-ascii") "" NIL "Base64" 6 2)`},
		{false, false, "Content-Type: multipart/x; boundary=b\n\nnothing", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "x")`},
		{false, false, global, `(("message" "global" NIL NIL NIL "7bit" 36) "mixed")`},
		{true, false, global, `(("message" "global" NIL NIL NIL "7bit" 36 (NIL "é" (("a b" NIL "c" "d")) (("a b" NIL "c" "d")) (("a b" NIL "c" "d")) NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) 3) "mixed")`},
	} {
		o, err := outline.Read(strings.NewReader(strings.ReplaceAll(c.in, "\n", "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		e := &wire.Encoder{W: bufio.NewWriter(&b), UTF8: c.utf8}
		writeStructure(e, o.Root(), c.extensible)
		e.W.Flush()
		if b.String() != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.in, b.String(), c.want)
		}
	}
}

func TestEnvelope(t *testing.T) {
	in := "Date: d\r\nSubject:\r\nFrom: a@b\r\nReply-To: g: c@d;\r\nTo: \xe9 <e@f>\r\nMessage-ID: <\"x\">\r\n\r\n"
	o, err := outline.Read(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := &wire.Encoder{W: bufio.NewWriter(&b)}
	writeEnvelope(e, &o.Envelope)
	e.W.Flush()
	want := `("d" "" ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "g" NIL)(NIL NIL "c" "d")(NIL NIL NIL NIL)) (({1}` + "\r\n\xe9" + ` NIL "e" "f")) NIL NIL NIL "<\"x\">")`
	if b.String() != want {
		t.Errorf("got %s\nwant %s", b.String(), want)
	}
}
