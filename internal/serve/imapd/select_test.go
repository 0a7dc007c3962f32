package imapd

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// fill delivers n messages to alice's INBOX and gives the folder.
func (h *house) fill(t testing.TB, n int) mailbox.Folder {
	t.Helper()
	for i := range n {
		h.deliver(t, 1, "", fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", i+1))
	}
	f, err := h.Mailboxes.Folder(context.Background(), 1, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// flag changes flags as another session does.
func (h *house) flag(t testing.TB, f mailbox.Folder, uid uint32, op mailbox.Op, flags mailbox.Flags, keywords ...string) mailbox.FlagResult {
	t.Helper()
	r, err := h.Mailboxes.StoreFlags(context.Background(), f.ID, []mailbox.Range{{First: uid, Last: uid}},
		mailbox.FlagChange{Op: op, Flags: flags, Keywords: keywords, Unless: -1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expunge removes messages as another session does.
func (h *house) expunge(t testing.TB, f mailbox.Folder, uids ...uint32) (modseq int64) {
	t.Helper()
	_, modseq, err := h.Mailboxes.Expunge(context.Background(), f.ID, mailbox.Ranges(uids), false)
	if err != nil {
		t.Fatal(err)
	}
	return modseq
}

// same fails unless the responses are those, in that order.
func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSelectResponses(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Shelf = &Shelf{} })
	f := h.fill(t, 3)
	h.flag(t, f, 1, mailbox.Add, mailbox.Seen, "$Work")
	f, _ = h.Mailboxes.Status(context.Background(), f.ID)
	flags := `\Answered \Deleted \Draft \Flagged \Seen $Work`
	rest := []string{fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", f.UIDValidity), "* OK [UIDNEXT 4] Next UID",
		fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest mod-sequence", f.ModSeq), fmt.Sprintf("* OK [MAILBOXID (F%d)] Mailbox id", f.ID)}

	c := h.login(t, "alice")
	want := append([]string{"* FLAGS (" + flags + ")", "* OK [PERMANENTFLAGS ()] Flags that stay", "* 3 EXISTS", "* 3 RECENT",
		"* OK [UNSEEN 2] First unseen message"}, rest...)
	same(t, c.ok("EXAMINE INBOX"), want...)
	want = append([]string{"* OK [CLOSED] Previous mailbox closed"}, want...)
	want[2] = `* OK [PERMANENTFLAGS (` + flags + ` \*)] Flags that stay`
	same(t, c.ok("SELECT inbox"), want...)
	want[4] = "* 0 RECENT" // they were of the one before
	same(t, c.ok("SELECT inbox"), want...)

	c = h.login(t, "alice")
	has(t, c.ok("ENABLE IMAP4rev2"), "* ENABLED IMAP4rev2")
	want = append([]string{"* FLAGS (" + flags + ")", `* OK [PERMANENTFLAGS (` + flags + ` \*)] Flags that stay`, "* 3 EXISTS"}, rest...)
	same(t, c.ok("SELECT INBOX"), append(want, `* LIST () "/" INBOX`)...)

	c.no("SELECT nowhere", "NO [NONEXISTENT]")
	c.no("CHECK", "BAD") // the failure has unselected
	for _, wrong := range []string{"SELECT", "SELECT INBOX x", "SELECT INBOX (FOO)", "SELECT INBOX (QRESYNC)", "SELECT INBOX (QRESYNC (0 1))",
		"SELECT INBOX (QRESYNC (1 0))", "SELECT INBOX (QRESYNC (1 1 1:*))", "SELECT INBOX (QRESYNC (1 1 $))", "SELECT INBOX (QRESYNC (1 1 1 (1)))",
		"SELECT INBOX (QRESYNC (1 1))", // not enabled
	} {
		c.no(wrong, "BAD")
	}
}

// TestNewsOfOthers: what other sessions change is told once, what is gone
// first, and keywords before the flags.
func TestNewsOfOthers(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Shelf = &Shelf{} })
	f := h.fill(t, 3)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	h.flag(t, f, 2, mailbox.Add, mailbox.Flagged, "$New")
	h.expunge(t, f, 1)
	h.deliver(t, 1, "", "\r\nx")
	same(t, c.ok("NOOP"), "* 1 EXPUNGE", `* FLAGS (\Answered \Deleted \Draft \Flagged \Seen $New)`,
		`* OK [PERMANENTFLAGS (\Answered \Deleted \Draft \Flagged \Seen $New \*)] Flags that stay`,
		"* 3 EXISTS", "* 3 RECENT", `* 1 FETCH (UID 2 FLAGS (\Flagged \Recent $New))`)
	same(t, c.ok("NOOP"))
	h.expunge(t, f, 2, 4)
	same(t, c.ok("CHECK"), "* 3 EXPUNGE", "* 1 EXPUNGE")
	same(t, c.ok("NOOP"))
}

// TestCondstoreInView: whatever turns it on, from then on MODSEQ is told.
func TestCondstoreInView(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 1)
	for i, on := range []string{"SELECT INBOX (CONDSTORE)", "ENABLE CONDSTORE", "ENABLE QRESYNC"} {
		c := h.login(t, "alice")
		if strings.HasPrefix(on, "ENABLE") {
			c.ok("EXAMINE INBOX")
		}
		untagged := c.ok(on)
		now, _ := h.Mailboxes.Status(context.Background(), f.ID)
		has(t, untagged, fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest mod-sequence", now.ModSeq))
		r := h.flag(t, f, 1, mailbox.Replace, 0, fmt.Sprint("k", i))
		if !strings.Contains(strings.Join(c.ok("NOOP"), " "), fmt.Sprintf(" MODSEQ (%d))", r.ModSeq)) {
			t.Errorf("%s: no MODSEQ", on)
		}
	}
}

func TestVanished(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 5)
	c := h.login(t, "alice")
	has(t, c.ok("ENABLE QRESYNC"), "* ENABLED QRESYNC")
	c.ok("SELECT INBOX")
	h.expunge(t, f, 1, 2, 4)
	same(t, c.ok("NOOP"), "* VANISHED 1:2,4")
	h.flag(t, f, 5, mailbox.Add, mailbox.Deleted)
	c.ok("NOOP")
	if _, tagged := c.do("CLOSE"); !strings.HasPrefix(tagged, "OK [HIGHESTMODSEQ ") {
		t.Error(tagged)
	}
	c.ok("SELECT INBOX")
	if _, tagged := c.do("CLOSE"); tagged != "OK CLOSE completed" { // nothing was expunged
		t.Error(tagged)
	}
}

func TestResync(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouseOn(t, d)
		f := h.fill(t, 10)
		f, _ = h.Mailboxes.Status(context.Background(), f.ID)
		since, validity := f.ModSeq, f.UIDValidity
		h.expunge(t, f, 3, 4, 9)
		seen := h.flag(t, f, 5, mailbox.Add, mailbox.Seen).ModSeq
		h.deliver(t, 1, "", "\r\nnew")
		f, _ = h.Mailboxes.Status(context.Background(), f.ID)
		c := h.login(t, "alice")
		c.ok("ENABLE QRESYNC IMAP4rev2")
		fetch5 := fmt.Sprintf(`* 3 FETCH (UID 5 FLAGS (\Seen) MODSEQ (%d))`, seen)
		fetch11 := fmt.Sprintf(`* 8 FETCH (UID 11 FLAGS () MODSEQ (%d))`, f.ModSeq)
		for _, q := range []struct {
			args string
			want []string
		}{
			{fmt.Sprintf("%d %d", validity, since), []string{"* VANISHED (EARLIER) 3:4,9", fetch5, fetch11}},
			{fmt.Sprintf("%d %d 1:4,11", validity, since), []string{"* VANISHED (EARLIER) 3:4", fetch11}},
			{fmt.Sprintf("%d %d 1:10 (1:2 1:2)", validity, since), []string{"* VANISHED (EARLIER) 3:4,9", fetch5}},
			{fmt.Sprintf("%d %d", validity, f.ModSeq), nil},
			{fmt.Sprintf("%d %d", validity, f.ModSeq+100), nil}, // from a future that a restore took away
			{fmt.Sprintf("%d %d", validity+1, since), nil},
		} {
			got := c.ok("SELECT INBOX (QRESYNC (" + q.args + "))")
			got = slices.DeleteFunc(got, func(l string) bool { return !strings.Contains(l, "VANISHED") && !strings.Contains(l, "FETCH") })
			if !slices.Equal(got, q.want) {
				t.Errorf("%s: %q, want %q", q.args, got, q.want)
			}
		}
	})
}

