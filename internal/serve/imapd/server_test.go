package imapd

import (
	"strings"
	"testing"
)

func TestSelectAndIdle(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	h.deliver(t, 1, "", "Subject: one\r\n\r\ntext\r\n")
	has(t, c.ok("SELECT INBOX"), "* 1 EXISTS")
	c.send("i IDLE\r\n")
	if line := c.line(); !strings.HasPrefix(line, "+") {
		t.Fatal(line)
	}
	h.deliver(t, 1, "", "Subject: two\r\n\r\ntext\r\n")
	if line := c.line(); line != "* 2 EXISTS" {
		t.Fatal(line)
	}
	c.send("DONE\r\n")
	if line := c.line(); !strings.HasPrefix(line, "i OK") {
		t.Fatal(line)
	}
	c.no("FROBNICATE", "BAD")
	c.no("SELECT nowhere", "NO [NONEXISTENT]")
	c.ok("LOGOUT")
}
