package lesson_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// forward gives a mail with messages attached.
func forward(messages ...string) string {
	var b strings.Builder
	b.WriteString("From: ann@a.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=fwd\r\n\r\n--fwd\r\nContent-Type: text/plain\r\n\r\nlook\r\n")
	for _, m := range messages {
		b.WriteString("--fwd\r\nContent-Type: message/rfc822\r\n\r\n" + m + "\r\n")
	}
	return b.String() + "--fwd--\r\n"
}

// Mail that is sent on as an attachment teaches and reports as a move does, once,
// and the other address undoes it.
func TestForwarded(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		c := newClass(t, d)
		reports := &digest.Memory{MinDomains: 1}
		c.teacher.Reports = reports
		say := func(spam bool, text string, want int) {
			t.Helper()
			n, err := c.teacher.Forwarded(t.Context(), c.account, spam, strings.NewReader(text))
			if n != want || err != nil {
				t.Fatalf("%d messages, %v; want %d", n, err, want)
			}
		}
		say(true, forward(letter), 1)
		c.want(1, 0, 1)
		say(true, forward(letter), 1)
		c.want(1, 0, 1)
		say(false, forward(letter), 1)
		c.want(0, 0, 0)
		say(true, forward(letter, strings.ReplaceAll(letter, "pills", "shoes")), 2)
		c.want(2, 0, 1)
		say(true, letter, 0)
		say(true, forward(), 0)
		if changes, _, _ := reports.Changes(0); len(changes) != 5 {
			t.Errorf("%d reports", len(changes))
		}
		c.set("learned", "off")
		c.set("digest", "off")
		say(true, forward(strings.ReplaceAll(letter, "pills", "hats")), 1)
		c.want(2, 0, 1)
		if changes, _, _ := reports.Changes(0); len(changes) != 5 {
			t.Errorf("%d reports, one of them while the filter is off", len(changes))
		}
		if _, err := c.teacher.Forwarded(t.Context(), c.account, true, io.LimitReader(zeros{}, 30<<20)); err == nil {
			t.Error("a mail of 30 MB is read whole")
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A move into Junk, and nothing else, is told to who may have complaints.
func TestComplainOfMoves(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.teacher.Reports = &digest.Memory{}
	var told []string
	c.teacher.Complain = func(_ context.Context, r io.Reader) error {
		raw, err := io.ReadAll(r)
		told = append(told, string(raw))
		return err
	}
	c.deliver("INBOX", letter)
	c.move("INBOX", "Junk")
	c.want(1, 0, 1)
	c.move("Junk", "INBOX")
	c.want(0, 0, 0)
	if len(told) != 1 || told[0] != letter {
		t.Errorf("told %q", told)
	}
	c.set("digest", "off")
	c.move("INBOX", "Junk")
	c.want(1, 0, 1)
	if len(told) != 1 {
		t.Errorf("told while digest is off: %q", told)
	}
}
