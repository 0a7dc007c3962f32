package imapd

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

func TestAppend(t *testing.T) {
	_, c := boxed(t, 0)
	c.send(fmt.Sprintf("a APPEND INBOX (\\Seen \\Recent) \" 7-Jul-1996 02:44:25 -0700\" {%d}\r\n", len(simple)))
	if line := c.line(); !strings.HasPrefix(line, "+ ") {
		t.Fatal(line)
	}
	c.send(simple + "\r\n")
	if line := c.line(); line != "* 1 EXISTS" {
		t.Fatal(line)
	}
	if line := c.line(); !regexp.MustCompile(`^a OK \[APPENDUID \d+ 1\] APPEND completed$`).MatchString(line) {
		t.Fatal(line)
	}
	at := time.Date(1996, 7, 7, 9, 44, 25, 0, time.UTC).Local().Format("02-Jan-2006 15:04:05 -0700")
	c.tells("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)", "OK", fmt.Sprintf(`* 1 FETCH (FLAGS (\Seen) INTERNALDATE "%s" RFC822.SIZE %d)`, at, len(simple)))
}

// TestAppendRefused: what is known before the literal is said before it, and a
// literal that comes unasked is read over.
func TestAppendRefused(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Limits.Append = 1000 })
	c := h.login(t, "alice")
	for _, x := range []struct{ args, want string }{
		{"nowhere {10}", "NO [TRYCREATE] "},
		{"INBOX {1001}", "NO [TOOBIG] "},
		{"INBOX {99999999999999999999}", "BAD "},
		{"INBOX ()", "BAD "},
		{"INBOX frob {3}", "BAD "},
		{`INBOX (\Foo) {3}`, "BAD "},
		{`INBOX "1-Foo-1990 00:00:00 +0000" {3}`, "BAD "},
		{"INBOX UTF8 (~{3}", "BAD "},
	} {
		c.no("APPEND "+x.args, x.want)
	}
	if r := c.append("nowhere", simple); !strings.HasPrefix(r, "NO [TRYCREATE]") {
		t.Error(r)
	}
	if r := c.append("INBOX", strings.Repeat("x", 1001)); !strings.HasPrefix(r, "NO [TOOBIG]") {
		t.Error(r)
	}
	c.no("APPEND INBOX {3+}\r\nabc frob", "BAD ")
	c.no("APPEND INBOX {3+}\r\nabc {3+}\r\nabcfrob", "BAD ")
	c.tells("STATUS INBOX (MESSAGES)", "OK", "* STATUS INBOX (MESSAGES 0)")
	before := h.dial(t)
	before.no("APPEND INBOX {3+}\r\nabc", "BAD Log in first")
	before.no("APPEND INBOX {3}", "BAD Log in first")
}

