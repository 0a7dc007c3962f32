package lesson_test

import (
	"context"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/learned"
	"github.com/migiwa/migiwa/internal/filter/lesson"
	"github.com/migiwa/migiwa/internal/filter/reputation"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// class is one account that moves mail about.
type class struct {
	t       *testing.T
	teacher *lesson.Teacher
	boxes   *mailbox.Store
	account directory.Account
	dir     string // of the bodies
}

func newClass(t *testing.T, d *db.DB) *class {
	t.Helper()
	files := t.TempDir()
	blobs, err := blob.OpenDisk(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	dir := &directory.Directory{DB: d}
	t.Cleanup(dir.Close)
	bodies := &body.Store{DB: d, Blobs: blobs}
	c := &class{t: t, dir: files, boxes: &mailbox.Store{DB: d, Bodies: bodies},
		teacher: &lesson.Teacher{DB: d, Directory: dir, Bodies: bodies, Default: func(string) filter.Mode { return filter.Label }, Log: slog.Default()}}
	c.write(func(tx *db.Tx) error {
		if _, err := dir.CreateDomain(tx, "a.test", directory.DefaultDomainSettings()); err != nil {
			return err
		}
		c.account, err = dir.CreateAccount(tx, directory.Account{Address: mail.MakeAddress("ann", "a.test")}, directory.Credential{})
		return err
	})
	return c
}

func (c *class) write(f func(tx *db.Tx) error) {
	c.t.Helper()
	if err := c.teacher.DB.Write(context.Background(), f); err != nil {
		c.t.Fatal(err)
	}
}

func (c *class) deliver(folder, text string) {
	c.t.Helper()
	w, err := c.boxes.Bodies.Create(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
	stored, err := w.Commit(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(func(tx *db.Tx) error {
		id, err := c.boxes.Bodies.Add(tx, stored, 1)
		if err != nil {
			return err
		}
		_, err = c.boxes.Deliver(tx, c.account.ID, folder, mailbox.NewMessage{Prefix: []byte(ours), Body: id, BodySize: stored.Size, Counted: true, Received: time.Now()})
		return err
	})
}

func (c *class) move(from, to string) {
	c.t.Helper()
	src, err := c.boxes.Folder(c.t.Context(), c.account.ID, from)
	if err != nil {
		c.t.Fatal(err)
	}
	dst, err := c.boxes.Folder(c.t.Context(), c.account.ID, to)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.boxes.Move(c.t.Context(), src.ID, dst.ID, mailbox.All, mailbox.Shed{}); err != nil {
		c.t.Fatal(err)
	}
}

// set says how far a filter may go.
func (c *class) set(filter, mode string) {
	c.t.Helper()
	c.write(func(tx *db.Tx) error {
		_, err := c.teacher.Directory.SetConsent(tx, directory.Consent{Account: c.account.ID, Subject: "ann@a.test", Filter: filter, New: mode})
		return err
	})
}

// want looks at what the account has taught, once all notes are worked off.
func (c *class) want(spam, ham, words int) {
	c.t.Helper()
	for {
		n, err := c.teacher.Teach(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	store := &lesson.Store{DB: c.teacher.DB}
	got, err := store.Counts(c.t.Context(), c.account.Address.Key(), learned.Hashes(c.tokens()))
	if err != nil {
		c.t.Fatal(err)
	}
	if got.Spam != spam || got.Ham != ham || (len(got.Tokens) > 0) != (words > 0) {
		c.t.Errorf("taught %d spam, %d ham, %d words; want %d, %d, %d", got.Spam, got.Ham, len(got.Tokens), spam, ham, words)
	}
}

func (c *class) tokens() []string {
	m, err := filter.FromBytes(filter.Envelope{}, []byte(letter))
	if err != nil {
		c.t.Fatal(err)
	}
	return learned.Tokens(m)
}

// ours are the fields that we put in front of the letter.
const ours = "Authentication-Results: mx.a.test;\r\n\tdkim=pass header.d=b.test\r\nReceived: from b.test ([198.51.100.9])\r\n\tby mx.a.test; now\r\n"

// Moves count for and against the sources of a message, unless that is off.
func TestMovesMakeReputation(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	store := &reputation.Store{DB: c.teacher.DB}
	want := func(spam, ham float64) {
		t.Helper()
		for n := 1; n > 0; {
			var err error
			if n, err = c.teacher.Teach(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		store = &reputation.Store{DB: c.teacher.DB} // what it has in its cache may be old
		for _, name := range []string{"domain:b.test", "net:198.51.100.0/24"} {
			v, err := store.Voices(t.Context(), name)
			if err != nil || math.Abs(v.Spam-spam) > 0.01 || math.Abs(v.Ham-ham) > 0.01 {
				t.Errorf("%s: %+v %v, want %g, %g", name, v, err, spam, ham)
			}
		}
	}
	c.deliver("INBOX", letter)
	c.move("INBOX", "Junk")
	want(1, 0)
	c.move("Junk", "INBOX")
	want(0, 1)
	c.set("reputation", "off")
	c.move("INBOX", "Junk")
	want(0, 1)
}

var letter = "From: x@b.test\r\nSubject: pills\r\n\r\n" + strings.Repeat("cheap pills for everybody\r\n", 3)

func TestMovesTeach(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		c := newClass(t, d)
		c.deliver("", letter)
		c.want(0, 0, 0)
		c.move("INBOX", "Junk")
		c.want(1, 0, 1)
		c.move("Junk", "INBOX") // a mistake
		c.want(0, 0, 0)
		c.move("INBOX", "Junk")
		c.move("Junk", "Trash")
		c.want(1, 0, 1)
	})
}

// What a filter has put into Junk and its owner takes out is wanted mail.
func TestWrongJunkTeaches(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.deliver(`\Junk`, letter)
	c.want(0, 0, 0)
	c.move("Junk", "INBOX")
	c.want(0, 1, 1)
	c.move("INBOX", "Archive")
	c.want(0, 1, 1)
	c.move("Archive", "Junk")
	c.want(0, 0, 0)
}

// Mail that is put away was wanted, until it is called junk.
func TestKeptMailTeaches(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.deliver("", letter)
	c.move("INBOX", "Archive")
	c.want(0, 1, 1)
	c.move("Archive", "Junk")
	c.want(1, 0, 1)
}

// Off means that nothing is learned, either.
func TestOffTeachesNothing(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.set("learned", "off")
	c.deliver("", letter)
	c.move("INBOX", "Junk")
	c.want(0, 0, 0)
}

func TestGoneMessageTeachesNothing(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.deliver("", letter)
	c.move("INBOX", "Junk")
	junk, err := c.boxes.Folder(t.Context(), c.account.ID, "Junk")
	if err != nil {
		t.Fatal(err)
	}
	c.write(func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM message WHERE mailbox = ?`, junk.ID)
		return err
	})
	c.want(0, 0, 0)
}

// A body that cannot be read any more does not keep others from being learned.
func TestLostBodyStopsNobody(t *testing.T) {
	c := newClass(t, dbtest.SQLite(t))
	c.deliver("", letter)
	c.move("INBOX", "Junk")
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	c.want(0, 0, 0)
}
