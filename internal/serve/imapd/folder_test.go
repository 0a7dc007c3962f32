package imapd

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// onBoth runs a test on SQLite and PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, h *house)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newHouseOn(t, dbtest.SQLite(t))) })
	t.Run("postgres", func(t *testing.T) { f(t, newHouseOn(t, dbtest.Postgres(t))) })
}

// says fails unless the command succeeds with exactly these responses, in any
// order.
func (c *client) says(command string, want ...string) {
	c.t.Helper()
	got := c.ok(command)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s:\n%s\nwant\n%s", command, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// empty takes the folders away that every account begins with, but the INBOX.
func (c *client) empty() {
	c.t.Helper()
	for _, name := range specialUses {
		c.ok("DELETE " + name)
		c.ok("UNSUBSCRIBE " + name)
	}
	c.ok("UNSUBSCRIBE INBOX")
}

func TestListFirstFolders(t *testing.T) {
	c := newHouse(t).login(t, "alice")
	c.says(`LIST "" *`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren \Archive) "/" Archive`,
		`* LIST (\HasNoChildren \Drafts) "/" Drafts`, `* LIST (\HasNoChildren \Junk) "/" Junk`,
		`* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST (\HasNoChildren \Trash) "/" Trash`)
	c.says(`LIST "" ""`, `* LIST (\Noselect) "/" ""`)
	c.says(`LIST "x/y" ""`, `* LIST (\Noselect) "/" ""`)
	c.says(`LIST "Other Users/bob" ""`, `* LIST (\Noselect) "/" "Other Users/"`)
	c.says(`LSUB "" ""`, `* LSUB (\Noselect) "/" ""`)
	c.says(`LIST "" inbox`, `* LIST (\HasNoChildren) "/" INBOX`)
	c.says(`LIST "In" box`, `* LIST (\HasNoChildren) "/" INBOX`)
	c.says(`LIST () "" ("")`)
	c.says(`LIST "" nowhere`)
	c.says(`LIST (SPECIAL-USE SUBSCRIBED) "" "S%" RETURN (SPECIAL-USE CHILDREN)`, `* LIST (\HasNoChildren \Subscribed \Sent) "/" Sent`)
	c.says(`NAMESPACE`, `* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL`)
}

func TestList(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		c.empty()
		for _, n := range []string{"a", "a/b", "m/n/o", `"with%20space"`, `"two words"`, "t3/t4/t5", "t3/t4"} {
			if _, tagged := c.do("CREATE " + n); strings.Contains(n, "%") != strings.HasPrefix(tagged, "NO [CANNOT]") {
				t.Fatal(n, tagged)
			}
		}
		c.says(`LIST "" %`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasChildren) "/" a`,
			`* LIST (\NonExistent \Noselect \HasChildren) "/" m`, `* LIST (\HasNoChildren) "/" "two words"`,
			`* LIST (\NonExistent \Noselect \HasChildren) "/" t3`)
		// With * the levels that are no mailboxes would say nothing new.
		c.says(`LIST "" m*`, `* LIST (\HasNoChildren) "/" m/n/o`)
		c.says(`LIST "m/" %`, `* LIST (\NonExistent \Noselect \HasChildren) "/" m/n`)
		c.says(`LIST "" (m % a/%) RETURN ()`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasChildren) "/" a`, `* LIST (\HasNoChildren) "/" a/b`,
			`* LIST (\NonExistent \HasChildren) "/" m`, `* LIST (\HasNoChildren) "/" "two words"`, `* LIST (\NonExistent \HasChildren) "/" t3`)
		c.says(`LIST "" %3/%`, `* LIST (\HasChildren) "/" t3/t4`)
		c.says(`LIST "" "*2"`)
		c.says(`LIST (REMOTE) "" a`, `* LIST (\HasChildren) "/" a`)
		c.says(`LIST "" a RETURN (MYRIGHTS)`, `* LIST (\HasChildren) "/" a`, `* MYRIGHTS a lrswipkxteacd`)
		c.says(`list "" % return (status (messages unseen))`,
			`* LIST (\HasNoChildren) "/" INBOX`, `* STATUS INBOX (MESSAGES 0 UNSEEN 0)`,
			`* LIST (\HasChildren) "/" a`, `* STATUS a (MESSAGES 0 UNSEEN 0)`,
			`* LIST (\NonExistent \HasChildren) "/" m`, `* LIST (\NonExistent \HasChildren) "/" t3`,
			`* LIST (\HasNoChildren) "/" "two words"`, `* STATUS "two words" (MESSAGES 0 UNSEEN 0)`)
		for _, bad := range []string{`LIST`, `LIST ""`, `LIST "" % RETURN`, `LIST "" % RETURN (NONSENSE)`, `LIST (NONSENSE) "" %`,
			`LIST (RECURSIVEMATCH) "" %`, `LIST (RECURSIVEMATCH REMOTE) "" %`, `LIST "" % RETURN (STATUS)`, `LIST "" % RETURN (STATUS (X))`,
			`LIST "" % RETURN CHILDREN`, `LIST "" (%`, `LIST "" (` + strings.Repeat("% ", maxPatterns) + `%)`, "LIST \"\" \"\xff\""} {
			c.no(bad, "BAD")
			c.ok("NOOP")
		}
	})
}

// TestRecursiveMatch is example 9 of RFC 5258 section 5, and example 8.
func TestRecursiveMatch(t *testing.T) {
	c := newHouse(t).login(t, "alice")
	c.empty()
	for _, n := range []string{"foo2", "foo2/bar1", "foo2/bar2", "baz2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2", "eps2/mamba", "qux2/bar2"} {
		c.ok("CREATE " + n)
		if n != "foo2" && n != "baz2" {
			c.ok("SUBSCRIBE " + n)
		}
	}
	c.says(`LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"`,
		`* LIST (\HasChildren) "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))`, `* LIST (\HasNoChildren \Subscribed) "/" foo2/bar2`,
		`* LIST (\HasNoChildren \Subscribed) "/" baz2/bar2`, `* LIST (\HasNoChildren \Subscribed) "/" baz2/bar22`,
		`* LIST (\HasNoChildren \Subscribed) "/" baz2/bar222`,
		`* LIST (\HasChildren \Subscribed) "/" eps2 ("CHILDINFO" ("SUBSCRIBED"))`, `* LIST (\HasNoChildren \Subscribed) "/" qux2/bar2`)
	c.says(`LIST (SUBSCRIBED RECURSIVEMATCH) "" q%`, `* LIST (\NonExistent \HasChildren) "/" qux2 ("CHILDINFO" ("SUBSCRIBED"))`)
	c.says(`LIST (SUBSCRIBED) "" q%`)
	c.says(`LIST (SPECIAL-USE RECURSIVEMATCH) "" *`)
}

