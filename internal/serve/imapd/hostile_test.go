package imapd

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/store/db"
)

const sharedWork = `"Other Users/alice@example.test/Work"`

// shared is a house in which alice shares Work, with one message, with bob.
func shared(t *testing.T, rights string) (h *house, alice, bob *client) {
	t.Helper()
	h = newHouse(t)
	alice, bob = h.login(t, "alice"), h.login(t, "bob")
	alice.ok("CREATE Work")
	alice.ok("SETACL Work bob@example.test " + rights)
	h.deliver(t, 1, "Work", "Subject: secret\r\n\r\nsecret\r\n")
	return h, alice, bob
}

// TestCatenateWithoutRight: a URL of the selected mailbox gives nothing when
// the right to read it was taken meanwhile.
func TestCatenateWithoutRight(t *testing.T) {
	h, a, b := shared(t, "lr")
	b.ok("SELECT " + sharedWork)
	a.ok("SETACL Work bob@example.test -r")
	b.no(`APPEND INBOX CATENATE (URL ";UID=1")`, "NO [BADURL")
	b = h.login(t, "bob")
	b.tells("STATUS INBOX (MESSAGES)", "OK", "* STATUS INBOX (MESSAGES 0)")
}

// TestAppendWithoutRight: the right to append is one that there is when the
// message is there.
func TestAppendWithoutRight(t *testing.T) {
	_, a, b := shared(t, "lrit")
	b.send("x APPEND " + sharedWork + " (\\Deleted) {20}\r\n")
	if line := b.line(); !strings.HasPrefix(line, "+") {
		t.Fatal(line)
	}
	a.ok("SETACL Work bob@example.test -it")
	b.send("Subject: x\r\n\r\ntext\r\n\r\n")
	if line := b.line(); !strings.HasPrefix(line, "x NO [NOPERM]") {
		t.Fatal(line)
	}
	a.tells("STATUS Work (MESSAGES)", "OK", "* STATUS Work (MESSAGES 1)")
}

// TestReplaceWithoutRight: a REPLACE that may not be leaves no body open.
func TestReplaceWithoutRight(t *testing.T) {
	h, a, b := shared(t, "lrite")
	b.ok("SELECT " + sharedWork)
	text := "Subject: x\r\n\r\n" + strings.Repeat("text\r\n", 1<<18)
	b.send(fmt.Sprintf("x REPLACE 1 INBOX {%d}\r\n", len(text)))
	if line := b.line(); !strings.HasPrefix(line, "+") {
		t.Fatal(line)
	}
	a.ok("SETACL Work bob@example.test -r")
	b.send(text + "\r\n")
	if line := b.line(); !strings.HasPrefix(line, "x NO [NONEXISTENT]") {
		t.Fatal(line)
	}
	if left, err := h.Mailboxes.Bodies.Blobs.Files(0, "", 10); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
}

// TestUIDsAreNotDisclosed: who may not read a mailbox does not hear what
// messages become there (RFC 4315 section 3).
func TestUIDsAreNotDisclosed(t *testing.T) {
	_, _, b := shared(t, "li")
	for _, text := range []string{"one", "two"} {
		b.append("INBOX", "Subject: "+text+"\r\n\r\ntext\r\n")
	}
	b.ok("SELECT INBOX")
	for _, command := range []string{"COPY 1 ", "MOVE 1 "} {
		responses, tagged := b.do(command + sharedWork)
		if text := strings.Join(append(responses, tagged), "\n"); strings.Contains(text, "COPYUID") || !strings.HasPrefix(tagged, "OK") {
			t.Error(command, text)
		}
	}
	for _, command := range []string{"APPEND ", "REPLACE 1 "} {
		responses, tagged := b.do(command + sharedWork + " {15+}\r\nSubject: x\r\n\r\n.")
		if text := strings.Join(append(responses, tagged), "\n"); strings.Contains(text, "APPENDUID") || !strings.HasPrefix(tagged, "OK") {
			t.Error(command, text)
		}
	}
}

// TestCloseAfterOthers: a mod-sequence is not told with CLOSE when the client
// does not know what others did before.
func TestCloseAfterOthers(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 4)
	c := h.login(t, "alice")
	c.ok("ENABLE QRESYNC")
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS (\Deleted)`)
	_, tagged := c.do("CLOSE")
	if !strings.HasPrefix(tagged, "OK [HIGHESTMODSEQ") {
		t.Error(tagged)
	}
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS (\Deleted)`)
	h.flag(t, f, 4, mailbox.Add, mailbox.Flagged)
	if _, tagged = c.do("CLOSE"); tagged != "OK CLOSE completed" {
		t.Error(tagged)
	}
	c.ok("SELECT INBOX")
	h.expunge(t, f, 3)
	c.ok(`STORE 1:2 +FLAGS (\Deleted)`) // the other one may not be told yet
	if _, tagged = c.do("CLOSE"); tagged != "OK CLOSE completed" {
		t.Error(tagged)
	}
}

