package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Folders with Japanese names, in modified UTF-7.
const (
	plans   = "&TtVOiw-/&igh1Ow-" // 仕事/計画
	travels = "&ZcWITA-"          // 旅行
	photos  = "&UZl3Hw-"          // 写真
	friends = "&U8uQVA-"          // 友達
)

// TestMbsync keeps thousands of messages alike on a server and two computers,
// while both sides change.
func TestMbsync(t *testing.T) {
	t.Parallel()
	s := start(t, "", "mb")
	d := newDevice(s, "mb")
	m := newMirror(s, "mb", d)
	n := 2000
	if long() {
		n = 20_000
	}
	m.far("INBOX", write("first-far", n*3/4))
	m.killed(d, "pull", func() bool { return m.pulled(n / 8) })
	m.near("INBOX", write("first-near", n/4))
	m.killed(d, "push", func() bool { return m.pushed(n*3/4 + n/20) })
	m.changes("INBOX", 40, 6)
	m.folders()
	m.twoDevices(d)
	m.report()
}

// mirror is an account, a computer, and what both must hold.
type mirror struct {
	s      *server
	c      *session
	d      computer
	want   account
	random *rand.Rand
}

func newMirror(s *server, user string, d computer) *mirror {
	return &mirror{s, s.imap(user), d, account{"INBOX": {}}, rand.New(rand.NewPCG(3, 4))}
}

// report says how much is alike.
func (m *mirror) report() {
	for name, letters := range m.want {
		m.s.t.Logf("%s: %d messages alike on all sides", name, len(letters))
	}
}

func (m *mirror) far(name string, letters []letter) {
	m.s.t.Helper()
	m.c.append(name, letters)
	m.want.put(name, letters)
}

func (m *mirror) near(name string, letters []letter) {
	m.s.t.Helper()
	writeMaildir(m.s.t, m.d.maildir(name), letters)
	m.want.put(name, letters)
}

// killed runs mbsync and kills the server as soon as part tells that a part of
// its work is done; then the work must be ended as if nothing had been.
func (m *mirror) killed(d *device, what string, part func() bool) {
	s := m.s
	ended := make(chan error, 1)
	go func() {
		_, err := d.try()
		ended <- err
	}()
	for end := time.Now().Add(shortly); !part(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("mbsync does not %s", what)
		}
	}
	s.kill()
	if err := <-ended; err == nil {
		s.t.Errorf("mbsync succeeds though the server was killed: was it too fast to %s?", what)
	}
	s.serveOn()
	m.c = s.imap("mb")
	s.t.Logf("to %s: killed when the server had %d of %d messages and the device %d", what,
		len(m.c.read("INBOX")), len(m.want["INBOX"]), len(readMaildir(s.t, m.d.maildir("INBOX"))))
	m.d.sync()
	m.want.check(m.s.t, m.c, m.d)
}

// pulled tells whether the device has n messages of the server's.
func (m *mirror) pulled(n int) bool {
	names, err := filepath.Glob(m.d.maildir("INBOX") + "/*/*,U=*")
	return err == nil && len(names) >= n
}

// pushed tells whether the server has n messages.
func (m *mirror) pushed(n int) bool {
	var have int
	for _, r := range m.c.ok("STATUS INBOX (MESSAGES)") {
		if r.Name() == "STATUS" {
			fmt.Sscan(r.Values[2].List[1].Text, &have)
		}
	}
	return have >= n
}

// changes makes n changes of each of so many kinds, n new messages on each side
// of a folder among them.
func (m *mirror) changes(name string, n, kinds int) {
	t := m.s.t
	round := fmt.Sprint(m.random.Uint32())
	m.far(name, write("far-"+round, n))
	m.near(name, write("near-"+round, n))
	far, near := m.c.read(name), readMaildir(t, m.d.maildir(name))
	m.c.ok("SELECT %s", name)
	synced := m.want.synced(m.random, name, far, near)
	for i, id := range synced[:kinds*n] {
		switch i % kinds {
		case 0: // flagged and answered on the server
			m.c.ok(`UID STORE %d FLAGS.SILENT (\Flagged \Answered)`, far[id].uid)
			m.want.flag(name, id, "FR")
		case 1: // the same on the device
			refile(t, near[id].path, "FS")
			m.want.flag(name, id, "FS")
		case 2: // one flag on each side
			m.c.ok(`UID STORE %d +FLAGS.SILENT (\Answered)`, far[id].uid)
			refile(t, near[id].path, inOrder(strings.ReplaceAll(near[id].flags, "S", "")+"S"))
			m.want.flag(name, id, inOrder(strings.NewReplacer("S", "", "R", "").Replace(near[id].flags)+"RS"))
		case 3:
			m.c.ok(`UID STORE %d +FLAGS.SILENT (\Deleted)`, far[id].uid)
			delete(m.want[name], id)
		case 4:
			if err := os.Remove(near[id].path); err != nil {
				t.Fatal(err)
			}
			delete(m.want[name], id)
		case 5: // deleted in the manner of Maildir, and seen on the server
			m.c.ok(`UID STORE %d +FLAGS.SILENT (\Seen)`, far[id].uid)
			refile(t, near[id].path, inOrder(near[id].flags+"T"))
			delete(m.want[name], id)
		}
	}
	m.c.ok("EXPUNGE")
	m.d.sync()
	m.want.check(m.s.t, m.c, m.d)
	// Nothing is left to do.
	before := m.c.read(name)
	m.d.sync()
	if after := m.c.read(name); len(after) != len(before) {
		t.Errorf("%s: %d messages became %d when nothing had changed", name, len(before), len(after))
	}
}

