package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// long tells whether the runs may take their time.
func long() bool { return os.Getenv("MIGIWA_LONG") == "1" }

// imap opens a session of an account whose password is its local part.
func (s *server) imap(user string) *session {
	s.t.Helper()
	c, err := client.Server{Addr: s.addr(993), TLS: true}.Login(user+"@"+domain, user)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.Timeout = 60 * time.Second
	return &session{s.t, c}
}

// session is an IMAP session whose commands must succeed.
type session struct {
	t testing.TB
	*client.Conn
}

// ok runs a command and gives the answers.
func (c *session) ok(format string, args ...any) []*client.Response {
	c.t.Helper()
	all, err := c.OK(fmt.Sprintf(format, args...))
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// letters stand for flags as in the names of Maildir files.
var letters = map[string]string{`\Draft`: "D", `\Flagged`: "F", "$Forwarded": "P", `\Answered`: "R", `\Seen`: "S", `\Deleted`: "T"}

// copied is a message as one of the sides that are kept alike holds it.
type copied struct {
	uid   uint32
	flags string // letters in order
	hash  string
	path  string // of its file, on the side of a Maildir
}

// digest gives a hash of a message without what synchronizing programs do to
// it: line ends and a header field of their own.
func digest(text []byte) string {
	plain := strings.ReplaceAll(string(text), "\r\n", "\n")
	sum := sha256.Sum256([]byte(ownFields.ReplaceAllString(plain, "")))
	return hex.EncodeToString(sum[:12])
}

var (
	ownFields  = regexp.MustCompile(`(?m)^X-(TUID|OfflineIMAP): .*\n`)
	tokenField = regexp.MustCompile(`(?m)^Message-ID: <([^@>]+)@`)
)

// token gives the left side of a message's Message-ID, which no two messages of
// a test share.
func token(t testing.TB, text []byte) string {
	t.Helper()
	m := tokenField.FindSubmatch(text)
	if m == nil {
		t.Fatalf("no Message-ID in %.300q", text)
	}
	return string(m[1])
}

// folder is what a side holds of one folder, by token.
type folder map[string]copied

// add takes a message in, which must not be there twice.
func (f folder) add(t testing.TB, side, id string, m copied) {
	t.Helper()
	if _, twice := f[id]; twice {
		t.Errorf("%s holds %s twice", side, id)
	}
	f[id] = m
}

// read gives a folder of the server's, by its name in modified UTF-7.
func (c *session) read(name string) folder {
	c.t.Helper()
	c.ok("EXAMINE %s", client.Quote(name))
	f := folder{}
	for _, r := range c.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])") {
		if r.Name() != "FETCH" {
			continue
		}
		var m copied
		var text []byte
		items := r.Values[2].List
		for i := 0; i+1 < len(items); i += 2 {
			switch v := items[i+1]; {
			case items[i].Is("UID"):
				n, err := v.Number()
				if err != nil {
					c.t.Fatal(err)
				}
				m.uid = uint32(n)
			case items[i].Is("FLAGS"):
				for _, flag := range v.List {
					m.flags += letters[flag.Text]
				}
			case items[i].Is("BODY[]"):
				text = []byte(v.Text)
			}
		}
		m.flags, m.hash = inOrder(m.flags), digest(text)
		f.add(c.t, "the server's "+name, token(c.t, text), m)
	}
	return f
}

func inOrder(letters string) string {
	l := strings.Split(letters, "")
	slices.Sort(l)
	return strings.Join(l, "")
}

// list gives the names of the server's folders, as they are on the wire.
func (c *session) list() []string {
	c.t.Helper()
	var names []string
	for _, r := range c.ok(`LIST "" *`) {
		if r.Name() == "LIST" {
			names = append(names, r.Values[3].Text)
		}
	}
	slices.Sort(names)
	return names
}

// letter is a message with the flags it has in the beginning.
type letter struct {
	id, flags, text string
}

// write makes messages of many kinds; the same names give the same messages.
func write(prefix string, n int) []letter {
	random := rand.New(rand.NewPCG(uint64(n), uint64(len(prefix))))
	all := make([]letter, n)
	for i := range all {
		id := fmt.Sprintf("%s.%d", prefix, i)
		var b strings.Builder
		fmt.Fprintf(&b, "From: =?UTF-8?B?5rip?= <friend@far.test>\nTo: you@%s\nSubject: %s\nMessage-ID: <%s@far.test>\n"+
			"Date: Tue, %d Nov 2026 10:%02d:00 +0900\n", domain, id, id, 1+i%24, i%60)
		switch i % 4 {
		case 0:
			b.WriteString("\nHello.\n")
		case 1:
			b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n渚の朝。\n.\n..\nFrom here on.\n")
		case 2:
			b.WriteString("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n")
		case 3:
			fmt.Fprintf(&b, "\n%s", strings.Repeat("The tide comes in, the tide goes out, and nobody counts.\n", random.IntN(300)))
		}
		all[i] = letter{id, []string{"", "S", "FS", "RS", "D"}[random.IntN(5)], b.String()}
	}
	return all
}

// append puts messages into a folder, a hundred a command.
func (c *session) append(name string, letters []letter) {
	c.t.Helper()
	for some := range slices.Chunk(letters, 100) {
		var b strings.Builder
		b.WriteString("APPEND " + client.Quote(name))
		for _, m := range some {
			text := strings.ReplaceAll(m.text, "\n", "\r\n")
			fmt.Fprintf(&b, ` (%s) "24-Nov-2026 10:00:00 +0900" {%d+}%s%s`, flagNames(m.flags), len(text), "\r\n", text)
		}
		c.ok("%s", b.String())
	}
}

// flagNames gives the IMAP flags that letters stand for.
func flagNames(flags string) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(letters)) {
		if strings.Contains(flags, letters[name]) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// readMaildir gives the messages of a Maildir; it is all right if there is none.
func readMaildir(t testing.TB, dir string) folder {
	t.Helper()
	f := folder{}
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, sub, e.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m := copied{hash: digest(text), path: path}
			if uid := fileUID.FindStringSubmatch(e.Name()); uid != nil {
				n, _ := strconv.ParseUint(uid[1], 10, 32) // digits, few enough
				m.uid = uint32(n)
			}
			_, flags, _ := strings.Cut(e.Name(), ":2,")
			m.flags = inOrder(flags)
			f.add(t, dir, token(t, text), m)
		}
	}
	return f
}

var fileUID = regexp.MustCompile(`,U=(\d+)`)

// writeMaildir puts messages into a Maildir, which it makes where it is not.
func writeMaildir(t testing.TB, dir string, letters []letter) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range letters {
		path := filepath.Join(dir, "new", m.id+".host")
		if m.flags != "" {
			path = filepath.Join(dir, "cur", m.id+".host:2,"+m.flags)
		}
		if err := os.WriteFile(path, []byte(m.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