// TestVanishedWithoutMemory: when the expunges are forgotten, all that is not
// there is gone, but for what the client's numbers prove.
func TestVanishedWithoutMemory(t *testing.T) {
	uids := []uint32{1, 2, 5, 6, 9}
	n := mailbox.News{Folder: mailbox.Folder{UIDNext: 4_000_000_000}}
	all := ranges("1:*")
	for _, c := range []struct {
		known     []wire.Range
		unchanged uint32
		want      string
	}{
		{all, 0, "[{3 4} {7 8} {10 3999999999}]"},
		{all, 5, "[{7 8} {10 3999999999}]"},
		{ranges("1:4,6:7,9"), 0, "[{3 4} {7 7}]"},
		{ranges("3"), 9, "[]"},
		{ranges("4000000000:4000000001"), 0, "[]"},
	} {
		if got := fmt.Sprint(vanished(n, uids, c.known, c.unchanged)); got != c.want {
			t.Errorf("%v after %d: %s, want %s", c.known, c.unchanged, got, c.want)
		}
	}
	for _, c := range []struct {
		numbers, uids []wire.Range
		want          uint32
	}{
		{nil, nil, 0},
		{ranges("1:2"), ranges("1:2"), 2},
		{ranges("1:3"), ranges("1:3"), 2}, // 3 is gone
		{ranges("2,4:5"), ranges("2,6,9"), 9},
		{ranges("3"), ranges("7"), 0},
		{ranges("1:4000000000"), ranges("1:2"), 2}, // more numbers than UIDs
		{ranges("9"), ranges("1"), 0},              // no such number
	} {
		r := &resync{numbers: c.numbers, uids: c.uids}
		if got := r.unchanged(uids); got != c.want {
			t.Errorf("%v %v: %d, want %d", c.numbers, c.uids, got, c.want)
		}
	}
}

