package imapd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mailbox"
)

func TestSearchContext(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 5)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	h.flag(t, f, 2, mailbox.Add, mailbox.Seen)
	c.ok("NOOP")
	same(t, c.ok("SEARCH RETURN (UPDATE ALL) OR SEEN 5"), `* ESEARCH (TAG "t4") ALL 2,5`)
	h.flag(t, f, 3, mailbox.Add, mailbox.Seen)
	h.flag(t, f, 2, mailbox.Remove, mailbox.Seen)
	h.flag(t, f, 5, mailbox.Add, mailbox.Flagged)
	got := c.ok("NOOP")
	has(t, got, `* ESEARCH (TAG "t4") REMOVEFROM (0 2)`)
	has(t, got, `* ESEARCH (TAG "t4") ADDTO (0 3)`)
	h.expunge(t, f, 1, 3)
	got = c.ok("NOOP")
	// What leaves is told by the numbers that the client still has.
	if i, j := slices.Index(got, `* ESEARCH (TAG "t4") REMOVEFROM (0 3)`), slices.Index(got, "* 3 EXPUNGE"); i < 0 || i > j {
		t.Errorf("%q", got)
	}
	// 5 means the message that had that number.
	h.flag(t, f, 5, mailbox.Remove, mailbox.Flagged)
	for _, line := range c.ok("NOOP") {
		if strings.Contains(line, "ESEARCH") {
			t.Errorf("%q", line)
		}
	}
	c.ok(`CANCELUPDATE "t4" "other"`)
	h.flag(t, f, 4, mailbox.Add, mailbox.Seen)
	for _, line := range c.ok("NOOP") {
		if strings.Contains(line, "ESEARCH") {
			t.Errorf("%q", line)
		}
	}
	c.no("CANCELUPDATE", "BAD ")
}

func TestSearchContextThatIsRefused(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 2)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	has(t, c.ok("SEARCH RETURN (UPDATE COUNT) YOUNGER 1000"), `* NO [NOUPDATE "t3"] Changes of this search are not told`)
	for range maxLive {
		if got := c.ok("UID SEARCH RETURN (UPDATE CONTEXT COUNT) ALL"); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
	if got := c.ok("SORT RETURN (UPDATE) (DATE) utf-8 ALL"); len(got) != 2 || !strings.HasPrefix(got[1], "* NO [NOUPDATE ") {
		t.Errorf("%q", got)
	}
}

var contextChange = regexp.MustCompile(`^\* ESEARCH \(TAG "\w+"\) UID (ADDTO|REMOVEFROM) \((.*)\)$`)

// TestSortContextFollows lets a client keep the result of a sort by what it is
// told, while messages come, go and change.
func TestSortContextFollows(t *testing.T) {
	h := newHouse(t)
	r := rand.New(rand.NewPCG(3, 4))
	deliver := func() { h.deliver(t, 1, "", fmt.Sprintf("Subject: %d\r\n\r\nx\r\n", r.IntN(50))) }
	for range 10 {
		deliver()
	}
	f := h.inbox(t)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	var list []string
	apply := func(lines []string) {
		for _, line := range lines {
			m := contextChange.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			words := strings.Fields(m[2])
			for i := 0; i < len(words); i += 2 {
				place, _ := strconv.Atoi(words[i])
				if m[1] == "ADDTO" {
					list = slices.Insert(list, place-1, words[i+1])
				} else if list[place-1] != words[i+1] {
					t.Fatalf("%s: %v", line, list)
				} else {
					list = slices.Delete(list, place-1, place)
				}
			}
		}
	}
	c.ok("UID SORT RETURN (UPDATE) (SUBJECT) utf-8 FLAGGED")
	last := uint32(10)
	for range 60 {
		for range 1 + r.IntN(3) {
			uid := 1 + r.Uint32N(last)
			switch r.IntN(6) {
			case 0:
				deliver()
				last++
			case 1:
				h.expunge(t, f, uid)
			case 2:
				h.flag(t, f, uid, mailbox.Remove, mailbox.Flagged)
			default:
				h.flag(t, f, uid, mailbox.Add, mailbox.Flagged)
			}
		}
		apply(c.ok("NOOP"))
		got := strings.TrimSpace(strings.TrimPrefix(c.first("UID SORT (SUBJECT) utf-8 FLAGGED"), "* SORT"))
		if want := strings.Join(list, " "); got != want {
			t.Fatalf("client has %s, server %s", want, got)
		}
	}
	if last == 10 || len(list) == 0 {
		t.Error("nothing happened")
	}
}
