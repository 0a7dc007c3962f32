package imapd

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const mailText = "From: a@example.test\r\nSubject: hello\r\n\r\ntext\r\n"

// hears fails unless these responses come next, unasked.
func (c *client) hears(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.line(); got != w {
			c.t.Fatalf("heard %q, want %q", got, w)
		}
	}
}

// quiet fails if something was told unasked, or is by NOOP. It does not wait for
// silence: a read that times out would end the connection's TLS.
func (c *client) quiet() {
	c.t.Helper()
	time.Sleep(3 * pushPause)
	if got := c.ok("NOOP"); len(got) > 0 {
		c.t.Fatalf("heard %q", got)
	}
}

func TestNotifySyntax(t *testing.T) {
	c := newHouse(t).login(t, "alice")
	badEvent := "NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)]"
	for command, want := range map[string]string{
		"NONE": "OK",
		"none": "OK",
		"SET (SELECTED (MessageNew MessageExpunge))":                            "OK",
		"set status (selected-delayed (messagenew (uid flags) messageexpunge))": "OK",
		"SET (SELECTED NONE)": "OK",
		"SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))":               "OK",
		"SET (SUBTREE (a b) (MailboxName SubscriptionChange)) (MAILBOXES INBOX NONE)":     "OK",
		"SET (INBOXES (MailboxMetadataChange)) (SUBSCRIBED (ServerMetadataChange))":       "OK",
		"SET (MAILBOXES none-such (MessageExpunge MessageNew))":                           "OK",
		"SET (SELECTED (MessageNew (BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge))": "OK",
		"":                                       "BAD",
		"SET":                                    "BAD",
		"SET ":                                   "BAD",
		"NONE x":                                 "BAD",
		"SET STATUS":                             "BAD",
		"SET (SELECTED)":                         "BAD",
		"SET (SELECTED ())":                      "BAD",
		"SET (MAILBOXES () NONE)":                "BAD",
		"SET (SELECTED (MessageNew))":            "BAD",
		"SET (SELECTED (MessageExpunge))":        "BAD",
		"SET (PERSONAL (FlagChange))":            "BAD",
		"SET (PERSONAL (FlagChange MessageNew))": "BAD",
		"SET (SELECTED (MailboxName))":           "BAD",
		"SET (SELECTED NONE) (SELECTED-DELAYED NONE)":                 "BAD",
		"SET (SELECTED NONE) (SELECTED NONE)":                         "BAD",
		"SET (PERSONAL (MessageNew (UID) MessageExpunge))":            "BAD",
		"SET (SELECTED (MessageNew () MessageExpunge))":               "BAD",
		"SET (SELECTED (MessageNew (NOSUCHITEM) MessageExpunge))":     "BAD",
		"SET (EVERYTHING (MailboxName))":                              "BAD",
		"SET (PERSONAL (AnnotationChange MessageNew MessageExpunge))": badEvent,
		"SET (PERSONAL (AnnotationChange))":                           badEvent,
		"SET (PERSONAL (VendorThing))":                                badEvent,
	} {
		c.no("NOTIFY "+command, want)
	}
	c.no("NOTIFY SET (MAILBOXES ("+strings.Repeat("x ", 1000)+"x) (MailboxName))", "NO [NOTIFICATIONOVERFLOW]")
	c.no("NOTIFY SET"+strings.Repeat(" (PERSONAL NONE)", 101), "NO [NOTIFICATIONOVERFLOW]")
	c.no("NOTIFY SET (PERSONAL (MailboxName))", "OK")
	if got := c.ok("CAPABILITY"); !strings.Contains(got[0]+" ", " NOTIFY ") {
		t.Errorf("%q", got)
	}
}

