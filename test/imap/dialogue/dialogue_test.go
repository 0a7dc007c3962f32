package dialogue

import (
	"slices"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{`A1 OK CREATE completed.`, "A1 OK [MAILBOXID (x)] Done", true},
		{`A1 OK CREATE completed.`, "A1 NO Done", false},
		{`A1 OK \[MAILBOXID \(.+\)\] CREATE completed.`, "A1 OK [MAILBOXID (x)] Done", true},
		{`A1 OK \[MAILBOXID \(.+\)\] CREATE completed.`, "A1 OK Done", false},
		{`A1 OK (\[.+\] )?APPEND completed.`, "A1 OK Done", true},
		{`\* OK \[UIDVALIDITY 1203163935\] UIDs valid`, "* OK [UIDVALIDITY 5] Hello", true},
		{`\* OK \[UIDVALIDITY (.)*`, "* OK [UIDNEXT 5] Hello", false},
		{`\* FLAGS \(\\Answered \\Deleted \\Draft \\Flagged \\Seen\)`, `* FLAGS (\Answered \Flagged \Draft \Deleted \Seen)`, true},
		{`\* OK \[PERMANENTFLAGS \(\\Answered \\Deleted \\Draft \\Flagged \\\Seen( \\\*)?\)\].*`,
			`* OK [PERMANENTFLAGS (\Answered \Flagged \Draft \Deleted \Seen \*)] Hello`, true},
		{`\* 1 FETCH \(FLAGS \(\\Recent \\Seen\) UID 2 BODY\[TEXT\] \{3\}` + "\r\n" + `a` + "\r\n" + `\)`, "* 1 FETCH (UID 2 BODY[TEXT] {3}\r\na\r\n FLAGS (\\Seen))", true},
		{`\* 1 FETCH \(FLAGS \(\\Recent \\Seen\) UID 2\)`, "* 1 FETCH (UID 3 FLAGS (\\Seen))", false},
		{`\* LIST \(\\HasNoChildren\) \".\" \"a\"`, `* LIST (\HasNoChildren) "/" a`, true},
		{`\* LIST \(\\HasNoChildren\) \".\" \"a\"`, `* LIST (\HasChildren) "/" a`, false},
		{`\* CAPABILITY .* CONDSTORE .*`, "* CAPABILITY CONDSTORE IMAP4rev1", true},
		{`\* CAPABILITY .*METADATA.*`, "* CAPABILITY IMAP4rev1", false},
		{`\* SEARCH 1 2`, "* SEARCH 1 2 3", false},
		{`\+ Ok`, "+ go ahead", true},
	} {
		got, err := client.ParseResponse([]byte(c.got))
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := (&answer{lines: []string{c.want}}).matches(got); ok != c.ok || err != nil {
			t.Errorf("%s and %s: %t, %v", c.want, c.got, ok, err)
		}
	}
}

func TestOriginals(t *testing.T) {
	for _, c := range []struct{ in, want []int }{
		{[]int{1, 1, 1}, []int{1, 2, 3}}, {[]int{3, 1}, []int{1, 3}}, {[]int{1, 2}, []int{1, 3}}, {[]int{2, 1, 1}, []int{1, 2, 3}}, {nil, nil},
	} {
		if got := originals(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.in, got)
		}
	}
}

func TestNames(t *testing.T) {
	n := names{separator: "/", others: "Other Users/", boby: "Other Users/boby@a.test/"}
	for in, want := range map[string]string{
		`a CREATE #private.a.b`:             `a CREATE a/b`,
		`a COPY 1:* #user.boby.mailbox-l.x`: `a COPY 1:* "Other Users/boby@a.test/mailbox-l/x"`,
		`a LIST "" a.%`:                     `a LIST "" a/%`,
		`1.5 NOOP`:                          `1.5 NOOP`,
		`1.5 CREATE x`:                      `1.5 CREATE x`,
	} {
		if got := n.command(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := n.answer(`\* STATUS \"#user.boby.mailbox-lr\" \(MESSAGES 10\)`); got != `\* STATUS \"Other Users/boby@a[./]test/mailbox-lr\" \(MESSAGES 10\)` {
		t.Error(got)
	}
}

func TestParse(t *testing.T) {
	d, err := Parse("x", []byte("# comment\nC: a NOOP\nS: a OK\nSESSION: 2\nC: b NOOP\nSUB {\nS: \\* 1 EXISTS\nS: b OK\n}\nWAIT 10\nREINIT\nLOG INFO x\n"))
	if err != nil || len(d.steps) != 6 || d.sessions() != 3 || !slices.Equal(d.commands(), []string{"NOOP", "NOOP"}) {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := Parse("x", []byte("X: what\n")); err == nil {
		t.Error("an unknown line is taken")
	}
}