// TestBehind: a client that is told of changes, but may not be told yet what is
// gone, hears up to where it knows all.
func TestBehind(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 3)
	c := h.login(t, "alice")
	c.ok("ENABLE QRESYNC")
	known := number(t, strings.Join(c.ok("SELECT INBOX"), "\n"), "HIGHESTMODSEQ")
	h.expunge(t, f, 2)
	seen := h.flag(t, f, 3, mailbox.Add, mailbox.Flagged).ModSeq
	flags := fmt.Sprintf(`* 3 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (%d))`, seen)
	behind := "* OK [HIGHESTMODSEQ " + known + "] More is to be told"
	c.tells("FETCH 1 UID", "OK", "* 1 FETCH (UID 1)", flags, behind)
	c.tells("FETCH 3 MODSEQ", "OK", fmt.Sprintf("* 3 FETCH (MODSEQ (%d))", seen), behind)
	c.tells("NOOP", "OK", "* VANISHED 2")
	c.tells("FETCH 1 UID", "OK", "* 1 FETCH (UID 1)")
}

// TestLongNames: what a stranger says his name is fills no journal.
func TestLongNames(t *testing.T) {
	dir := t.TempDir()
	r, err := event.Open(event.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouseWith(t, func(s *Server) { s.Events = r })
	c := h.dial(t)
	long := strings.Repeat("x", 60_000)
	c.no("LOGIN "+long+" x", "NO [AUTHENTICATIONFAILED]")
	c.no("AUTHENTICATE PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+long[:40_000]+"\x00x")), "NO [AUTHENTICATIONFAILED]")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(eventtest.Text(t, dir)); n == 0 || n > 4000 {
		t.Errorf("%d octets of events", n)
	}
}

// TestReadWithoutRoom: what cannot be marked as read can be read.
func TestReadWithoutRoom(t *testing.T) {
	h, c := boxed(t, 2)
	err := h.Mailboxes.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`CREATE TRIGGER full BEFORE UPDATE ON message BEGIN SELECT RAISE(ABORT, 'no room'); END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.tells("FETCH 1:2 BODY[TEXT]", "OK", "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)", "* 2 FETCH (BODY[TEXT] {6}\r\nbody\r\n)")
}

// TestManyBinaries: decoding is paid by the server, so it is not asked for at
// will.
func TestManyBinaries(t *testing.T) {
	_, c := boxed(t, 1)
	c.ok("FETCH 1 (" + strings.Repeat("BINARY.SIZE[1] ", maxBinaries) + ")")
	c.no("FETCH 1 ("+strings.Repeat("BINARY.PEEK[1]<0.1> ", maxBinaries+1)+")", "BAD Too many items")
	c.no("STATUS INBOX ()", "BAD")
}

// TestNothingStays: of clients that go away in the middle of anything there is
// nothing left, neither goroutines nor files nor readers of the shelf.
func TestNothingStays(t *testing.T) {
	h, c := boxed(t, 300)
	c.ok("LOGOUT")
	before := runtime.NumGoroutine()
	large := strings.Repeat("x", 1<<20)
	for _, last := range []string{
		"a APPEND INBOX {2000000+}\r\n" + large,
		"a APPEND INBOX {1048576+}\r\n" + large + " {10}\r\n",
		"a APPEND INBOX CATENATE (TEXT {1048576+}\r\n" + large + " URL \"/INBOX/;UID=1\"",
		"a REPLACE 1 INBOX {2000000+}\r\n" + large,
		"a IDLE\r\n",
		"a IDLE\r\nDONE",
		"a FETCH 1:* BODY[]\r\nb FETCH 1:* BODY.PEEK[]\r\nc SEARCH TEXT body\r\nd LOGOUT\r\n",
		"a UID FETCH 1:* BODY.PEEK[]\r\nb UID FETCH 1:* BODY.PEEK[]\r\nc UID SEARCH RETURN (UPDATE) TEXT body\r\nd IDLE\r\n",
		"a COMPRESS DEFLATE\r\nnothing compressed\r\n",
		"a LOGIN {5",
		strings.Repeat("a NOOP\r\n", 5000),
	} {
		for range 5 {
			c := h.login(t, "alice")
			c.ok("SELECT INBOX")
			go io.WriteString(c.nc, last)
			time.Sleep(5 * time.Millisecond)
			c.nc.(*tls.Conn).NetConn().Close()
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for (runtime.NumGoroutine() > before || h.Shelf.readers() > 0) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines became %d:\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
	}
	files, err := h.Mailboxes.Bodies.Blobs.Files(0, "", 100)
	for _, f := range files {
		if h.Mailboxes.Bodies.Blobs.BeingWritten(f) {
			t.Errorf("%s is being written", f)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if n := h.Shelf.readers(); n > 0 {
		t.Errorf("%d still read folders", n)
	}
}

// readers counts those of all folders.
func (s *Shelf) readers() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.folders {
		n += f.readers
	}
	return n
}

// TestSurveysRest: who changes names all the time does not have everybody look
// through all mailboxes all the time.
func TestSurveysRest(t *testing.T) {
	h := newHouse(t)
	a := h.login(t, "alice")
	err := h.Mailboxes.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
			INSERT INTO mailbox (account, name, role, uidvalidity, created) SELECT 1, 'folder ' || i, '', i, 1 FROM n`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a.ok("NOTIFY SET (PERSONAL (SubscriptionChange))")
	told := make(chan int)
	go func() {
		n := 0
		for _, err := a.r.ReadString('\n'); err == nil; _, err = a.r.ReadString('\n') {
			n++
		}
		told <- n
	}()
	began := time.Now()
	for i := 0; time.Since(began) < 1500*time.Millisecond; i++ {
		if err := h.Mailboxes.Subscribe(t.Context(), 1, "folder 1", i%2 == 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	a.nc.Close()
	if n := <-told; n > 5 {
		t.Errorf("told %d times in 1.5 s", n)
	}
}

// TestTransferIsBounded: one COPY does not hold up all others for long.
func TestTransferIsBounded(t *testing.T) {
	uids := make([]uint32, maxTransfer+1)
	for i := range uids {
		uids[i] = uint32(i + 1)
	}
	c := &conn{sel: &view{uids: uids}}
	for last, ok := range map[uint32]bool{maxTransfer: true, maxTransfer + 1: false} {
		got, err := c.carried(target{set: wire.Set{Ranges: []wire.Range{{First: 1, Last: last}}}})
		if (err == nil) != ok || len(got) != int(last) {
			t.Errorf("%d of %d messages, %v", len(got), last, err)
		}
	}
}

// TestAppendIsBounded: one APPEND does not hold up all others for long.
func TestAppendIsBounded(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	c.ok("APPEND INBOX" + strings.Repeat(" {1+}\r\nx", maxAppended))
	c.no("APPEND INBOX"+strings.Repeat(" {1+}\r\nx", maxAppended+1), "NO [LIMIT]")
	c.tells("STATUS INBOX (MESSAGES)", "OK", fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", maxAppended))
}

// TestCatenateIsBounded: a short command does not have the server write as
// much as it likes.
func TestCatenateIsBounded(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Limits.Append = 1000 })
	c := h.login(t, "alice")
	c.append("INBOX", "Subject: x\r\n\r\n"+strings.Repeat("x", 400))
	c.ok(`APPEND INBOX CATENATE (URL "/INBOX/;UID=1") CATENATE (URL "/INBOX/;UID=1")`)
	c.no("APPEND INBOX"+strings.Repeat(` CATENATE (URL "/INBOX/;UID=1")`, 3), "NO [TOOBIG]")
}

// TestManyChangesAreNotHeld: a session that tells of many changes holds their
// UIDs, not the messages.
func TestManyChangesAreNotHeld(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 100)
	for range 7 {
		if _, err := h.Mailboxes.Copy(t.Context(), f.ID, f.ID, mailbox.All, mailbox.Shed{}); err != nil {
			t.Fatal(err)
		}
	}
	place := h.Shelf.take(f.ID)
	defer place.leave()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	if _, _, err := place.look(t.Context(), h.Mailboxes, newest, newest); err != nil {
		t.Fatal(err)
	}
	before := heap()
	e, changed, err := place.look(t.Context(), h.Mailboxes, 1, newest)
	if held := int64(heap()) - int64(before); err != nil || len(changed.uids()) != 12_800 || held > 20*12_800 {
		t.Errorf("%d octets for %d changes, %v", held, len(changed.uids()), err)
	}
	n := 0
	if err := changed.each(t.Context(), h.Mailboxes, e, func(mailbox.Message) { n++ }); err != nil || n != 12_800 {
		t.Errorf("%d messages, %v", n, err)
	}
}

// TestSilentStoreHidesNothing: .SILENT spares the client what it did itself,
// not what another session did to the same message before.
func TestSilentStoreHidesNothing(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 2)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	h.flag(t, f, 1, mailbox.Add, mailbox.Flagged)
	c.tells(`STORE 1:2 +FLAGS.SILENT (\Seen)`, "OK", `* 1 FETCH (UID 1 FLAGS (\Flagged \Seen))`)
	c.tells(`STORE 1:2 +FLAGS.SILENT (\Answered)`, "OK")
}
