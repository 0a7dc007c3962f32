package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// computer keeps a Maildir tree like an account.
type computer interface {
	// sync runs its program once.
	sync()
	// maildir is the directory of a folder, by its name in modified UTF-7.
	maildir(name string) string
	// pairs gives the UIDs of a folder's messages in the Maildir, as its program
	// has written them down, by those of the server.
	pairs(name string) func(far uint32) uint32
}

// device is a computer that keeps a Maildir tree like an account by mbsync.
type device struct {
	s         *server
	user, dir string
}

// newDevice sets a computer up that holds nothing yet.
func newDevice(s *server, user string) *device {
	s.t.Helper()
	d := &device{s, user, s.t.TempDir()}
	rc := fmt.Sprintf(`FSync no
IMAPAccount a
Host 127.0.0.1
Port %s
User %s@%s
Pass %s
SSLType IMAPS
SystemCertificates no
CertificateFile %s
Timeout 60

IMAPStore far
Account a

MaildirStore near
Path %[6]s/mail/
Inbox %[6]s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState %[6]s/state/
`, s.port(993), user, domain, user, s.cert(), d.dir)
	if err := os.WriteFile(filepath.Join(d.dir, "rc"), []byte(rc), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, sub := range []string{"mail", "state"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	return d
}

func (d *device) maildir(name string) string { return filepath.Join(d.dir, "mail", name) }

// sync runs mbsync once; it must succeed.
func (d *device) sync() {
	d.s.t.Helper()
	if out, err := d.try(); err != nil {
		d.s.t.Fatalf("mbsync: %v\n%s", err, out)
	}
}

func (d *device) try() (string, error) {
	d.s.t.Helper()
	began := time.Now()
	out, err := tool(d.s.t, "", "mbsync", "-c", filepath.Join(d.dir, "rc"), "-V", "all")
	d.s.t.Logf("mbsync took %v", time.Since(began).Round(time.Millisecond))
	return out, err
}

// account is what both sides must hold in the end: letters by token, by folder.
type account map[string]map[string]letter

func (a account) put(name string, letters []letter) {
	if a[name] == nil {
		a[name] = map[string]letter{}
	}
	for _, m := range letters {
		a[name][m.id] = m
	}
}

// ids gives n tokens of a folder, others with each call.
func (a account) ids(random *rand.Rand, name string, n int) []string {
	all := slices.Sorted(maps.Keys(a[name]))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

// flag changes a letter's flags.
func (a account) flag(name, id, flags string) {
	m := a[name][id]
	m.flags = flags
	a[name][id] = m
}

// same fails where a side does not hold what it must.
func (a account) same(t testing.TB, side, name string, got folder) {
	t.Helper()
	wrong := 0
	for id, m := range a[name] {
		have, there := got[id]
		if want := (copied{flags: m.flags, hash: digest([]byte(m.text))}); !there || have.flags != want.flags || have.hash != want.hash {
			if wrong++; wrong < 5 {
				t.Errorf("%s, %s: %s is %+v (there: %v), want %+v", side, name, id, have, there, want)
			}
		}
	}
	for id := range got {
		if _, known := a[name][id]; !known {
			if wrong++; wrong < 10 {
				t.Errorf("%s, %s: %s should be gone", side, name, id)
			}
		}
	}
	if wrong > 0 {
		t.Fatalf("%s, %s: %d of %d messages are not as they should be", side, name, wrong, len(a[name]))
	}
}

// check compares all that the server and the device hold with what they must,
// and their UIDs with what the device's program wrote down of both.
func (a account) check(t testing.TB, c *session, d computer) {
	t.Helper()
	for name := range a {
		far, near := c.read(name), readMaildir(t, d.maildir(name))
		a.same(t, "the server", name, far)
		a.same(t, "the device", name, near)
		pairs := d.pairs(name)
		for id, m := range far {
			if near[id].uid == 0 || pairs(m.uid) != near[id].uid {
				t.Errorf("%s: %s has UID %d and %d, where %d and %d are a pair", name, id, m.uid, near[id].uid, m.uid, pairs(m.uid))
			}
		}
	}
	var boxes []string
	for _, name := range c.list() {
		if _, err := os.Stat(filepath.Join(d.maildir(name), "cur")); err != nil {
			t.Errorf("the device has no folder %s: %v", name, err)
		}
		boxes = append(boxes, name)
	}
	for name := range a {
		if !slices.Contains(boxes, name) {
			t.Errorf("the server has no folder %s", name)
		}
	}
}

// pairs reads mbsync's record of a folder.
func (d *device) pairs(name string) func(far uint32) uint32 {
	d.s.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "state", strings.ReplaceAll(name, "/", "!")))
	if err != nil {
		d.s.t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(text), "\n\n")
	pairs := map[uint32]uint32{}
	for line := range strings.Lines(lines) {
		var far, near uint32
		if n, _ := fmt.Sscan(line, &far, &near); n == 2 {
			pairs[far] = near
		}
	}
	return func(far uint32) uint32 { return pairs[far] }
}