func TestNotifyMessages(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("CREATE work")
	c.ok("CREATE rest")
	other.ok("SELECT work")
	has(t, c.ok("NOTIFY SET STATUS (MAILBOXES (work none-such) (MessageNew MessageExpunge))"),
		fmt.Sprintf("* STATUS work (MESSAGES 0 UIDNEXT 1 UIDVALIDITY %d)", h.validity(t, "work")))
	v := h.validity(t, "work")
	h.deliver(t, 1, "work", mailText)
	c.hears(fmt.Sprintf("* STATUS work (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d)", v))
	h.deliver(t, 1, "rest", mailText)
	other.ok("NOOP")
	other.ok(`STORE 1 +FLAGS (\Deleted)`)
	c.quiet()
	other.ok("EXPUNGE")
	c.hears(fmt.Sprintf("* STATUS work (MESSAGES 0 UIDNEXT 2 UIDVALIDITY %d)", v))

	// One comes and one goes.
	has(t, c.ok("NOTIFY SET STATUS (MAILBOXES work (MessageNew FlagChange MessageExpunge))"),
		fmt.Sprintf("* STATUS work (MESSAGES 0 UIDNEXT 2 UIDVALIDITY %d UNSEEN 0 HIGHESTMODSEQ 4)", v))
	h.deliver(t, 1, "work", mailText)
	c.hears(fmt.Sprintf("* STATUS work (MESSAGES 1 UIDNEXT 3 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 5)", v))
	other.ok("NOOP")
	other.ok(`UID STORE 2 FLAGS (\Seen)`)
	c.hears(fmt.Sprintf("* STATUS work (MESSAGES 1 UIDNEXT 3 UIDVALIDITY %d UNSEEN 0 HIGHESTMODSEQ 6)", v))

	// What the session does itself is not told; what others do meanwhile is.
	c.ok("APPEND work {5+}\r\na\r\n\r\n")
	c.quiet()
	c.ok("NOTIFY NONE")
	h.deliver(t, 1, "work", mailText)
	c.quiet()

	// CONDSTORE has mod-sequences told always.
	c.ok("ENABLE CONDSTORE")
	c.ok("NOTIFY SET (SUBTREE work (MessageNew MessageExpunge))")
	h.deliver(t, 1, "work", mailText)
	c.hears(fmt.Sprintf("* STATUS work (MESSAGES 4 UIDNEXT 6 UIDVALIDITY %d HIGHESTMODSEQ 9)", v))
}

// validity gives the UIDVALIDITY of a mailbox of alice.
func (h *house) validity(t *testing.T, name string) uint32 {
	t.Helper()
	f, err := h.Mailboxes.Folder(t.Context(), 1, name)
	if err != nil {
		t.Fatal(err)
	}
	return f.UIDValidity
}

func TestNotifySelected(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 3)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	h.deliver(t, 1, "INBOX", mailText)
	has(t, c.ok("NOTIFY SET (SELECTED (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange))"), "* 4 EXISTS")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 5 EXISTS", "* 5 FETCH (UID 5 BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: hello\r\n\r\n)")
	other.ok(`STORE 1 FLAGS (\Flagged)`)
	c.hears(`* 1 FETCH (UID 1 FLAGS (\Flagged))`)
	other.ok(`STORE 1 FLAGS (\Deleted)`)
	c.hears(`* 1 FETCH (UID 1 FLAGS (\Deleted))`)
	other.ok(`EXPUNGE`)
	c.hears("* 1 EXPUNGE")

	// What it makes itself is told of by EXISTS alone.
	if got := c.ok("APPEND INBOX {5+}\r\na\r\n\r\n"); !slices.Equal(got, []string{"* 5 EXISTS"}) {
		t.Errorf("%q", got)
	}
	if got := c.ok("COPY 1 INBOX"); !slices.Equal(got, []string{"* 6 EXISTS"}) {
		t.Errorf("%q", got)
	}
	c.quiet()

	// Without FlagChange.
	c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge))")
	other.ok("NOOP")
	other.ok(`STORE 1 FLAGS (\Seen)`)
	c.quiet()
	if got := c.ok(`STORE 1 FLAGS (\Draft)`); !slices.Equal(got, []string{`* 1 FETCH (FLAGS (\Draft))`}) {
		t.Errorf("%q", got)
	}
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 7 EXISTS")
}

// SELECTED-DELAYED keeps the numbers between commands.
func TestNotifyDelayed(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 3)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	c.ok("NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))")
	other.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 4 EXISTS")
	has(t, c.ok("FETCH 3 UID"), "* 3 FETCH (UID 3)")
	has(t, c.ok("NOOP"), "* 2 EXPUNGE")
	other.ok("NOOP")
	other.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.quiet()
	c.send("i IDLE\r\n")
	c.hears("+ idling")
	other.ok("EXPUNGE")
	c.hears("* 1 EXPUNGE")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 3 EXISTS")
	c.send("DONE\r\n")
	c.hears("i OK IDLE completed")
}

