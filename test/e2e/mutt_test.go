package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// muttrc sets mutt up for an account, with both of its caches. Debian's mutt
// takes SCRAM-SHA-256-PLUS where it is offered and then has no channel binding
// for it; reading, it goes on with another mechanism, but sending it gives up.
func (s *server) muttrc(user string) string {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, sub := range []string{"headers", "bodies"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	rc := fmt.Sprintf(`set folder="imaps://127.0.0.1:%[1]s/" spoolfile="+INBOX" record="+Sent" postponed="+Drafts"
set imap_user="%[2]s@%[3]s" imap_pass="%[2]s" smtp_url="smtps://%[2]s@%[3]s@127.0.0.1:%[4]s/" smtp_pass="%[2]s"
set from="%[2]s@%[3]s" use_from=yes realname="渚" certificate_file="%[5]s" ssl_verify_host=no
set header_cache="%[6]s/headers" message_cachedir="%[6]s/bodies"
set charset=utf-8 quit=yes delete=yes move=no mark_old=no confirmappend=no confirmcreate=no wait_key=no sort=mailbox-order
set smtp_authenticators="scram-sha-256" sleep_time=0 collapse_unread=no tmpdir="%[6]s"
`, s.port(993), user, domain, s.port(465), s.cert(), dir)
	path := filepath.Join(dir, "muttrc")
	if err := os.WriteFile(path, []byte(rc), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// mutt opens INBOX on a terminal, presses keys and leaves.
func (s *server) mutt(rc, keys string) {
	s.t.Helper()
	args := []string{"LANG=C.UTF-8", "TERM=xterm", "script", "-qec",
		fmt.Sprintf("stty rows 40 cols 120; mutt -F %s -e 'push \"%s<quit>\"'", rc, keys), "/dev/null"}
	if out, err := tool(s.t, "", "env", args...); err != nil {
		s.t.Fatalf("mutt: %v\n%s", err, out)
	}
}

func TestMutt(t *testing.T) {
	s := shared(t, "mutt")
	c := s.imap("mutt")
	var letters []letter
	for _, m := range write("mutt", 60) {
		m.flags = ""
		letters = append(letters, m)
	}
	c.append("INBOX", letters)
	rc := s.muttrc("mutt")
	flags := func(box, id string) string {
		t.Helper()
		m, there := c.read(box)[id]
		if !there {
			t.Errorf("%s is not in %s", id, box)
		}
		return m.flags
	}
	// Reads one, flags those that the server finds words in, moves three, deletes one.
	s.mutt(rc, "<search>~i mutt.7@<enter><display-message><exit>"+
		"<tag-pattern>=b 渚の朝<enter><tag-prefix><flag-message><untag-pattern>~A<enter>"+
		"<tag-pattern>~s mutt.2[0-2]<enter><tag-prefix><save-message>=Archive<enter><untag-pattern>~A<enter>"+
		"<search>~i mutt.30@<enter><delete-message><sync-mailbox>")
	if f := flags("INBOX", "mutt.7"); f != "S" {
		t.Errorf("the message that was read has flags %q", f)
	}
	if f := flags("INBOX", "mutt.5"); f != "F" { // 1 of 4 has the words
		t.Errorf("the message that was found has flags %q", f)
	}
	for _, id := range []string{"mutt.20", "mutt.21", "mutt.22"} {
		flags("Archive", id)
	}
	inbox := c.read("INBOX")
	if _, there := inbox["mutt.30"]; there || len(inbox) != 56 {
		t.Errorf("INBOX has %d messages, want 56", len(inbox))
	}
	// From the caches; new mail has come, and flags have changed meanwhile.
	c.append("INBOX", write("later", 3))
	c.ok("SELECT INBOX")
	c.ok(`UID STORE %d +FLAGS (\Flagged \Seen)`, inbox["mutt.40"].uid)
	c.ok(`UID STORE %d +FLAGS (\Deleted)`, inbox["mutt.41"].uid)
	c.ok("EXPUNGE")
	s.mutt(rc, "<limit>~F ~R ~i mutt.40@<enter><copy-message>=Archive<enter><limit>all<enter>"+
		"<search>~i later.1@<enter><display-message><exit>")
	if f := flags("INBOX", "later.1"); !strings.Contains(f, "S") {
		t.Errorf("the new message that was read has flags %q", f)
	}
	if f := flags("Archive", "mutt.40"); !strings.Contains(f, "F") {
		t.Errorf("the copy has flags %q", f)
	}
}

// TestMuttSends submits and keeps a copy in Sent.
func TestMuttSends(t *testing.T) {
	s := shared(t, "mus", "mur")
	rc := s.muttrc("mus")
	out, err := tool(t, "波の音\n", "env", "LANG=C.UTF-8", "mutt", "-F", rc, "-s", "渚より", "--", "mur@"+domain)
	if err != nil {
		t.Fatalf("mutt: %v\n%s", err, out)
	}
	s.arrives("mur", "Subject: =?")
	c := s.imap("mus")
	c.ok("EXAMINE Sent")
	all := c.ok("SEARCH CHARSET UTF-8 SUBJECT {9+}\r\n渚より TEXT {9+}\r\n波の音")
	if got := all[0].String(); got != "* SEARCH 1" {
		t.Errorf("Sent: %s", got)
	}
}
