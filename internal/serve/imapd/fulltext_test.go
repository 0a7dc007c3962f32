package imapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// TestSearchByIndex searches a folder large enough for the index to be asked,
// and the same with the messages read, a few at a time.
func TestSearchByIndex(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouseOn(t, d)
		deliver := func(from, to int) {
			for n := from; n <= to; n++ {
				h.deliver(t, 1, "", fmt.Sprintf("Subject: letter%d about %d things\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+
					"Dear reader%d, the kind\r\nregards, 番号%dの会\r\n社案内です\r\n", n, n%7, n%10, n%4))
			}
		}
		deliver(1, 120)
		c := h.login(t, "alice")
		c.ok("SELECT INBOX")
		search := func(keys string, last int) string {
			t.Helper()
			var all []string
			for from := 1; from <= 140; from += last {
				found := c.ok(fmt.Sprintf("UID SEARCH CHARSET UTF-8 UID %d:%d %s", from, from+last-1, keys))
				i := slices.IndexFunc(found, func(line string) bool { return strings.HasPrefix(line, "* SEARCH") })
				if i < 0 {
					t.Fatalf("%s: %q", keys, found)
				}
				all = append(all, strings.Fields(found[i])[2:]...)
			}
			return strings.Join(all, " ")
		}
		for round := range 2 {
			for _, c := range []struct {
				keys string
				some bool
			}{
				{`BODY "reader7"`, true}, {`BODY "eader"`, true}, {`BODY "kind regards"`, true}, {`BODY "regards, 番号"`, true}, {`BODY "会社"`, true},
				{`BODY "3の会社案"`, true}, {`BODY "letter"`, false}, {`BODY "absent"`, false}, {`BODY "!"`, false}, {`BODY ","`, true},
				{`TEXT "letter11"`, true}, {`TEXT "subject: letter"`, true}, {`TEXT "reader3"`, true}, {`TEXT "about 3"`, true}, {`NOT TEXT "reader3"`, true},
				{`OR BODY "reader1" TEXT "letter55"`, true}, {`NOT BODY "番号2" TEXT "about 5" BODY "reader"`, true}, {`SUBJECT letter1 BODY "番号1"`, true},
			} {
				index, read := search(c.keys, 140), search(c.keys, 35)
				if index != read || (read != "") != c.some {
					t.Errorf("round %d, %s: %q, read %q", round, c.keys, index, read)
				}
			}
			deliver(121, 130)
			c.ok("NOOP")
		}
	})
}