// Who does not want to hear of the selected mailbox has it as it was.
func TestNotifySnapshot(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 3)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	for _, command := range []string{"NOTIFY NONE", "NOTIFY SET (SELECTED NONE)", "NOTIFY SET (MAILBOXES Sent (MessageNew MessageExpunge))"} {
		h.deliver(t, 1, "INBOX", mailText)
		c.ok(command)
		c.ok("NOOP") // nothing or what there was
		other.ok("NOOP")
		other.ok(`STORE 1 +FLAGS (\Deleted)`)
		other.ok("EXPUNGE")
		h.deliver(t, 1, "INBOX", mailText)
		c.quiet()
		c.send("i IDLE\r\n")
		c.hears("+ idling")
		time.Sleep(2 * pushPause)
		c.send("DONE\r\n")
		c.hears("i OK IDLE completed")
	}
	// Its own work is told.
	c.ok(`STORE 3 +FLAGS (\Deleted)`)
	if got := c.ok("EXPUNGE"); len(got) < 2 {
		t.Errorf("%q", got)
	}
	h.deliver(t, 1, "INBOX", mailText)
	c.quiet()
	if got := c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge))"); len(got) == 0 {
		t.Error("what came meanwhile is not told")
	}
}

func TestNotifyNames(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("NOTIFY SET (PERSONAL (MailboxName SubscriptionChange))")
	other.ok("CREATE a")
	c.hears(`* LIST (\HasNoChildren) "/" a`)
	other.ok("CREATE a/b")
	c.hears(`* LIST (\HasChildren) "/" a`, `* LIST (\HasNoChildren) "/" a/b`)
	other.ok("SUBSCRIBE a/b")
	c.hears(`* LIST (\HasNoChildren \Subscribed) "/" a/b`)
	other.ok("RENAME a z")
	c.hears(`* LIST (\HasChildren) "/" z ("OLDNAME" (a))`, `* LIST (\HasNoChildren) "/" z/b ("OLDNAME" (a/b))`)
	other.ok("UNSUBSCRIBE a/b")
	c.hears(`* LIST (\NonExistent) "/" a/b`)
	other.ok("SUBSCRIBE later")
	c.hears(`* LIST (\NonExistent \Subscribed) "/" later`)
	other.ok("CREATE later")
	c.hears(`* LIST (\HasNoChildren \Subscribed) "/" later`)
	other.ok("DELETE z/b")
	c.hears(`* LIST (\NonExistent) "/" z/b`, `* LIST (\HasNoChildren) "/" z`)
	other.ok("RENAME INBOX old")
	c.hears(`* LIST (\HasNoChildren) "/" old`)
	h.deliver(t, 1, "z", mailText)
	c.quiet()

	// Its own work is not told, nor what it makes of others' attributes.
	for _, command := range []string{"CREATE q/r/s", "CREATE q", "RENAME q p", "SUBSCRIBE p", "UNSUBSCRIBE p", "DELETE p/r/s", "DELETE p", "RENAME z y"} {
		c.ok(command)
		c.quiet()
	}
	// What is not in the subtree is not told, what comes or goes is.
	c.ok("NOTIFY SET (SUBTREE y (MailboxName))")
	other.ok("CREATE x")
	other.ok("CREATE yy")
	c.quiet()
	c.ok("NOTIFY SET (SUBTREE y (MailboxName))") // knows x by now
	other.ok("RENAME x y/x")
	c.hears(`* LIST (\HasNoChildren) "/" y/x ("OLDNAME" (x))`, `* LIST (\HasChildren) "/" y`)
	other.ok("RENAME y/x x")
	c.hears(`* LIST (\HasNoChildren) "/" x ("OLDNAME" (y/x))`, `* LIST (\HasNoChildren) "/" y`)

	// Who leaves a name is told before who takes it.
	c.ok("NOTIFY SET (PERSONAL (MailboxName))")
	other.send("r RENAME x zz\r\nc CREATE x\r\n")
	c.hears(`* LIST (\HasNoChildren) "/" zz ("OLDNAME" (x))`, `* LIST (\HasNoChildren) "/" x`)
}

// Pushes come while a command is being sent, too, and do not disturb it.
func TestNotifyDuringCommand(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 3)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MailboxName))")
	for i, command := range []string{"APPEND Sent ", "UID REPLACE 3 Sent ", `APPEND Sent CATENATE (URL "/INBOX/;UID=2" TEXT `} {
		c.send("a " + command + "{10}\r\n")
		c.hears("+ OK")
		c.send("abc")
		other.ok(fmt.Sprintf("STORE 2 FLAGS (k%d)", i))
		for !strings.HasPrefix(c.line(), "* 2 FETCH (UID 2 FLAGS (k") { // FLAGS come first
		}
		other.ok(fmt.Sprintf("CREATE n%d", i))
		c.hears(fmt.Sprintf(`* LIST (\HasNoChildren) "/" n%d`, i))
		h.deliver(t, 1, "INBOX", mailText)
		if line := c.line(); !strings.HasSuffix(line, " EXISTS") {
			t.Errorf("heard %q", line)
		}
		end := ""
		if i == 2 {
			end = ")"
		}
		c.send("\r\n\r\nend" + end + "\r\n")
		for line := ""; !strings.HasPrefix(line, "a OK "); {
			if line = c.line(); strings.HasPrefix(line, "a NO") || strings.HasPrefix(line, "a BAD") {
				t.Fatalf("%s: %q", command, line)
			}
		}
	}
}

