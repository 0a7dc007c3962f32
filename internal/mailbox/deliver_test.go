package mailbox

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

func testDeliver(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for i, c := range []struct{ folder, lands string }{
		{"", "INBOX"}, {"inbox", "INBOX"}, {"Junk", "Junk"}, {`\Junk`, "Junk"}, {`\Junk`, "Junk"}, {`\`, "INBOX"}, {`\Sent`, "Sent"},
		{"nowhere", "INBOX"}, {"bad\x00name", "INBOX"}, {`\Nothing`, "INBOX"},
	} {
		before, err := s.Folder(t.Context(), a, c.lands)
		if err != nil {
			t.Fatal(err)
		}
		uid := mustDeliver(t, s, a, c.folder, testBody(i), 0)
		after, err := s.Folder(t.Context(), a, c.lands)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(testPrefix) + len(testBody(i)))
		if uid != before.UIDNext || after.UIDNext != uid+1 || after.ModSeq <= before.ModSeq ||
			after.Messages != before.Messages+1 || after.Unseen != before.Unseen+1 || after.Size != before.Size+size {
			t.Errorf("deliver to %q: UID %d\nbefore %+v\nafter  %+v", c.folder, uid, before, after)
		}
	}
}

func testDeliverOverQuota(t *testing.T, s *Store) {
	one := int64(len(testPrefix) + len(testBody(0)))
	a := addAccount(t, s, "a", 2*one)
	for range 2 {
		mustDeliver(t, s, a, "", testBody(0), 0)
	}
	_, err := deliver(t, s, a, "", testBody(0), 0)
	var r *mail.Reply
	if !errors.As(err, &r) || r.Code != 452 || r.Enhanced != "4.2.2" {
		t.Fatalf("third message: %v, want 452 4.2.2", err)
	}
	u, err := s.Usage(t.Context(), a)
	if err != nil || u != (Usage{Used: 2 * one, Messages: 2, Limit: 2 * one}) {
		t.Fatalf("usage %+v, %v", u, err)
	}
}

func testDeliverDomainQuota(t *testing.T, s *Store) {
	a, free := addAccount(t, s, "a", 0), addAccount(t, s, "b", -1)
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE domain SET settings = '{"default_quota": 10}' WHERE id IN (SELECT domain FROM account WHERE id IN (?, ?))`, a, free)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deliver(t, s, a, "", testBody(0), 0); mail.AsReply(err).Code != 452 {
		t.Errorf("over the domain's quota: %v", err)
	}
	mustDeliver(t, s, free, "", testBody(0), 0)
}

// A delivery that is undone, or a folder that goes, must leave no wrong number
// in the cache of folder ids.
func testDeliverAfterRollback(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	b := keep(t, s, testBody(1))
	undone := errors.New("undone")
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		id, err := s.Bodies.Add(tx, b, 1)
		if err != nil {
			return err
		}
		if _, err := s.Deliver(tx, a, "", NewMessage{Body: id, BodySize: b.Size, Counted: true}); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if uid := mustDeliver(t, s, a, "", testBody(2), 0); uid != 1 {
		t.Fatalf("UID %d, want 1", uid)
	}
	s.folders.put(folderKey{a, inbox}, 1<<30)
	if uid := mustDeliver(t, s, a, "", testBody(2), 0); uid != 2 {
		t.Fatalf("UID %d with a stale cache, want 2", uid)
	}
	junk, _ := s.Folder(t.Context(), a, "Junk")
	s.folders.put(folderKey{a, inbox}, junk.ID)
	if uid := mustDeliver(t, s, a, "", testBody(2), 0); uid != 3 {
		t.Fatalf("UID %d with another folder in the cache, want 3", uid)
	}
}

func testDeliverToMany(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := deliver(t, s, a, "", testBody(i), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := s.Folder(context.Background(), a, "")
	if err != nil || f.Messages != 50 || f.UIDNext != 51 {
		t.Fatalf("%+v, %v", f, err)
	}
}
