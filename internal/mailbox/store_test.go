package mailbox

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// onBoth runs a test on every database there is.
func onBoth(t *testing.T, test func(*testing.T, *Store)) {
	t.Run("sqlite", func(t *testing.T) {
		d, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/test.db")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		test(t, newStore(t, d))
	})
}

// newStore makes a store on d.
func newStore(t testing.TB, d *db.DB) *Store {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	b, err := bus.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	s := &Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}, Bus: b}
	t.Cleanup(func() { sound(t, s) })
	return s
}

// sound checks the invariants, at the end of every test and wherever one likes.
func sound(t testing.TB, s *Store) {
	t.Helper()
	found, err := s.Check(context.Background(), true)
	if err != nil {
		t.Error(err)
	}
	for _, p := range found {
		t.Error(p)
	}
}

// addAccount makes an account with a quota in octets.
func addAccount(t testing.TB, s *Store, name string, quota int64) (id int64) {
	t.Helper()
	err := s.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO domain (name, created) VALUES ('example.test', 1) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		id, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, quota, created, changed)
			SELECT id, ?, ?, CAST(? AS BIGINT), 1, 1 FROM domain WHERE name = 'example.test' RETURNING id`, name, name, quota)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const testPrefix = "Return-Path: <a@example.test>\r\n"

// testBody is the n-th body.
func testBody(n int) string {
	return fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", n, strings.Repeat("x", n%50))
}

// store keeps text in the blob store.
func keep(t testing.TB, s *Store, text string) blob.Stored {
	t.Helper()
	w, err := s.Bodies.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deliver delivers text and gives its UID.
func deliver(t testing.TB, s *Store, account int64, folder, text string, flags Flags, keywords ...string) (uid uint32, err error) {
	t.Helper()
	b := keep(t, s, text)
	err = s.DB.Write(t.Context(), func(tx *db.Tx) error {
		id, err := s.Bodies.Add(tx, b, 1)
		if err != nil {
			return err
		}
		uid, err = s.Deliver(tx, account, folder, NewMessage{Body: id, BodySize: b.Size, Counted: true,
			Prefix: []byte(testPrefix), Received: time.UnixMilli(1_700_000_000_000), Trace: "t", Flags: flags, Keywords: keywords})
		return err
	})
	return uid, err
}

func mustDeliver(t testing.TB, s *Store, account int64, folder, text string, flags Flags, keywords ...string) uint32 {
	t.Helper()
	uid, err := deliver(t, s, account, folder, text, flags, keywords...)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}
