package imapd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Commands that only these tests have: XHOLD, which runs beside others until
// its gate opens, and XSEQ, which fails when numbers change while it runs.
var gates sync.Map // of chan struct{}, by name

func init() {
	sessionCommands["XHOLD"] = command{selected, func(c *conn, d *wire.Decoder) task {
		d.SP()
		name := d.Atom()
		d.End()
		return task{shared: true, run: func(context.Context) (string, error) {
			gate, _ := gates.LoadOrStore(name, make(chan struct{}))
			<-gate.(chan struct{})
			return "", nil
		}}
	}}
	sessionCommands["XSEQ"] = command{selected, func(c *conn, d *wire.Decoder) task {
		d.End()
		return task{shared: true, sync: syncNoExpunge, run: func(context.Context) (string, error) {
			before := c.sel.snapshot()
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
			after := c.sel.snapshot()
			for i, u := range before {
				if i >= len(after) || after[i] != u {
					return "", bad("numbers have changed")
				}
			}
			return "", nil
		}}
	}}
}

// TestPanicEndsOneSession: and the others hear nothing of it.
func TestPanicEndsOneSession(t *testing.T) {
	h := newHouse(t)
	other := h.login(t, "bob")
	for _, shared := range []string{"", " shared"} {
		c := h.login(t, "alice")
		c.send("a XPANIC" + shared + "\r\n")
		if line := c.line(); line != "* BYE [SERVERBUG] Internal error" {
			t.Error(line)
		}
		c.closed()
	}
	other.ok("NOOP")
}

func init() {
	sessionCommands["XPANIC"] = command{anywhere, func(c *conn, d *wire.Decoder) task {
		shared := d.AcceptSP()
		d.Text()
		return task{shared: shared, run: func(context.Context) (string, error) { panic("test") }}
	}}
}

// XUIDS tells where the UIDs lie.
func init() {
	sessionCommands["XUIDS"] = command{selected, func(c *conn, d *wire.Decoder) task {
		d.End()
		return task{run: func(context.Context) (string, error) {
			c.line(fmt.Sprintf("* XUIDS %p", &c.sel.snapshot()[0]))
			return "", nil
		}}
	}}
}

func open(name string) {
	gate, _ := gates.LoadOrStore(name, make(chan struct{}))
	close(gate.(chan struct{}))
}

// TestSideBySide: what changes nothing runs beside a long command; what is
// ambiguous waits for it; numbers change only when nothing else is under way.
func TestSideBySide(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 3)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	c.send("a XHOLD " + t.Name() + "\r\nb XSEQ\r\nc STATUS INBOX (MESSAGES)\r\n")
	answered := c.until("b", "c") // in either order
	if strings.Contains(answered, "a OK") {
		t.Fatal("not side by side")
	}
	h.expunge(t, f, 1)
	c.send("d STATUS INBOX (MESSAGES)\r\n")
	if got := c.until("d"); strings.Contains(got, "EXPUNGE") {
		t.Errorf("numbers changed under a command: %s", got)
	}
	c.send("e NOOP\r\nf XSEQ\r\n")
	time.Sleep(50 * time.Millisecond)
	c.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := c.r.Peek(1); err == nil {
		t.Fatalf("NOOP did not wait: %q", b)
	}
	open(t.Name())
	got := c.until("f")
	a, expunge, e := strings.Index(got, "a OK"), strings.Index(got, "* 1 EXPUNGE"), strings.Index(got, "e OK")
	if a < 0 || expunge < a || e < expunge {
		t.Errorf("%s", got)
	}
}

// until reads up to the tagged responses of all these.
func (c *client) until(tags ...string) string {
	c.t.Helper()
	var all strings.Builder
	for left := len(tags); left > 0; {
		line := c.line()
		all.WriteString(line + "\n")
		for _, tag := range tags {
			if strings.HasPrefix(line, tag+" ") {
				left--
			}
		}
	}
	return all.String()
}

// TestPipeline: a search over bodies, with more behind it in one packet.
func TestPipeline(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 20)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	c.send("a SEARCH BODY text\r\nb UID FETCH 1:5 (FLAGS)\r\nc FETCH 6 BODY.PEEK[]\r\nd NOOP\r\ne STORE 1 +FLAGS (\\Seen)\r\nf FETCH 1 FLAGS\r\ng UNSELECT\r\nh FETCH 1 FLAGS\r\n")
	got := c.until("a", "b", "c", "d", "e", "f", "g", "h")
	for _, want := range []string{"* SEARCH 1 2 3", "a OK", "b OK", "c OK", "d OK", "e OK", `* 1 FETCH (FLAGS (\Seen))`, "f OK", "g OK", "h BAD No mailbox"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Index(got, "d OK") < strings.Index(got, "a OK") {
		t.Error("NOOP did not wait for SEARCH")
	}
}

