package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// hears waits for a response with the word.
func (c *session) hears(word string) *client.Response {
	c.t.Helper()
	for {
		r, err := c.Read()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", word, err)
		}
		if r.Name() == word {
			return r
		}
	}
}

// TestPOP3BesideIMAP uses one mailbox by both protocols at the same time.
func TestPOP3BesideIMAP(t *testing.T) {
	s := shared(t, "both")
	c := s.imap("both")
	c.append("INBOX", write("both", 6))
	k := s.pop("both@"+domain, "both")
	validity := statusNumber(t, c, "UIDVALIDITY")
	k.say("+OK", "UIDL")
	uids := map[int]uint32{}
	for line := range strings.Lines(k.text()) {
		var n int
		var v, uid uint32
		if _, err := fmt.Sscanf(line, "%d %08x%08x", &n, &v, &uid); err != nil || v != validity {
			t.Errorf("UIDL says %q, UIDVALIDITY is %d: %v", line, validity, err)
		}
		uids[n] = uid
	}
	for _, r := range c.ok("SELECT INBOX") {
		if r.Name() == "EXISTS" && r.Values[0].Text != "6" {
			t.Error(r)
		}
	}
	for _, r := range c.ok("FETCH 1:* UID") {
		if r.Name() == "FETCH" {
			n, _ := r.Values[0].Number()
			uid, _ := r.Values[2].List[1].Number()
			if uids[int(n)] != uint32(uid) {
				t.Errorf("message %d has UID %d by IMAP and %d by POP3", n, uid, uids[int(n)])
			}
		}
	}
	t.Run("dele", func(t *testing.T) { testDeleWhileSelected(t, c, k) })
	t.Run("expunge", func(t *testing.T) { testExpungeDuringPOP3(t, s.in(t), c) })
}

func statusNumber(t *testing.T, c *session, item string) uint32 {
	t.Helper()
	for _, r := range c.ok("STATUS INBOX (%s)", item) {
		if r.Name() == "STATUS" {
			n, err := r.Values[2].List[1].Number()
			if err != nil {
				t.Fatal(err)
			}
			return uint32(n)
		}
	}
	t.Fatal("no STATUS")
	return 0
}

// testDeleWhileSelected: DELE is heard by an idle session when QUIT makes it
// true, and RETR marks as seen.
func testDeleWhileSelected(t *testing.T, c *session, k *talk) {
	tag := c.NextTag()
	if err := c.Send([]byte(tag + " IDLE\r\n")); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Read(); err != nil || r.Tag != "+" {
		t.Fatal(r, err)
	}
	k.say("+OK", "RETR 3")
	k.text()
	k.say("+OK", "DELE 2")
	k.say("+OK", "DELE 5")
	k.say("+OK", "QUIT")
	began := time.Now()
	gone := []string{c.hears("EXPUNGE").Values[0].Text, c.hears("EXPUNGE").Values[0].Text}
	t.Logf("EXPUNGE %v within %v of the answer to QUIT", gone, time.Since(began).Round(time.Millisecond))
	if got := strings.Join(gone, ","); got != "5,2" && got != "2,4" {
		t.Errorf("EXPUNGE %s", got)
	}
	if err := c.Send([]byte("DONE\r\n")); err != nil {
		t.Fatal(err)
	}
	for {
		if r, err := c.Read(); err != nil || r.Tag == tag {
			break
		}
	}
	if box := c.read("INBOX"); len(box) != 4 || !strings.Contains(box["both.2"].flags, "S") {
		t.Errorf("left: %v", box)
	}
	c.ok("SELECT INBOX")
}

// testExpungeDuringPOP3: numbers stay as they were for POP3, what is gone is
// refused, and QUIT removes what is left to remove.
func testExpungeDuringPOP3(t *testing.T, s *server, c *session) {
	k := s.pop("both@"+domain, "both")
	k.say("+OK 4 ", "STAT")
	first, third := k.say("+OK", "UIDL 1"), k.say("+OK", "UIDL 3")
	c.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	k.say("-ERR", "RETR 2")
	k.say("-ERR", "TOP 2 0")
	k.say(third, "UIDL 3")
	k.say("+OK", "RETR 3")
	if text := k.text(); !strings.Contains(text, "Message-ID: <both.3@") {
		t.Errorf("RETR 3 gives %.300q", text)
	}
	k.say("+OK", "DELE 1")
	c.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	k.say("+OK", "DELE 4")
	k.write("QUIT\r\n")
	t.Logf("QUIT with a message that was gone already: %s", k.line())
	box := c.read("INBOX")
	if _, there := box["both.3"]; !there || len(box) != 1 {
		t.Errorf("left: %v", box)
	}
	k = s.pop("both@"+domain, "both")
	k.say("+OK 1 ", "STAT")
	if again := k.say("+OK", "UIDL 1"); strings.TrimPrefix(again, "+OK 1 ") != strings.TrimPrefix(third, "+OK 3 ") || again == first {
		t.Errorf("the message's unique id was %q, now %q", third, again)
	}
}