func TestUIDOnly(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 4)
	c := h.login(t, "alice")
	has(t, c.ok("ENABLE UIDONLY"), "* ENABLED UIDONLY")
	for _, r := range c.ok("SELECT INBOX") {
		if strings.Contains(r, "UNSEEN") {
			t.Error(r) // is a number
		}
	}
	h.flag(t, f, 3, mailbox.Add, mailbox.Seen)
	h.expunge(t, f, 1, 2)
	same(t, c.ok("NOOP"), "* VANISHED 1:2", `* 3 UIDFETCH (FLAGS (\Seen))`)
}

func TestDeletedUnderSelection(t *testing.T) {
	h := newHouse(t)
	for _, command := range []string{"NOOP", "IDLE"} {
		if _, err := h.Mailboxes.Create(context.Background(), 1, "Gone", ""); err != nil {
			t.Fatal(err)
		}
		c := h.login(t, "alice")
		c.ok("SELECT Gone")
		if command == "IDLE" {
			c.send("i IDLE\r\n")
			if line := c.line(); !strings.HasPrefix(line, "+ ") {
				t.Fatal(line)
			}
		}
		if err := h.Mailboxes.Delete(context.Background(), 1, "Gone"); err != nil {
			t.Fatal(err)
		}
		if command == "NOOP" {
			c.ok("NOOP")
		}
		if line := c.line(); line != "* BYE The selected mailbox was deleted" {
			t.Errorf("%s: %s", command, line)
		}
		c.closed()
	}
}

// TestIdleTellsAtOnce: what came before IDLE arrives with its continuation, in one
// write, which is one record of TLS.
func TestIdleTellsAtOnce(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	h.deliver(t, 1, "INBOX", "Subject: early\r\n\r\nbird\r\n")
	c.send("i IDLE\r\n")
	c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 1000)
	n, err := c.nc.Read(got)
	if want := "+ idling\r\n* 1 EXISTS\r\n"; err != nil || string(got[:n]) != want {
		t.Errorf("the first record has %q, %v; want %q", got[:n], err, want)
	}
}

// TestRenamedUnderSelection: the session goes on with the mailbox.
func TestRenamedUnderSelection(t *testing.T) {
	h := newHouse(t)
	if _, err := h.Mailboxes.Create(context.Background(), 1, "Old", ""); err != nil {
		t.Fatal(err)
	}
	c := h.login(t, "alice")
	c.ok("SELECT Old")
	if err := h.Mailboxes.Rename(context.Background(), 1, "Old", "New"); err != nil {
		t.Fatal(err)
	}
	same(t, c.ok("NOOP"))
	h.deliver(t, 1, "New", "\r\nx")
	has(t, c.ok("NOOP"), "* 1 EXISTS")
}

// closed fails unless the server has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.t.Fatalf("%q after the end", b)
	}
}

// ranges reads a set; "*" is the largest UID there can be.
func ranges(text string) []wire.Range {
	d := &wire.Decoder{R: bufio.NewReader(strings.NewReader(text + "\r\n"))}
	return d.Set().Normal(wire.Star)
}