func TestSubscriptions(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		c.empty()
		c.ok("CREATE sub")
		c.ok("CREATE sub/x")
		c.ok("SUBSCRIBE sub/x")
		c.ok("SUBSCRIBE gone/y")
		c.ok("SUBSCRIBE inbox")
		c.says(`LSUB "" *`, `* LSUB () "/" INBOX`, `* LSUB () "/" sub/x`, `* LSUB () "/" gone/y`)
		c.says(`LSUB "" %`, `* LSUB () "/" INBOX`, `* LSUB (\Noselect) "/" sub`, `* LSUB (\Noselect) "/" gone`)
		c.says(`LSUB "sub/" %`, `* LSUB () "/" sub/x`)
		c.says(`LIST (SUBSCRIBED) "" *`, `* LIST (\HasNoChildren \Subscribed) "/" INBOX`, `* LIST (\HasNoChildren \Subscribed) "/" sub/x`,
			`* LIST (\NonExistent \Subscribed) "/" gone/y`)
		c.says(`LIST "" (sub sub/%) RETURN (SUBSCRIBED)`, `* LIST (\HasChildren) "/" sub`, `* LIST (\HasNoChildren \Subscribed) "/" sub/x`)
		c.says(`LIST "" gone`) // a subscription is no mailbox
		c.ok("RENAME sub/x sub/z")
		c.says(`LSUB "" sub/*`, `* LSUB () "/" sub/x`) // RFC 9051 6.3.7: the server takes no name away
		c.ok("DELETE sub/z")
		c.ok("UNSUBSCRIBE sub/x")
		c.ok("UNSUBSCRIBE sub/x")
		c.says(`LSUB "" sub/*`)
		c.no(`SUBSCRIBE a//b`, "NO [CANNOT]")
		c.no(`SUBSCRIBE "Other Users/nobody@example.test/INBOX"`, "NO [NONEXISTENT]")
		c.ok(`UNSUBSCRIBE "Other Users/nobody@example.test/INBOX"`)
	})
}

