package script

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
)

func response(t *testing.T, text string) *client.Response {
	t.Helper()
	r, err := client.ParseValues([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"1 fetch (uid $uid)", "1 FETCH (UID 7)", true},
		{"1 fetch (uid $old)", "1 FETCH (UID 7)", false},
		{"1 fetch (uid $uid)", "1 FETCH (FLAGS () UID 7)", true},
		{"1 fetch (flags (\\seen))", "1 FETCH (FLAGS (\\Recent \\Seen))", true},
		{"1 fetch (flags (\\seen))", "1 FETCH (FLAGS (\\Draft \\Seen))", false},
		{"1 fetch (flags ($!extra))", "1 FETCH (FLAGS (\\Draft))", true},
		{"1 fetch (flags ($!extra \\seen))", "1 FETCH (FLAGS (\\Draft \\Seen))", false},
		{"1 fetch (flags ($!unordered \\seen))", "1 FETCH (FLAGS (\\Draft \\Seen))", true},
		{"1 fetch (flags $)", "1 FETCH (FLAGS (\\Draft))", true},
		{"1 fetch ($!ordered uid 1 flags ())", "1 FETCH (FLAGS () UID 1)", false},
		{"1 fetch (body[header.fields (to)] $x)", "1 FETCH (BODY[HEADER.FIELDS (To)] {2}\r\nab)", true},
		{"1 fetch (envelope (nil))", "1 FETCH (ENVELOPE (NIL))", true},
		{"1 fetch (envelope (nil))", "1 FETCH (ENVELOPE (\"NIL\"))", false},
		{"$3 fetch (uid 9)", "2 FETCH (UID 9)", true}, // message 1 is expunged
		{"$3 fetch (flags (\\seen))", "2 FETCH (UID 9 FLAGS (\\Seen))", true},
		{"$1 expunge", "1 EXPUNGE", false},
		{"list () $sep INBOX", `LIST (\HasNoChildren) "/" inbox`, true},
		{"list () $sep ${case:INBOX}", `LIST () "/" inbox`, false},
		{`list ($!unordered $!ban=\noselect \subscribed) $ a`, `LIST (\Subscribed \NoSelect) "/" a`, false},
		{`list ($!unordered $!noextra $!ignore=\a \b) $ a`, `LIST (\B \A) "/" a`, true},
		{`list ($!unordered $!noextra $!ignore=\a \b) $ a`, `LIST (\B \C) "/" a`, false},
		{"status $mailbox (messages 1 unseen 2)", "STATUS imaptest (UNSEEN 2 SIZE 7 MESSAGES 1)", true},
		{"status $mailbox (messages 2 unseen 1)", "STATUS imaptest (UNSEEN 2 SIZE 7 MESSAGES 1)", false},
		{"search 1 2", "SEARCH 1 2 3", false},
		{"search all 1:$old", "SEARCH ALL 1:8", true},
		{"ok [uidnext $n]", "OK [UIDNEXT 3] Predicted", true},
		{"ok [uidnext 3]", "OK [UIDNEXT 4] Predicted", false},
		{"ok [capability $]", "OK [CAPABILITY IMAP4rev1 IDLE] Hello", true},
		{"ok", "OK [ALERT] Hello", true},
		{"no [trycreate]", "NO Hello", false},
		{"flags $$label", "FLAGS $Label", true},
		{"x $modseq3", "X 12", true}, // after $modseq1 = 10
		{"x $modseq4", "X 12", false},
		{"thread (1 2)(3)", "THREAD (1 2)(3)", true},
		{"x ~{4}\r\n\x00ab\n", "X {3}\r\n\x00cd", true},
	} {
		s := &scope{vars: map[string]string{"old": "8", "mailbox": mailbox}, expunged: []int{1}, modseqIndex: 1, modseq: 10}
		if got := s.response(response(t, c.want), response(t, c.got)); got != c.ok {
			t.Errorf("%q and %q: %t", c.want, c.got, got)
		}
	}
}

const three = `# three ways
capabilities: IDLE
connections: 2
state: created

1 ok append $mailbox {{{
a: b

}}} ~{{{
x` + "\r" + `
}}}
2 select $mailbox
* 0 exists
2 no [trycreate]
2 tag1 noop
2 tag2 check
2 tag2 ok
2 tag1 ""
!ifenv NO_SUCH_VARIABLE
1 ok never
!else
1 ok always
!endif
`

func TestParse(t *testing.T) {
	s, err := Parse("three", []byte(three))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.groups) != 4 || s.connections != 2 || s.state != created {
		t.Fatalf("%+v", s)
	}
	if got, want := string(s.groups[0].commands[0].text), "append $mailbox {6}\r\na: b\r\n ~{2}\r\nx\r"; got != want {
		t.Errorf("%q", got)
	}
	if g := s.groups[2]; len(g.commands) != 2 || !g.commands[0].any || g.commands[1].reply == nil || g.conn != 2 {
		t.Errorf("%+v", g)
	}
	for _, bad := range []string{"", "connections: 2\n\nok noop\n", "state: none\n\nok noop", "select x\nselect y\n", "ok x {{{\n", "!ifenv X\nok noop\n", "noop\n"} {
		if _, err := Parse("bad", []byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMbox(t *testing.T) {
	all, err := readMbox([]byte("From a@b  Fri Feb 22 17:06:23 2008\nA: b\n\nx\n\nFrom a@b Sun Mar 25 04:00:00 2007 +0300\n\ny\n"))
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if string(all[0].text) != "A: b\r\n\r\nx\r\n\r\n" || all[1].internalDate() != `"25-Mar-2007 04:00:00 +0300"` {
		t.Errorf("%q %s", all[0].text, all[1].internalDate())
	}
	if _, err := readMbox([]byte("A: b\n")); err == nil {
		t.Error("no From line is taken")
	}
}

func TestExpandCommand(t *testing.T) {
	x := &exchange{run: &run{scope: scope{vars: map[string]string{"mailbox": mailbox, "uid": "5"}}, script: &Script{}}}
	got, err := x.command([]byte("append ${mailbox}2 (text {6}\r\n$uid\r\n url \"/;uid=$uid\" $$x)"))
	if err != nil || got != "append imaptest2 (text {6}\r\n$uid\r\n url \"/;uid=5\" $x)" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := x.command([]byte("noop $other")); err == nil || !strings.Contains(err.Error(), "$other") {
		t.Error(err)
	}
}
