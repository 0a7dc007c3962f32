package fulltext

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "20") // the command line can ask for more
	os.Exit(m.Run())
}

// house is an index with mailboxes below it, and what a plain scan needs to
// know.
type house struct {
	*Index
	account, folder int64
	texts           map[uint32]string // normal, by UID
}

func newHouse(t testing.TB, d *db.DB) *house { return newHouseIn(t, d, t.TempDir()) }

// newHouseIn has its bodies in dir.
func newHouseIn(t testing.TB, d *db.DB, dir string) *house {
	t.Helper()
	blobs, err := blob.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	s := &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}}
	h := &house{Index: &Index{DB: d, Mailboxes: s}, texts: map[uint32]string{}}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		name := fmt.Sprintf("%d.test", time.Now().UnixNano())
		dom, err := tx.Insert(`INSERT INTO domain (name, created) VALUES (?, 1) RETURNING id`, name)
		if err != nil {
			return err
		}
		h.account, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed) VALUES (?, ?, '', 1, 1) RETURNING id`, dom, "a@"+name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Folder(t.Context(), h.account, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	h.folder = f.ID
	return h
}

// deliver puts messages of these texts into the folder, in one transaction.
func (h *house) deliver(t testing.TB, texts ...string) {
	t.Helper()
	messages := make([]string, len(texts))
	for i, text := range texts {
		messages[i] = "Subject: test\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text
	}
	for i, uid := range h.deliverRaw(t, messages...) {
		h.texts[uid] = Normal(texts[i])
	}
}

func (h *house) deliverRaw(t testing.TB, messages ...string) (uids []uint32) {
	t.Helper()
	stored := make([]blob.Stored, len(messages))
	for i, m := range messages {
		w, err := h.Mailboxes.Bodies.Create(t.Context())
		if err == nil {
			_, err = io.WriteString(w, m)
		}
		if err == nil {
			stored[i], err = w.Commit(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err := h.DB.Write(context.Background(), func(tx *db.Tx) error {
		uids = nil
		for _, b := range stored {
			id, err := h.Mailboxes.Bodies.Add(tx, b, 1)
			if err != nil {
				return err
			}
			uid, err := h.Mailboxes.Append(tx, h.account, h.folder, mailbox.NewMessage{Body: id, BodySize: b.Size, Counted: true, Received: time.Now(), Trace: "t"})
			if err != nil {
				return err
			}
			uids = append(uids, uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uids
}

func (h *house) expunge(t testing.TB, uids ...uint32) {
	t.Helper()
	for _, u := range uids {
		if _, _, err := h.Mailboxes.Expunge(t.Context(), h.folder, []mailbox.Range{{First: u, Last: u}}, false); err != nil {
			t.Fatal(err)
		}
		delete(h.texts, u)
	}
}

// scan is the plain search.
func (h *house) scan(what string) (uids []uint32) {
	what = Normal(what)
	for uid, text := range h.texts {
		if strings.Contains(text, what) {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return uids
}

// search is what a caller makes of Find.
func (h *house) search(t testing.TB, what string) (uids []uint32, r Result) {
	t.Helper()
	r, err := h.Find(t.Context(), h.folder, what)
	if err != nil {
		t.Fatal(err)
	}
	for uid, text := range h.texts {
		_, may := slices.BinarySearch(r.May, uid)
		_, has := slices.BinarySearch(r.Has, uid)
		if may && has {
			t.Fatalf("%q: message %d is both in Has and in May", what, uid)
		}
		if has || (may || uid > r.Upto) && strings.Contains(text, Normal(what)) {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return uids, r
}

// agrees fails the test unless the index and the scan find the same.
func (h *house) agrees(t testing.TB, what string) Result {
	t.Helper()
	got, r := h.search(t, what)
	if want := h.scan(what); !slices.Equal(got, want) {
		t.Fatalf("%q: found %v, want %v (%+v)", what, got, want, r)
	}
	return r
}

func (h *house) tend(t testing.TB) {
	t.Helper()
	if err := h.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// dropAll drops the indexes of the folder.
func (h *house) dropAll(t testing.TB) {
	t.Helper()
	for _, f := range []field{inBody, inHeader} {
		if err := h.drop(t.Context(), source{h.folder, f}); err != nil {
			t.Fatal(err)
		}
	}
}