// TestManyAtOnce plays a mailbox that others change against pipelines of
// commands: numbers never change under one, and what the client made of the
// responses is what is there in the end.
func TestManyAtOnce(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 30)
	c := h.login(t, "alice")
	count := 30
	c.ok("SELECT INBOX")
	ctx, cancel := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			switch uids, _ := h.Mailboxes.UIDs(context.Background(), f.ID); {
			case len(uids) > 20:
				h.expunge(t, f, uids[rand.IntN(len(uids))])
			default:
				h.deliver(t, 1, "", "\r\nx")
			}
			if i%3 == 0 {
				h.deliver(t, 1, "", "\r\ny")
			}
		}
	})
	commands := []string{"XSEQ", "XSEQ", "UID FETCH 1:* (FLAGS)", "NOOP", "FETCH 1:3 (UID)", "UID SEARCH ALL", "STATUS INBOX (MESSAGES)", "STORE 1 +FLAGS (k)"}
	for round := range 60 {
		n := 1 + rand.IntN(6)
		for i := range n {
			c.send(fmt.Sprintf("r%d.%d %s\r\n", round, i, commands[rand.IntN(len(commands))]))
		}
		for left := n; left > 0; {
			line := c.line()
			left -= c.count(line, round, &count)
		}
	}
	cancel()
	others.Wait()
	for _, line := range c.ok("NOOP") {
		c.count(line, -1, &count)
	}
	uids, _ := h.Mailboxes.UIDs(context.Background(), f.ID)
	if count != len(uids) {
		t.Errorf("the client counts %d messages of %d", count, len(uids))
	}
	if got := c.ok("UID SEARCH ALL")[0]; len(strings.Fields(got))-2 != len(uids) {
		t.Errorf("%s", got)
	}
}

// count follows the number of messages, and gives 1 for a tagged response.
func (c *client) count(line string, round int, count *int) int {
	c.t.Helper()
	var n int
	switch _, err := fmt.Sscanf(line, "* %d EX", &n); {
	case err == nil && strings.HasSuffix(line, " EXISTS"):
		if n < *count {
			c.t.Fatalf("%s after %d", line, *count)
		}
		*count = n
	case err == nil && strings.HasSuffix(line, " EXPUNGE"):
		if n > *count {
			c.t.Fatalf("%s of %d", line, *count)
		}
		*count--
	case strings.HasPrefix(line, fmt.Sprintf("r%d.", round)):
		if !strings.Contains(line, " OK ") {
			c.t.Fatal(line)
		}
		return 1
	}
	return 0
}

// TestPushToMany: a thousand sessions idle on one mailbox, and hear of bursts
// of mail soon, all of it, and not message by message.
func TestPushToMany(t *testing.T) {
	sessions, burst := 1000, 50
	if raced {
		sessions = 300
	}
	h := newHouse(t)
	f := h.fill(t, 1)
	clients := make([]*client, sessions)
	for i := range clients {
		c := h.login(t, "alice")
		c.ok("SELECT INBOX")
		c.send("i IDLE\r\n")
		c.line()
		clients[i] = c
	}
	var heard sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	lines := 0
	hear := func(want string, from time.Time) {
		for _, c := range clients {
			heard.Go(func() {
				n := 1
				for c.line() != want {
					n++
				}
				mu.Lock()
				defer mu.Unlock()
				slowest, lines = max(slowest, time.Since(from)), lines+n
			})
		}
		heard.Wait()
	}
	h.deliver(t, 1, "", "\r\nx")
	hear("* 2 EXISTS", time.Now())
	t.Logf("one message: %d sessions within %v", sessions, slowest)
	slowest, lines = 0, 0
	for range burst {
		h.deliver(t, 1, "", "\r\nx")
	}
	hear(fmt.Sprintf("* %d EXISTS", 2+burst), time.Now())
	t.Logf("%d messages: within %v, %d lines each", burst, slowest, lines/sessions)
	if slowest > 5*time.Second {
		t.Errorf("news after %v", slowest)
	}
	if e := h.Shelf.folders[f.ID]; e.readers != sessions {
		t.Errorf("%d readers", e.readers)
	}
	uids := map[string]bool{}
	for _, c := range clients {
		c.send("DONE\r\n")
		c.until("i")
		uids[c.ok("XUIDS")[0]] = true
	}
	if len(uids) != 1 {
		t.Errorf("%d copies of the UIDs", len(uids))
	}
}

// TestOwnChangesAreNotTold: not twice, but those of others always, even when
// they fall between.
func TestOwnChangesAreNotTold(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 2)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	same(t, c.ok(`STORE 1 +FLAGS (\Seen)`), `* 1 FETCH (FLAGS (\Seen))`)
	same(t, c.ok("NOOP"))
	same(t, c.ok(`STORE 1 +FLAGS.SILENT (\Flagged)`))
	h.flag(t, f, 1, mailbox.Add, mailbox.Answered)
	same(t, c.ok("NOOP"), `* 1 FETCH (UID 1 FLAGS (\Answered \Flagged \Seen))`)
	h.flag(t, f, 2, mailbox.Add, mailbox.Answered)
	got := c.ok(`STORE 1 -FLAGS (\Seen)`)
	has(t, got, `* 2 FETCH (UID 2 FLAGS (\Answered))`)
	has(t, got, `* 1 FETCH (FLAGS (\Answered \Flagged))`)
	if len(got) != 2 {
		t.Errorf("%q", got)
	}
}