func TestAppendQuota(t *testing.T) {
	h, c := boxed(t, 1)
	err := h.Mailboxes.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE account SET quota = ? WHERE id = 1`, int64(len(simple)*3))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.no(fmt.Sprintf("APPEND INBOX {%d}", len(simple)*2+1), "NO [OVERQUOTA] ")
	c.no(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s {%d}", len(simple), simple, len(simple)+1), "NO [OVERQUOTA] ")
	c.no(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s {%d+}\r\n%s%s", len(simple), simple, 2*len(simple), simple, simple), "NO [OVERQUOTA] ")
	c.ok("COPY 1 INBOX")
	c.no("COPY 1:2 INBOX", "NO [OVERQUOTA] ")
	c.tells("FETCH 1:* UID", "OK", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)")
	c.ok("MOVE 1:2 INBOX") // takes no more than there is
	c.ok("APPEND INBOX {1+}\r\nx")
	c.no(fmt.Sprintf("REPLACE 1 INBOX {%d}", 2*len(simple)), "NO [OVERQUOTA] ")
	c.ok(fmt.Sprintf("REPLACE 1 INBOX {%d+}\r\n%sx", len(simple)+1, simple))
}

func TestMultiappend(t *testing.T) {
	_, c := boxed(t, 0)
	var b strings.Builder
	b.WriteString("APPEND INBOX")
	for i := range 20 {
		fmt.Fprintf(&b, " (\\Seen k%d) {%d+}\r\n%s", i, len(simple), simple)
	}
	untagged, tagged := c.do(b.String())
	if len(untagged) != 3 || untagged[2] != "* 20 EXISTS" || !regexp.MustCompile(`^OK \[APPENDUID \d+ 1:20\] `).MatchString(tagged) {
		t.Fatalf("%q %s", untagged, tagged)
	}
	c.tells("FETCH 20 FLAGS", "OK", `* 20 FETCH (FLAGS (\Seen k19))`)
	// All or nothing: the last one has a bad keyword.
	bad := strings.Repeat("k", 200)
	c.no(fmt.Sprintf("APPEND INBOX {3+}\r\nabc (%s) {3+}\r\nabc", bad), "NO [LIMIT]")
	c.tells("NOOP", "OK")
}

// TestAppendText: what is stored is text, whatever came.
func TestAppendText(t *testing.T) {
	_, c := boxed(t, 0)
	for i, x := range []struct{ in, want string }{
		{"a: b\n\nhi\nx\x00y\r\n", "a: b\r\n\r\nhi\r\nx\x80y\r\n"},
		{"a: b\r\r\n\n", "a: b\r\r\n\r\n"},
		{"\n", "\r\n"},
		{"", ""},
		{strings.Repeat("line\n", 50_000), strings.Repeat("line\r\n", 50_000)},
		{strings.Repeat("line\r\n", 50_000) + "\x00", strings.Repeat("line\r\n", 50_000) + "\x80"},
	} {
		if r := c.append("INBOX", x.in); !strings.HasPrefix(r, "OK") {
			t.Fatal(r)
		}
		c.tells(fmt.Sprintf("FETCH %d (RFC822.SIZE BODY.PEEK[])", i+1), "OK",
			fmt.Sprintf("* %d FETCH (RFC822.SIZE %d BODY[] {%d}\r\n%s)", i+1, len(x.want), len(x.want), x.want))
	}
}

// TestAppendBinary: binary parts come back from BINARY as they were, and
// BODY tells them in base64.
func TestAppendBinary(t *testing.T) {
	_, c := boxed(t, 0)
	head := "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
	data := " \x00-\xff\n\n\r"
	message := head + "binary\r\n\r\n" + data
	c.ok(fmt.Sprintf("APPEND INBOX ~{%d+}\r\n%s", len(message), message))
	c.tells("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[1]<3.2>)", "OK",
		fmt.Sprintf("* 1 FETCH (BINARY.SIZE[1] 7 BINARY[1] ~{7}\r\n%s BINARY[1]<3> ~{2}\r\n\xff\n)", data))
	c.tells("FETCH 1 BODY.PEEK[]", "OK", fmt.Sprintf("* 1 FETCH (BODY[] {%d}\r\n%s)", len(head)+22, head+"base64\r\n\r\nIAAt/woKDQ=="))
	// What needs no encoding stays.
	c.ok(fmt.Sprintf("APPEND INBOX ~{%d+}\r\n%s", len(simple), simple))
	c.tells("FETCH 2 BODY.PEEK[]", "OK", fmt.Sprintf("* 2 FETCH (BODY[] {%d}\r\n%s)", len(simple), simple))
	// What is no MIME becomes text.
	c.ok("APPEND INBOX ~{11+}\r\na: b\r\n\r\n\x00\n\n")
	c.tells("FETCH 3 BODY.PEEK[]", "OK", "* 3 FETCH (BODY[] {13}\r\na: b\r\n\r\n\x80\r\n\r\n)")
	unknown := head + "x-frob\r\n\r\nabc"
	c.append("INBOX", unknown)
	c.no("FETCH 4 BINARY[1]", "NO [UNKNOWN-CTE]")
	c.no("FETCH 4 BINARY.SIZE[1]", "NO [UNKNOWN-CTE]")
	c.tells("FETCH 4 BODY.PEEK[1]", "OK", "* 4 FETCH (BODY[1] {3}\r\nabc)")
	c.ok("FETCH 4 BINARY.PEEK[]")
}

// TestAppendBroken: of a connection that ends in a literal nothing is left.
func TestAppendBroken(t *testing.T) {
	h, c := boxed(t, 0)
	c.send("a APPEND INBOX {3+}\r\nabc {100000+}\r\n" + strings.Repeat("x", 70_000))
	c.nc.Close()
	time.Sleep(50 * time.Millisecond)
	c = h.login(t, "alice")
	c.ok("SELECT INBOX")
	c.tells("FETCH 1:* UID", "BAD")
}

func TestCatenate(t *testing.T) {
	h, c := boxed(t, 2)
	lit := func(s string) string { return fmt.Sprintf("TEXT {%d+}\r\n%s", len(s), s) }
	validity := number(t, strings.Join(c.ok("SELECT INBOX"), " "), "UIDVALIDITY")
	n := 2
	for _, x := range []struct{ parts, want string }{
		{lit("a: b\r\n\r\n") + " " + lit("text\r\n"), "a: b\r\n\r\ntext\r\n"},
		{`URL "/INBOX/;UID=1"`, simple},
		{`URL "/inbox;uidvalidity=` + validity + `/;uid=1/;section=HEADER" ` + lit("x"), simple[:len(simple)-6] + "x"},
		{`URL "imap://alice;AUTH=*@imap.example.test:993/INBOX/;UID=1/;SECTION=1" URL ";UID=2/;SECTION=TEXT/;PARTIAL=1.2"`, "body\r\nod"},
		{`URL "/INBOX/;UID=1/;PARTIAL=100000.1" ` + lit("x"), "x"},
		{`URL "/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(FROM)"`, "From: a@example.test\r\n\r\n"},
		{`URL "/INBOX/;UID=1/;SECTION=TEXT/;PARTIAL=4"`, "\r\n"},
	} {
		n++
		c.ok(`APPEND INBOX (\Seen) CATENATE (` + x.parts + ")")
		c.tells(fmt.Sprintf("FETCH %d BODY.PEEK[]", n), "OK", fmt.Sprintf("* %d FETCH (BODY[] {%d}\r\n%s)", n, len(x.want), x.want))
	}
	for _, url := range []string{"/INBOX;UIDVALIDITY=12345/;UID=1", "/INBOX/;UID=99", "/nowhere/;UID=1", "/INBOX/;UID=1/;SECTION=FOO", "/INBOX", "",
		"http://x/", "imap://other/INBOX/;UID=1", "/INBOX/;UID=1/;PARTIAL=x", "/INBOX/;UID=%31", "/IN%ZZ/;UID=1"} {
		c.no(`APPEND INBOX CATENATE (URL "`+url+`")`, "NO [BADURL "+url+"]")
		c.no(`APPEND INBOX CATENATE (`+lit("a: b\r\n")+` URL "`+url+`" `+lit("x")+`)`, "NO [BADURL "+url+"]")
	}
	c.no(`APPEND INBOX CATENATE (URL "/INBOX/;UID=99" TEXT {3}`, "NO [BADURL ")
	c.no(`APPEND nowhere CATENATE (URL "/INBOX/;UID=99" TEXT {3}`, "NO [TRYCREATE]")
	c.no(`APPEND INBOX CATENATE ()`, "BAD")
	c.no(`APPEND INBOX CATENATE (FOO x)`, "BAD")
	c.no("APPEND INBOX CATENATE (TEXT {3+}\r\nabc", "BAD")
	other := h.login(t, "bob")
	other.no(`APPEND INBOX CATENATE (URL ";UID=1")`, "NO [BADURL")
	// Two at once.
	if _, tagged := c.do(`APPEND INBOX CATENATE (URL "/INBOX/;UID=1") (\Answered) {3+}` + "\r\nabc"); !strings.Contains(tagged, "APPENDUID "+validity+" 10:11]") {
		t.Error(tagged)
	}
}

func TestReplace(t *testing.T) {
	_, c := boxed(t, 2)
	text := fmt.Sprintf("{%d+}\r\n%s", len(simple), simple)
	untagged, tagged := c.do(`REPLACE 1 INBOX (\Draft) ` + text)
	if len(untagged) != 3 || !regexp.MustCompile(`^\* OK \[APPENDUID \d+ 3\] `).MatchString(untagged[0]) ||
		untagged[1] != "* 3 EXISTS" || untagged[2] != "* 1 EXPUNGE" || tagged != "OK REPLACE completed" {
		t.Fatalf("%q %s", untagged, tagged)
	}
	c.tells("UID FETCH 1:* FLAGS", "OK", "* 1 FETCH (UID 2 FLAGS ())", `* 2 FETCH (UID 3 FLAGS (\Draft))`)
	untagged, _ = c.do(`UID REPLACE 3 Drafts ` + text)
	if len(untagged) != 2 || untagged[1] != "* 2 EXPUNGE" {
		t.Fatalf("%q", untagged)
	}
	c.no("REPLACE 1 nowhere {3}", "NO [TRYCREATE]")
	c.no("UID REPLACE 99 INBOX {3}", "NO [NONEXISTENT]")
	c.no("UID REPLACE 1:* nowhere "+text, "NO [TRYCREATE]")
	c.no("REPLACE 9 INBOX "+text, "BAD")
	c.no("REPLACE 1 INBOX "+text+" "+text, "BAD")
	c.tells("UID FETCH 1:* FLAGS", "OK", "* 1 FETCH (UID 2 FLAGS ())")
	c.ok("EXAMINE INBOX")
	c.no("REPLACE 1 INBOX {3}", "NO [READ-ONLY]")
}
