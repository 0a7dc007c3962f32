package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// offlineimap is a computer that keeps a Maildir tree like an account by
// OfflineIMAP, with names in UTF-8.
type offlineimap struct {
	s   *server
	dir string
}

func newOfflineimap(s *server, user string) *offlineimap {
	s.t.Helper()
	text, err := os.ReadFile(s.cert())
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		s.t.Fatal("no certificate")
	}
	sum := sha256.Sum256(block.Bytes)
	o := &offlineimap{s, s.t.TempDir()}
	rc := fmt.Sprintf(`[general]
metadata = %[1]s/state
accounts = a
ui = basic
fsync = False
[Account a]
localrepository = near
remoterepository = far
utf8foldernames = yes
[Repository near]
type = Maildir
localfolders = %[1]s/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = %[2]s
remoteuser = %[3]s@%[4]s
remotepass = %[3]s
ssl = yes
cert_fingerprint = %[5]s
maxconnections = 3
`, o.dir, s.port(993), user, domain, hex.EncodeToString(sum[:]))
	if err := os.WriteFile(filepath.Join(o.dir, "rc"), []byte(rc), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// sync runs once.
func (o *offlineimap) sync() {
	o.s.t.Helper()
	began := time.Now()
	out, err := tool(o.s.t, "", "offlineimap", "-o", "-c", filepath.Join(o.dir, "rc"))
	if err != nil {
		o.s.t.Fatalf("offlineimap: %v\n%s", err, out)
	}
	o.s.t.Logf("offlineimap took %v", time.Since(began).Round(time.Millisecond))
}

// maildir knows the names of the tests' folders.
func (o *offlineimap) maildir(name string) string {
	if plain, ok := map[string]string{plans: "仕事.計画", travels: "旅行", photos: "写真", friends: "友達"}[name]; ok {
		name = plain
	}
	return filepath.Join(o.dir, "mail", name)
}

// pairs: its files bear the server's UIDs.
func (o *offlineimap) pairs(string) func(far uint32) uint32 {
	return func(far uint32) uint32 { return far }
}

// TestOfflineIMAP keeps hundreds of messages alike on a server and a computer,
// while both sides change.
func TestOfflineIMAP(t *testing.T) {
	t.Parallel()
	s := start(t, "", "oi")
	m := newMirror(s, "oi", newOfflineimap(s, "oi"))
	n := 200
	if long() {
		n = 4000
	}
	m.far("INBOX", write("first-far", n*3/4))
	m.near("INBOX", write("first-near", n/4))
	m.d.sync()
	m.want.check(t, m.c, m.d)
	m.changes("INBOX", 10, 5)

	m.c.ok("CREATE %s", plans)
	m.far(plans, write("plans", 40))
	m.near(travels, write("travels", 40))
	m.d.sync()
	m.want.check(t, m.c, m.d)
	m.changes(plans, 3, 5)
	m.changes(travels, 3, 5)

	// A new name is a new folder, too, for OfflineIMAP: the old one goes by hand.
	m.c.ok("UNSELECT")
	m.c.ok("RENAME %s %s", plans, photos)
	m.rename(plans, photos)
	if err := os.RemoveAll(m.d.maildir(plans)); err != nil {
		t.Fatal(err)
	}
	m.d.sync()
	m.want.check(t, m.c, m.d)
	m.report()
}

// rename moves what both sides must hold.
func (m *mirror) rename(from, to string) {
	m.want[to] = m.want[from]
	delete(m.want, from)
}