// A live search tells of what comes into it, with NOTIFY in one FETCH.
func TestNotifyContext(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	other.ok("SELECT INBOX")
	c.ok("SELECT INBOX")
	c.no("UID SEARCH RETURN (UPDATE ()) ALL", "BAD")
	c.no("UID SEARCH RETURN (UPDATE (NOSUCHITEM)) ALL", "BAD")
	c.ok("UID SEARCH RETURN (COUNT UPDATE (RFC822.SIZE) MIN) SUBJECT hello") // t5
	h.deliver(t, 1, "INBOX", mailText)
	h.deliver(t, 1, "INBOX", "Subject: other\r\n\r\n")
	if got, want := c.ok("NOOP"), []string{"* 2 EXISTS", "* 1 FETCH (RFC822.SIZE 46)", `* ESEARCH (TAG "t5") UID ADDTO (0 1)`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.ok("NOTIFY SET (SELECTED (MessageNew (UID RFC822.SIZE) MessageExpunge FlagChange))")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 3 EXISTS", "* 3 FETCH (UID 3 RFC822.SIZE 46)", `* ESEARCH (TAG "t5") UID ADDTO (0 3)`)
	h.deliver(t, 1, "INBOX", "Subject: other\r\n\r\n")
	c.hears("* 4 EXISTS", "* 4 FETCH (UID 4 RFC822.SIZE 18)")
	c.ok("NOTIFY SET (SELECTED (MessageNew (UID) MessageExpunge FlagChange))")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 5 EXISTS", "* 5 FETCH (UID 5 RFC822.SIZE 46)", `* ESEARCH (TAG "t5") UID ADDTO (0 5)`)
	if got, want := c.ok("COPY 1 INBOX"), []string{"* 6 EXISTS", `* ESEARCH (TAG "t5") UID ADDTO (0 6)`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	// Flags that change what is found are no reason for FETCH of more than them.
	c.ok("UID SEARCH RETURN (UPDATE (RFC822.SIZE)) FLAGGED")
	other.ok("NOOP")
	other.ok(`STORE 2 FLAGS (\Flagged)`)
	c.hears(`* 2 FETCH (UID 2 FLAGS (\Flagged))`, `* ESEARCH (TAG "t10") UID ADDTO (0 2)`)
}

func TestNotifyMetadata(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("CREATE a")
	c.ok(`SETMETADATA a (/private/old "x" /private/same "x")`)
	c.ok("NOTIFY SET (MAILBOXES a (MailboxMetadataChange)) (PERSONAL (ServerMetadataChange))")
	other.ok(`SETMETADATA a (/private/comment "x" /shared/comment "y" /private/old NIL /private/same "x")`)
	c.hears("* METADATA a /private/comment /private/old /shared/comment")
	other.ok(`SETMETADATA "" (/private/comment "x")`)
	c.hears(`* METADATA "" /private/comment`)
	other.ok(`SETMETADATA "" (/private/comment NIL)`)
	c.hears(`* METADATA "" /private/comment`)
	other.ok(`SETMETADATA Sent (/private/comment "x")`)
	c.ok(`SETMETADATA a (/private/comment NIL /private/b "x")`)
	c.ok(`SETMETADATA "" (/private/comment "z")`)
	c.quiet()
	other.ok(`SETMETADATA a (/private/b "y")`)
	c.hears("* METADATA a /private/b")
}

// What others share is watched as far as rights go, and as long.
func TestNotifyShared(t *testing.T) {
	h := newHouse(t)
	alice, bob := h.login(t, "alice"), h.login(t, "bob")
	alice.ok("CREATE team")
	alice.ok("CREATE secret")
	const team = `"Other Users/alice@example.test/team"`
	bob.ok(`NOTIFY SET (SUBTREE "Other Users" (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange))`)
	h.deliver(t, 1, "team", mailText)
	bob.quiet()
	alice.ok("SETACL team bob@example.test lr")
	v := h.validity(t, "team")
	bob.hears(`* LIST (\HasNoChildren) "/" ` + team)
	bob.hears(fmt.Sprintf("* STATUS %s (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 2)", team, v))
	h.deliver(t, 1, "team", mailText)
	bob.hears(fmt.Sprintf("* STATUS %s (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d UNSEEN 2 HIGHESTMODSEQ 3)", team, v))
	h.deliver(t, 1, "secret", mailText)
	h.deliver(t, 1, "INBOX", mailText)
	alice.ok(`SETMETADATA secret (/shared/comment "x")`)
	alice.ok("CREATE secret/more")
	alice.ok("RENAME secret silent")
	bob.quiet()
	alice.ok(`SETMETADATA team (/shared/comment "x" /private/comment "mine")`)
	bob.hears("* METADATA " + team + " /shared/comment")

	// No reading, then not even looking up.
	alice.ok("SETACL team bob@example.test l")
	bob.hears(`* LIST (\NoAccess \HasNoChildren) "/" ` + team)
	h.deliver(t, 1, "team", mailText)
	bob.quiet()
	alice.ok("SETACL team bob@example.test r")
	bob.hears(`* LIST (\NoAccess \NonExistent) "/" ` + team)
	h.deliver(t, 1, "team", mailText)
	alice.ok(`SETMETADATA team (/shared/comment "z")`)
	alice.ok("CREATE team/below")
	bob.quiet()
	alice.ok("SETACL team anyone lr")
	bob.hears(`* LIST (\HasNoChildren) "/" ` + team)
	bob.hears(fmt.Sprintf("* STATUS %s (MESSAGES 4 UIDNEXT 5 UIDVALIDITY %d UNSEEN 4 HIGHESTMODSEQ 5)", team, v))
	bob.hears("* METADATA " + team + " /shared/comment")
	alice.ok("DELETE team/below")
	alice.ok("DELETE team")
	bob.hears(`* LIST (\NonExistent) "/" ` + team)

	// At the beginning, a mailbox that cannot be read is named.
	alice.ok("CREATE team")
	alice.ok("SETACL team bob@example.test l")
	bob.hears(`* LIST (\NoAccess \HasNoChildren) "/" ` + team)
	got := bob.ok("NOTIFY SET STATUS (MAILBOXES (" + team + ` "Other Users/alice@example.test/INBOX") (MessageNew MessageExpunge))`)
	if want := []string{`* LIST (\NoAccess \HasNoChildren) "/" ` + team}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// PERSONAL is one's own.
	bob.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName))")
	alice.ok("SETACL team bob@example.test lr")
	h.deliver(t, 1, "team", mailText)
	bob.quiet()
	// A subscription is watched where it leads.
	bob.ok("NOTIFY SET (SUBSCRIBED (MessageNew MessageExpunge SubscriptionChange))")
	h.deliver(t, 1, "team", mailText)
	bob.quiet()
	bob2 := h.login(t, "bob")
	bob2.ok("SUBSCRIBE " + team)
	bob.hears(`* LIST (\HasNoChildren \Subscribed) "/" ` + team)
	bob.hears(fmt.Sprintf("* STATUS %s (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d)", team, h.validity(t, "team"))) // what came before
	h.deliver(t, 1, "team", mailText)
	bob.hears(fmt.Sprintf("* STATUS %s (MESSAGES 3 UIDNEXT 4 UIDVALIDITY %d)", team, h.validity(t, "team")))
	bob2.ok("UNSUBSCRIBE " + team)
	bob.hears(`* LIST (\HasNoChildren) "/" ` + team)
	h.deliver(t, 1, "team", mailText)
	bob.quiet()
}

