package imapd

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// append gives a message with LITERAL+ and returns the tagged response.
func (c *client) append(args, text string) string {
	c.t.Helper()
	_, tagged := c.do(fmt.Sprintf("APPEND %s {%d+}\r\n%s", args, len(text), text))
	return tagged
}

// tells fails unless a command has exactly these untagged responses, but for
// those that say which keywords there are, and a tagged one with that beginning.
func (c *client) tells(command, tagged string, want ...string) {
	c.t.Helper()
	untagged, end := c.do(command)
	untagged = slices.DeleteFunc(untagged, func(line string) bool {
		return strings.HasPrefix(line, "* FLAGS (") || strings.HasPrefix(line, "* OK [PERMANENTFLAGS ")
	})
	if len(untagged) == 0 && len(want) == 0 {
		untagged, want = nil, nil
	}
	if !reflect.DeepEqual(untagged, want) || !strings.HasPrefix(end, tagged) {
		c.t.Fatalf("%s:\n%q\n%s\nwant\n%q\n%s", command, untagged, end, want, tagged)
	}
}

// number finds the number that follows a word in responses.
func number(t testing.TB, text, word string) string {
	t.Helper()
	m := regexp.MustCompile(regexp.QuoteMeta(word) + ` \(?(\d+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no number behind %s in %q", word, text)
	}
	return m[1]
}

const simple = "From: a@example.test\r\nSubject: s\r\n one\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nbody\r\n"

// boxed is a house in which alice has selected her INBOX of n simple messages.
func boxed(t testing.TB, n int) (*house, *client) {
	t.Helper()
	h := newHouse(t)
	c := h.login(t, "alice")
	c.ok("ENABLE IMAP4rev2") // without \Recent
	for range n {
		if r := c.append("INBOX", simple); !strings.HasPrefix(r, "OK [APPENDUID ") {
			t.Fatal(r)
		}
	}
	c.ok("SELECT INBOX")
	return h, c
}

func TestFetchItems(t *testing.T) {
	_, c := boxed(t, 2)
	c.tells("FETCH 1 FLAGS", "OK", "* 1 FETCH (FLAGS ())")
	c.tells("FETCH 1 (FLAGS UID UID RFC822.SIZE)", "OK", fmt.Sprintf("* 1 FETCH (FLAGS () UID 1 RFC822.SIZE %d)", len(simple)))
	c.tells("UID FETCH 2,9 (FLAGS)", "OK", "* 2 FETCH (UID 2 FLAGS ())")
	c.tells("UID FETCH 77 (FLAGS)", "OK")
	c.tells("FETCH *:1 UID", "OK", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)")
	c.no("FETCH 3 UID", "BAD")
	c.tells("FETCH 1 (EMAILID THREADID)", "OK", "* 1 FETCH (EMAILID (M4294967297) THREADID NIL)")
	c.tells("FETCH 1 PREVIEW (LAZY)", "OK", `* 1 FETCH (PREVIEW "body")`)
	c.tells("FETCH 1 (PREVIEW (LAZY) UID)", "OK", `* 1 FETCH (PREVIEW "body" UID 1)`)
	got := c.ok("FETCH 1 FULL")[0]
	if !regexp.MustCompile(`^\* 1 FETCH \(FLAGS \(\) INTERNALDATE "\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}" RFC822.SIZE \d+ ENVELOPE \(.*\) BODY \(.*\)\)$`).MatchString(got) {
		t.Error(got)
	}
	if got := c.ok("FETCH 1 (SAVEDATE)")[0]; !strings.HasPrefix(got, `* 1 FETCH (SAVEDATE "`) {
		t.Error(got)
	}
	if got := c.ok("FETCH 1 (FAST UID)")[0]; !strings.HasSuffix(got, " UID 1)") {
		t.Error(got)
	}
	for _, wrong := range []string{"FETCH 1 ()", "FETCH 1 FROB", "FETCH 1 RFC822.PEEK", "FETCH 0 UID", "FETCH 1 BODY[MIME]",
		"FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 1 BODY[1.]", "FETCH 1 BODY[FOO]", "FETCH 1 BINARY[TEXT]", "FETCH 1 BINARY.SIZE.PEEK[1]", "FETCH 1 BODY[]<1>", "FETCH 1 BODY[]<0.0>",
		"FETCH 1 UID (FOO)", "FETCH 1 UID (VANISHED)", "FETCH 1 UID (CHANGEDSINCE 1 VANISHED)", "FETCH 1 UID (LAZY)", "FETCH 1", "FETCH"} {
		c.no(wrong, "BAD")
	}
}

func TestFetchSections(t *testing.T) {
	_, c := boxed(t, 1)
	lit := func(name, text string) string { return fmt.Sprintf("* 1 FETCH (%s {%d}\r\n%s)", name, len(text), text) }
	header, body := simple[:len(simple)-6], simple[len(simple)-6:]
	for _, x := range []struct{ item, want string }{
		{"BODY.PEEK[]", lit("BODY[]", simple)},
		{"BODY.PEEK[HEADER]", lit("BODY[HEADER]", header)},
		{"RFC822.HEADER", lit("RFC822.HEADER", header)},
		{"BODY.PEEK[TEXT]", lit("BODY[TEXT]", body)},
		{"BODY.PEEK[1]", lit("BODY[1]", body)},
		{"BODY.PEEK[1.MIME]", lit("BODY[1.MIME]", header)},
		{"BODY.PEEK[2]", lit("BODY[2]", "")},
		{"BODY.PEEK[1.HEADER]", lit("BODY[1.HEADER]", "")},
		{"BODY.PEEK[1.TEXT]", lit("BODY[1.TEXT]", "")},
		{"BODY.PEEK[TEXT]<1.2>", lit("BODY[TEXT]<1>", "od")},
		{"BODY.PEEK[TEXT]<300.2>", lit("BODY[TEXT]<300>", "")},
		{"BODY.PEEK[TEXT]<2.9999999999>", lit("BODY[TEXT]<2>", "dy\r\n")},
		{`body.peek[header.fields (subject "From" x]y)]`, lit("BODY[HEADER.FIELDS (SUBJECT FROM X]Y)]", "From: a@example.test\r\nSubject: s\r\n one\r\n\r\n")},
		{"BODY.PEEK[HEADER.FIELDS.NOT (subject)]<3.5>", lit("BODY[HEADER.FIELDS.NOT (SUBJECT)]<3>", "m: a@")},
		{"BINARY.PEEK[1]", lit("BINARY[1]", body)},
		{"BINARY.SIZE[1]", "* 1 FETCH (BINARY.SIZE[1] 6)"},
	} {
		c.tells("FETCH 1 "+x.item, "OK", x.want)
	}
	c.tells("FETCH 1 FLAGS", "OK", "* 1 FETCH (FLAGS ())")
}

func TestFetchMarksSeen(t *testing.T) {
	h, c := boxed(t, 4)
	other := h.login(t, "alice")
	other.ok("ENABLE IMAP4rev2")
	other.ok("SELECT INBOX")
	body := fmt.Sprintf("{%d}\r\n%s", len(simple), simple)
	c.tells("FETCH 1 BODY[]", "OK", `* 1 FETCH (FLAGS (\Seen) BODY[] `+body+")")
	c.tells("FETCH 1 BODY[]", "OK", `* 1 FETCH (BODY[] `+body+")")
	c.tells("UID FETCH 2 (RFC822 FLAGS)", "OK", `* 2 FETCH (UID 2 RFC822 `+body+` FLAGS (\Seen))`)
	c.tells("FETCH 3 (BODY.PEEK[] BODY[TEXT]<0.1>)", "OK", `* 3 FETCH (FLAGS (\Seen) BODY[] `+body+" BODY[TEXT]<0> {1}\r\nb)")
	if got := other.ok("NOOP"); len(got) != 3 {
		t.Errorf("%q", got)
	}
	c.ok("EXAMINE INBOX")
	c.tells("FETCH 4 BODY[]", "OK", `* 4 FETCH (BODY[] `+body+")")
	c.tells("FETCH 4 FLAGS", "OK", `* 4 FETCH (FLAGS ())`)
}

func TestStore(t *testing.T) {
	h, c := boxed(t, 3)
	c.tells(`STORE 1:2 +FLAGS (\seen $Forwarded)`, "OK", `* 1 FETCH (FLAGS (\Seen $Forwarded))`, `* 2 FETCH (FLAGS (\Seen $Forwarded))`)
	c.tells(`STORE 1:3 +FLAGS \Seen`, "OK", `* 1 FETCH (FLAGS (\Seen $Forwarded))`, `* 2 FETCH (FLAGS (\Seen $Forwarded))`, `* 3 FETCH (FLAGS (\Seen))`)
	c.tells(`UID STORE 2,9 -FLAGS $forwarded \Seen`, "OK", `* 2 FETCH (UID 2 FLAGS ())`)
	c.tells(`STORE 3 FLAGS.SILENT (\Draft)`, "OK")
	c.tells(`FETCH 3 FLAGS`, "OK", `* 3 FETCH (FLAGS (\Draft))`)
	c.tells(`STORE 3 FLAGS ()`, "OK", `* 3 FETCH (FLAGS ())`)
	c.tells(`STORE 3 FLAGS (\Recent)`, "OK", `* 3 FETCH (FLAGS ())`)
	for _, wrong := range []string{`STORE 1 FLAGS (\Foo)`, `STORE 4 FLAGS ()`, `STORE 1 +FLAG x`, `STORE 1 +FLAGS`, `STORE 1 (FOO 1) FLAGS ()`} {
		c.no(wrong, "BAD")
	}
	words := make([]string, mailbox.MaxKeywords+1)
	for i := range words {
		words[i] = fmt.Sprint("k", i)
	}
	c.no("STORE 1 FLAGS ("+strings.Join(words, " ")+")", "NO [LIMIT]")
	c.no("STORE 1 FLAGS ("+strings.Repeat("k", mailbox.MaxKeyword+1)+")", "NO [LIMIT]")
	long := func(letter string) string { return letter + strings.Repeat("k", mailbox.MaxKeyword-2) }
	c.ok("STORE 2 FLAGS.SILENT (" + long("a") + " " + long("b") + " " + long("c") + " " + long("d") + " " + long("e") + ")")
	c.no("STORE 2 +FLAGS ("+long("f")+" "+long("g")+" "+long("h")+" "+long("i")+" "+long("j")+" "+long("k")+")", "NO [LIMIT]")
	c.ok("STORE 2 FLAGS.SILENT ()")

	other := h.login(t, "alice")
	other.ok("ENABLE IMAP4rev2")
	other.ok("SELECT INBOX")
	other.ok(`STORE 1 +FLAGS \Deleted`)
	other.ok(`EXPUNGE`)
	c.tells(`STORE 1:2 +FLAGS.SILENT \Answered`, "OK [EXPUNGEISSUED]")
	c.tells("NOOP", "OK", "* 1 EXPUNGE")
	c.ok("EXAMINE INBOX")
	c.no(`STORE 1 FLAGS ()`, "NO [READ-ONLY]")
	c.no(`EXPUNGE`, "NO [READ-ONLY]")
	c.no(`MOVE 1 INBOX`, "NO [READ-ONLY]")
}

func TestStoreConditional(t *testing.T) {
	_, c := boxed(t, 3)
	first, _ := c.do("FETCH 1 MODSEQ")
	if !strings.HasPrefix(first[0], "* OK [HIGHESTMODSEQ ") || len(first) != 2 {
		t.Fatalf("%q", first)
	}
	high := number(t, first[0], "HIGHESTMODSEQ")
	modseq := number(t, first[1], "MODSEQ")
	got, tagged := c.do("STORE 1 (UNCHANGEDSINCE " + modseq + ") +FLAGS.SILENT (\\Flagged)")
	if len(got) != 1 || tagged != "OK STORE completed" || !regexp.MustCompile(`^\* 1 FETCH \(MODSEQ \(\d+\)\)$`).MatchString(got[0]) {
		t.Fatalf("%q %s", got, tagged)
	}
	c.tells("STORE 1:3 (UNCHANGEDSINCE "+high+") +FLAGS.SILENT (\\Answered)", "OK [MODIFIED 1] ",
		"* 2 FETCH (MODSEQ (6))", "* 3 FETCH (MODSEQ (6))")
	c.tells("UID STORE 1:3 (UNCHANGEDSINCE 0) +FLAGS (\\Answered)", "OK [MODIFIED 1:3] ")
	c.tells("FETCH 1:* (FLAGS) (CHANGEDSINCE 5)", "OK", `* 2 FETCH (FLAGS (\Answered) MODSEQ (6))`, `* 3 FETCH (FLAGS (\Answered) MODSEQ (6))`)
	c.tells("FETCH 1 BODY.PEEK[TEXT]", "OK", "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)")
	c.tells("FETCH 1 BODY[TEXT]", "OK", "* 1 FETCH (FLAGS (\\Flagged \\Seen) MODSEQ (7) BODY[TEXT] {6}\r\nbody\r\n)")
	c.no("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", "BAD")
}

func TestCopyAndMove(t *testing.T) {
	h, c := boxed(t, 4)
	c.no("COPY 1 nowhere", "NO [TRYCREATE]")
	c.no("MOVE 1 nowhere", "NO [TRYCREATE]")
	c.no("COPY 9 Trash", "BAD")
	c.tells("UID COPY 99 Trash", "OK No messages")
	c.ok(`STORE 2 +FLAGS (\Flagged word)`)
	if got := c.ok("FETCH 2 INTERNALDATE"); len(got) != 1 {
		t.Fatal(got)
	}
	_, copied := c.do("COPY 1:2,4 Trash")
	if !regexp.MustCompile(`^OK \[COPYUID \d+ 1:2,4 1:3\] `).MatchString(copied) {
		t.Fatal(copied)
	}
	got, moved := c.do("MOVE 2:3 Trash")
	if len(got) != 3 || !regexp.MustCompile(`^\* OK \[COPYUID \d+ 2:3 4:5\] `).MatchString(got[0]) ||
		got[1] != "* 3 EXPUNGE" || got[2] != "* 2 EXPUNGE" || moved != "OK MOVE completed" {
		t.Fatalf("%q %s", got, moved)
	}
	got, moved = c.do("UID MOVE 1 INBOX") // onto itself
	if len(got) != 3 || !strings.HasSuffix(got[0], " 1 5] Moved") || got[1] != "* 1 EXPUNGE" || got[2] != "* 2 EXISTS" || !strings.HasPrefix(moved, "OK") {
		t.Fatalf("%q %s", got, moved)
	}
	got, _ = c.do("COPY 1 INBOX")
	if len(got) != 1 || got[0] != "* 3 EXISTS" {
		t.Fatalf("%q", got)
	}
	c.ok("SELECT Trash")
	c.tells("FETCH 2,4 FLAGS", "OK", `* 2 FETCH (FLAGS (\Flagged word))`, `* 4 FETCH (FLAGS (\Flagged word))`)
	_ = h
}

func TestExpunge(t *testing.T) {
	_, c := boxed(t, 4)
	c.ok(`STORE 1,3,4 +FLAGS.SILENT \Deleted`)
	c.tells("UID EXPUNGE 2:3,88", "OK", "* 3 EXPUNGE")
	c.tells("EXPUNGE", "OK", "* 3 EXPUNGE", "* 1 EXPUNGE")
	c.tells("EXPUNGE", "OK EXPUNGE completed")
	c.no("UID EXPUNGE", "BAD")
}

func TestFetchOfTheGone(t *testing.T) {
	h, c := boxed(t, 3)
	other := h.login(t, "alice")
	other.ok("ENABLE IMAP4rev2")
	other.ok("SELECT INBOX")
	other.ok(`STORE 2 +FLAGS.SILENT \Deleted`)
	other.ok(`EXPUNGE`)
	c.tells("FETCH 1:3 UID", "OK [EXPUNGEISSUED]", "* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)")
	c.tells("UID FETCH 2 BODY[]", "OK [EXPUNGEISSUED]", "* 2 EXPUNGE")
	c.tells("FETCH 2 UID", "OK", "* 2 FETCH (UID 3)")
}

// TestFetchesSideBySide: many commands at a time give what each alone gives,
// while other sessions change the mailbox.
func TestFetchesSideBySide(t *testing.T) {
	h, c := boxed(t, 20)
	other := h.login(t, "alice")
	other.ok("ENABLE IMAP4rev2")
	other.ok("SELECT INBOX")
	for round := range 10 {
		var b strings.Builder
		for i := range 8 {
			fmt.Fprintf(&b, "p%d UID FETCH %d (BODY.PEEK[HEADER.FIELDS (FROM)] RFC822.SIZE)\r\n", i, 1+(round+i)%20)
		}
		c.send(b.String())
		other.ok(fmt.Sprintf(`STORE %d +FLAGS.SILENT (k%d)`, 1+round, round))
		for answered := 0; answered < 8; {
			if line := c.line(); line[0] == 'p' {
				if !strings.Contains(line, " OK UID FETCH completed") {
					t.Error(line)
				}
				answered++
			} else if strings.Contains(line, "RFC822.SIZE") && !strings.HasSuffix(line, fmt.Sprintf("}\r\nFrom: a@example.test\r\n\r\n RFC822.SIZE %d)", len(simple))) {
				t.Error(line)
			}
		}
	}
}