func TestCreateDelete(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		_, tagged := c.do("CREATE new/")
		f, err := h.Mailboxes.Folder(context.Background(), 1, "new")
		if want := fmt.Sprintf("OK [MAILBOXID (F%d)] ", f.ID); err != nil || !strings.HasPrefix(tagged, want) {
			t.Fatal(tagged, err)
		}
		c.no("CREATE new", "NO [ALREADYEXISTS]")
		c.no("CREATE Inbox", "NO [ALREADYEXISTS]")
		for _, name := range []string{`""`, "/", "a//b", "/a", "new//", "a/../b", "a/./b", "#news", `"\\x"`, `"a*"`, "{3}\r\na\x01b",
			`"` + strings.Repeat("x", 256) + `"`, strings.Repeat("a/", 25) + "a", `"Other Users"`} {
			if strings.HasPrefix(name, "{") {
				name = strings.Replace(name, "}", "+}", 1)
			}
			c.no("CREATE "+name, "NO [CANNOT]")
		}
		c.no(`CREATE "Other Users/bob@example.test/x"`, "NO [NOPERM]")
		c.no(`CREATE "Other Users/bob@example.test/INBOX/x"`, "NO [NOPERM]")
		c.no(`CREATE "Other Users/nobody@example.test/INBOX/x"`, "NO [NOPERM]")
		c.no(`CREATE "Other Users/x"`, "NO [NONEXISTENT]")
		c.no("CREATE", "BAD")
		c.no("CREATE x (NONSENSE)", "BAD")
		c.no("DELETE nowhere", "NO [NONEXISTENT]")
		c.no("DELETE INBOX", "NO [CANNOT]")
		c.ok("CREATE top/low")
		c.no("DELETE top", "NO [NONEXISTENT]")
		c.ok("CREATE top")
		c.ok("DELETE top")
		c.says(`LIST "" top%`, `* LIST (\NonExistent \Noselect \HasChildren) "/" top`)
		c.ok("DELETE top/low")
		c.says(`LIST "" top%`)
		c.no(`DELETE "Other Users/bob@example.test/Sent"`, "NO [NONEXISTENT]")
	})
}

func TestSpecialUse(t *testing.T) {
	c := newHouse(t).login(t, "alice")
	c.no(`CREATE Bin (USE (\Trash))`, "NO [USEATTR]")
	c.no(`CREATE Every (USE (\All))`, "NO [USEATTR]")
	c.no(`CREATE Two (USE (\Trash \Sent))`, "NO [USEATTR]")
	c.no(`CREATE Trash (USE (\Trash))`, "NO [ALREADYEXISTS]")
	c.ok(`DELETE Trash`)
	c.ok(`CREATE "Papierkorb" (USE (\trash))`)
	c.says(`LIST (SPECIAL-USE) "" P%`, `* LIST (\HasNoChildren \Trash) "/" Papierkorb`)
	c.ok(`CREATE Plain (USE ())`)
}

func TestRename(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		c.empty()
		c.ok("CREATE a/b/c")
		c.ok("CREATE a/b")
		c.ok("RENAME a z/y/")
		c.says(`LIST "" z*`, `* LIST (\HasChildren) "/" z/y/b`, `* LIST (\HasNoChildren) "/" z/y/b/c`)
		c.no("RENAME a x", "NO [NONEXISTENT]")
		c.no("RENAME z/y/b z/y/b/d", "NO [CANNOT]")
		c.no("RENAME z/y/b INBOX", "NO [ALREADYEXISTS]")
		c.no("RENAME z/y/b/c z/y/b", "NO [ALREADYEXISTS]")
		c.no("RENAME z/y/b a//b", "NO [CANNOT]")
		c.no(`RENAME z/y/b "Other Users"`, "NO [CANNOT]")
		c.no(`RENAME z/y/b "Other Users/bob@example.test/b"`, "NO [NOPERM]")
		c.no(`RENAME "Other Users/bob@example.test/Sent" mine`, "NO [NONEXISTENT]")
		h.deliver(t, 1, "", "Subject: one\r\n\r\ntext\r\n")
		c.ok("CREATE INBOX/below")
		c.ok("RENAME inbox old")
		c.says(`STATUS old (MESSAGES UNSEEN)`, `* STATUS old (MESSAGES 1 UNSEEN 1)`)
		c.says(`STATUS INBOX (MESSAGES)`, `* STATUS INBOX (MESSAGES 0)`)
		c.says(`LIST "" INBOX*`, `* LIST (\HasChildren) "/" INBOX`, `* LIST (\HasNoChildren) "/" INBOX/below`)
	})
}

func TestStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.login(t, "alice")
		h.deliver(t, 1, "", "Subject: one\r\n\r\ntext\r\n")
		h.deliver(t, 1, "", "Subject: two\r\n\r\ntext\r\n")
		f, err := h.Mailboxes.Folder(t.Context(), 1, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Mailboxes.StoreFlags(t.Context(), f.ID, mailbox.All[:1], mailbox.FlagChange{Op: mailbox.Add, Flags: mailbox.Deleted | mailbox.Seen, Unless: -1}); err != nil {
			t.Fatal(err)
		}
		h.deliver(t, 1, "", "Subject: three\r\n\r\n")
		f, _ = h.Mailboxes.Folder(t.Context(), 1, "INBOX")
		want := fmt.Sprintf(`* STATUS INBOX (MESSAGES 3 RECENT 0 UIDNEXT 4 UIDVALIDITY %d UNSEEN 1 SIZE 62 DELETED 2 HIGHESTMODSEQ %d APPENDLIMIT 104857600 MAILBOXID (F%d) DELETED-STORAGE 44)`,
			f.UIDValidity, f.ModSeq, f.ID)
		ask := "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE DELETED HIGHESTMODSEQ APPENDLIMIT MAILBOXID DELETED-STORAGE)"
		c.says("STATUS inbox "+ask, want)
		c.ok("SELECT INBOX")
		has(t, c.ok("STATUS INBOX "+ask), want) // news of the selected mailbox may come with it
		c.no("STATUS nowhere (MESSAGES)", "NO [NONEXISTENT]")
		c.no(`STATUS "" (MESSAGES)`, "NO [CANNOT]")
		c.no(`STATUS "Other Users/bob@example.test/INBOX" (MESSAGES)`, "NO [NONEXISTENT]")
		c.no(`STATUS "Other Users/nobody@example.test/INBOX" (MESSAGES)`, "NO [NONEXISTENT]")
		c.no("STATUS INBOX (NONSENSE)", "BAD")
		c.no("STATUS INBOX MESSAGES", "BAD")
		c.no("STATUS INBOX", "BAD")
	})
}

func TestStatusRecent(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Shelf = &Shelf{} })
	c := h.login(t, "alice")
	h.deliver(t, 1, "", "Subject: one\r\n\r\ntext\r\n")
	c.says("STATUS INBOX (RECENT)", "* STATUS INBOX (RECENT 1)")
	c.says("STATUS INBOX (RECENT)", "* STATUS INBOX (RECENT 1)") // asking is not being told
	c.ok("SELECT INBOX")
	c.says("STATUS INBOX (RECENT)", "* STATUS INBOX (RECENT 0)")
}

func TestNames(t *testing.T) {
	c := newHouse(t).login(t, "alice")
	c.empty()
	for name, shown := range map[string]string{
		"&ZeVnLIqe-":          "&ZeVnLIqe-",          // 日本語
		"&ZeVnLIqe-/&g0l6Pw-": "&ZeVnLIqe-/&g0l6Pw-", // a level below
		"R&-D":                "R&-D",
		`"quo\"te"`:           `"quo\"te"`,
		`"back\\slash"`:       `"back\\slash"`,
		"nil":                 `"nil"`,
		"e&AwE-":              "&AOk-", // NFC
		"{3+}\r\n(a)":         `"(a)"`,
		"a]b":                 "a]b",
	} {
		c.ok("CREATE " + name)
		found := false
		for _, line := range c.ok(`LIST "" *`) {
			found = found || strings.HasSuffix(line, `"/" `+shown)
		}
		if !found {
			t.Errorf("%q is not listed as %q: %q", name, shown, c.ok(`LIST "" *`))
		}
		c.ok("STATUS " + name + " (MESSAGES)")
	}
	c.says(`LIST "&ZeVnLIqe-/" %`, `* LIST (\HasNoChildren) "/" &ZeVnLIqe-/&g0l6Pw-`)
	c.says(`LIST "" &ZeVnLIqe-`, `* LIST (\HasChildren) "/" &ZeVnLIqe-`)
	c.no("CREATE &bad", "OK") // broken modified UTF-7 is what it looks like
	c.says("LIST \"\" &bad", `* LIST (\HasNoChildren) "/" &-bad`)
}