// A mailbox counts as others while it is not selected.
func TestNotifyUnselect(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 1)
	c := h.login(t, "alice")
	v := h.validity(t, "INBOX")
	c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MessageNew MessageExpunge))")
	c.ok("SELECT INBOX")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 2 EXISTS")
	c.ok("UNSELECT")
	c.quiet()
	h.deliver(t, 1, "INBOX", mailText)
	c.hears(fmt.Sprintf("* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY %d)", v))
	// What was not told while it was selected is told now.
	c.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge))")
	c.ok("SELECT INBOX")
	h.deliver(t, 1, "INBOX", mailText)
	c.quiet()
	c.send("u UNSELECT\r\n")
	c.hears("u OK UNSELECT completed", fmt.Sprintf("* STATUS INBOX (MESSAGES 4 UIDNEXT 5 UIDVALIDITY %d)", v))
}

func TestNotifyExtensions(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 3)
	c, u, other := h.login(t, "alice"), h.login(t, "alice"), h.login(t, "alice")
	c.ok("ENABLE QRESYNC")
	c.ok("SELECT INBOX")
	u.ok("ENABLE UIDONLY")
	u.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	c.ok("NOTIFY SET (SELECTED (MessageNew (FLAGS) MessageExpunge FlagChange))")
	u.ok("NOTIFY SET (SELECTED (MessageNew (FLAGS MODSEQ) MessageExpunge FlagChange))")
	other.ok(`STORE 2 +FLAGS (\Seen)`)
	c.hears(`* 2 FETCH (UID 2 FLAGS (\Seen) MODSEQ (5))`)
	u.hears(`* 2 UIDFETCH (FLAGS (\Seen) MODSEQ (5))`)
	other.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	c.hears(`* 2 FETCH (UID 2 FLAGS (\Deleted \Seen) MODSEQ (6))`)
	u.hears(`* 2 UIDFETCH (FLAGS (\Deleted \Seen) MODSEQ (6))`)
	other.ok("EXPUNGE")
	c.hears("* VANISHED 2")
	u.hears("* VANISHED 2")
	h.deliver(t, 1, "INBOX", mailText)
	c.hears("* 3 EXISTS", "* 3 FETCH (FLAGS ())")
	u.hears("* 3 EXISTS", "* 4 UIDFETCH (FLAGS () MODSEQ (8))")
	c.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge))")
	h.deliver(t, 1, "Sent", mailText)
	c.hears(fmt.Sprintf("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d HIGHESTMODSEQ 2)", h.validity(t, "Sent")))
}