// synced gives, in random order, the messages that both sides have.
func (a account) synced(random *rand.Rand, name string, far, near folder) []string {
	var both []string
	for _, id := range a.ids(random, name, len(a[name])) {
		if _, here := near[id]; here && far[id].uid > 0 {
			both = append(both, id)
		}
	}
	return both
}

// refile gives a file of a Maildir other flags.
func refile(t testing.TB, path, flags string) {
	t.Helper()
	base, _, _ := strings.Cut(filepath.Base(path), ":2,")
	if err := os.Rename(path, filepath.Join(filepath.Dir(filepath.Dir(path)), "cur", base+":2,"+flags)); err != nil {
		t.Fatal(err)
	}
}

// folders makes, renames and removes folders on both sides. mbsync takes a new
// name for a new folder and leaves the old one, which is not empty.
func (m *mirror) folders() {
	t := m.s.t
	m.c.ok("CREATE %s", plans)
	m.far(plans, write("plans", 120))
	m.near(travels, write("travels", 120))
	m.d.sync()
	m.want.check(m.s.t, m.c, m.d)
	m.changes(plans, 5, 6)
	m.changes(travels, 5, 6)

	m.c.ok("UNSELECT")
	m.c.ok("RENAME %s %s", plans, photos)
	m.rename(plans, photos)
	if err := os.RemoveAll(m.d.maildir(plans)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(m.d.maildir(travels), m.d.maildir(friends)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.d.maildir(friends) + "/.uidvalidity"); err != nil { // it is not the old folder
		t.Fatal(err)
	}
	m.rename(travels, friends)
	m.c.ok("DELETE %s", travels)
	m.d.sync()
	m.want.check(m.s.t, m.c, m.d)
}

// twoDevices lets two computers run mbsync at the same time, both with changes
// of their own.
func (m *mirror) twoDevices(d *device) {
	s := m.s
	other := newDevice(s, "mb")
	other.sync()
	m.want.check(m.s.t, m.c, other)
	for round := range 3 {
		m.near("INBOX", write(fmt.Sprintf("one-%d", round), 30))
		letters := write(fmt.Sprintf("two-%d", round), 30)
		writeMaildir(s.t, other.maildir("INBOX"), letters)
		m.want.put("INBOX", letters)
		m.twoDelete(other)
		outs := make(chan string, 2)
		for _, d := range []*device{d, other} {
			go func() {
				out, err := d.try()
				outs <- fmt.Sprint(err, "\n", out)
			}()
		}
		for range 2 {
			if out := <-outs; !strings.HasPrefix(out, "<nil>") {
				s.t.Errorf("mbsync beside another: %s", out)
			}
		}
	}
	for range 2 {
		m.d.sync()
		other.sync()
	}
	m.want.check(m.s.t, m.c, m.d)
	m.want.check(m.s.t, m.c, other)
}

// twoDelete deletes some messages on each computer, the same ones in part.
func (m *mirror) twoDelete(other *device) {
	t := m.s.t
	near, there := readMaildir(t, m.d.maildir("INBOX")), readMaildir(t, other.maildir("INBOX"))
	n := 0
	for _, id := range m.want.ids(m.random, "INBOX", len(m.want["INBOX"])) {
		if near[id].uid == 0 || there[id].uid == 0 {
			continue
		}
		if n%3 != 0 {
			os.Remove(near[id].path)
		}
		if n%3 != 1 {
			os.Remove(there[id].path)
		}
		delete(m.want["INBOX"], id)
		if n++; n == 30 {
			return
		}
	}
}