// TestRev2 is what differs for clients of IMAP4rev2.
func TestRev2(t *testing.T) {
	h := newHouse(t)
	h.login(t, "bob").ok("SETACL Sent alice@example.test lr")
	c := h.login(t, "alice")
	c.empty()
	c.ok("ENABLE IMAP4rev2")
	c.says("CREATE plain")
	c.says("CREATE inbox/x", `* LIST (\HasNoChildren) "/" INBOX/x ("OLDNAME" (inbox/x))`)
	c.says("RENAME INBOX/x up/日本", `* LIST (\HasNoChildren) "/" "up/日本" ("OLDNAME" (INBOX/x))`)
	c.says(`LIST "" %`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren) "/" plain`, `* LIST (\NonExistent \HasChildren) "/" up`,
		`* LIST (\NonExistent \HasChildren) "/" "Other Users"`)
	c.says(`LIST "" "*本"`, `* LIST (\HasNoChildren) "/" "up/日本"`)
	c.says("STATUS \"up/日本\" (MESSAGES)", `* STATUS "up/日本" (MESSAGES 0)`)
	c.ok("CREATE &ZeVnLIqe-") // is not decoded any more
	c.says(`LIST "" &*`, `* LIST (\HasNoChildren) "/" &ZeVnLIqe-`)
	has(t, c.ok("SELECT inbox"), `* LIST () "/" INBOX`)
	has(t, c.ok(`SELECT "Other Users/bob@example.test/Sent"`), `* LIST () "/" "Other Users/bob@example.test/Sent"`)
	d := h.login(t, "alice")
	d.says(`LIST "" up/%`, `* LIST (\HasNoChildren) "/" up/&ZeVnLA-`)
	d.ok("SELECT INBOX")
	f, _ := h.Mailboxes.Folder(t.Context(), 1, "INBOX")
	has(t, d.ok("STATUS up/&ZeVnLA- (HIGHESTMODSEQ)"), fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest mod-sequence", f.ModSeq))
}

// fillFolders gives an account n folders, the first ones included.
func (h *house) fillFolders(t testing.TB, account int64, n int) {
	t.Helper()
	first, err := h.Mailboxes.Folders(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Mailboxes.DB.Write(t.Context(), func(tx *db.Tx) error {
		for i := range n - len(first) {
			if _, err := tx.Exec(`INSERT INTO mailbox (account, name, uidvalidity, created) VALUES (?, ?, 1, 1)`, account, fmt.Sprintf("dir%d/sub%d/folder%d", i%10, i%100, i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyFolders counts; BenchmarkList has the time.
func TestManyFolders(t *testing.T) {
	h := newHouse(t)
	h.fillFolders(t, 1, 2000)
	c := h.login(t, "alice")
	for command, want := range map[string]int{`LIST "" *`: 2000, `LIST "" %`: 16, `LIST "" * RETURN (STATUS (MESSAGES UIDNEXT))`: 4000, `LIST "" *%*%9`: 199} {
		if got := c.ok(command); len(got) != want {
			t.Errorf("%s: %d lines, want %d", command, len(got), want)
		}
	}
}

// BenchmarkList lists 10,000 folders, as a client sees it.
func BenchmarkList(b *testing.B) {
	h := newHouse(b)
	h.fillFolders(b, 1, 10_000)
	c := h.login(b, "alice")
	for _, command := range []string{`LIST "" *`, `LIST "" %`, `LIST "" INBOX`} {
		b.Run(command, func(b *testing.B) {
			for b.Loop() {
				c.ok(command)
			}
		})
	}
}

// FuzzFolderArguments reads arguments of every command of these families: they
// are wrong, or there is a task.
func FuzzFolderArguments(f *testing.F) {
	for _, s := range []string{` (SUBSCRIBED RECURSIVEMATCH) "" (% "*") RETURN (STATUS (MESSAGES) METADATA (/shared/comment))`, ` INBOX (USE (\Sent))`,
		` INBOX (MESSAGES DELETED-STORAGE)`, ` "" (/private/comment {3+}` + "\r\nabc /shared/x NIL)", ` (MAXSIZE 10 DEPTH infinity) INBOX /private/x`,
		` INBOX (DEPTH 1) (/private/x)`, ` Work bob@example.test +lr`, ` "" (STORAGE 10)`, ` &ZeVnLIqe- x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, family := range []map[string]command{folderCommands, shareCommands} {
			for name, cmd := range family {
				d := &wire.Decoder{R: bufio.NewReader(strings.NewReader(text + "\r\n")), Continue: func() error { return nil }}
				d.Next()
				if task := cmd.parse(&conn{}, d); d.Err() == nil && task.run == nil {
					t.Fatalf("%s%q: nothing to run, and no error", name, text)
				}
			}
		}
	})
}