// A mailbox that is deleted while it is selected ends the session at once.
func TestNotifySelectedDeleted(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	other.ok("CREATE a")
	c.ok("SELECT a")
	c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge))")
	other.ok("DELETE a")
	c.hears("* BYE The selected mailbox was deleted")
}

// What comes in a burst is told at once, whatever it is.
func TestNotifyBurst(t *testing.T) {
	h := newHouse(t)
	c, other := h.login(t, "alice"), h.login(t, "alice")
	c.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))")
	start := time.Now()
	for range 1000 {
		h.deliver(t, 1, "Sent", mailText)
	}
	took, n := time.Since(start), 0
	for line := ""; !strings.Contains(line, "MESSAGES 1000 "); n++ {
		line = c.line()
	}
	t.Logf("1000 deliveries in %v gave %d responses", took, n)
	if most := 2 + int(took/pushPause); n > most {
		t.Errorf("more than %d", most)
	}
	// More folders than are looked at one by one.
	for i := range 2 * maxSingly {
		other.ok(fmt.Sprintf("CREATE f%03d", i))
	}
	for i := range 2 * maxSingly {
		c.hears(fmt.Sprintf(`* LIST (\HasNoChildren) "/" f%03d`, i))
	}
	c.quiet()
}

// What becomes too much while it is watched ends it.
func TestNotifyOverflow(t *testing.T) {
	h := newHouse(t)
	near, far := pipe()
	server := &Server{TLS: h.TLS, Mailboxes: h.Mailboxes, SASL: h.SASL, Account: h.Account, Owner: h.Owner, Address: h.Address, Shelf: h.Shelf}
	server.init()
	session := newConn(server, far)
	session.account, session.name = 1, "1"
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		session.Run(t.Context())
	}()
	c, other := &client{t: t, nc: near, r: bufio.NewReader(near)}, h.login(t, "alice")
	c.line()
	c.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MailboxName MailboxMetadataChange))")
	session.work.Lock()
	session.watching.noted = maxNoted
	session.work.Unlock()
	other.ok(`SETMETADATA INBOX (/private/comment "x")`)
	c.hears("* OK [NOTIFICATIONOVERFLOW] That is too much to watch")
	other.ok("CREATE a")
	c.quiet()
	c.ok("SELECT INBOX")
	h.deliver(t, 1, "INBOX", mailText)
	c.quiet()
	c.ok("NOTIFY SET (PERSONAL (MailboxName))")
	other.ok("CREATE b")
	c.hears(`* LIST (\HasNoChildren) "/" b`)
	near.Close()
	<-ended
	session.work.Lock()
	defer session.work.Unlock()
	if session.watching != nil || session.push.notifying.Load() {
		t.Error("a session that ended still watches")
	}
}
