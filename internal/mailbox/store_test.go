package mailbox

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// suite is what both databases must pass. The tests share one database, each
// with accounts of its own: making one takes PostgreSQL a second.
var suite = []struct {
	name string
	test func(*testing.T, *Store)
}{
	{"Deliver", testDeliver},
	{"DeliverOverQuota", testDeliverOverQuota},
	{"DeliverDomainQuota", testDeliverDomainQuota},
	{"DeliverAfterRollback", testDeliverAfterRollback},
	{"DeliverToMany", testDeliverToMany},
	{"FirstFolders", testFirstFolders},
	{"CreateDelete", testCreateDelete},
	{"Rename", testRename},
	{"RenameValidity", testRenameValidity},
	{"RenameInbox", testRenameInbox},
	{"Subscribe", testSubscribe},
	{"DeleteAll", testDeleteAll},
	{"ListAndRead", testListAndRead},
	{"ListInPieces", testListInPieces},
	{"StoreFlags", testStoreFlags},
	{"Expunge", testExpunge},
	{"ExpungeMemoryIsBounded", testExpungeMemoryIsBounded},
	{"CopyMove", testCopyMove},
	{"Shed", testShed},
	{"LastUID", testLastUID},
	{"CopyOverQuota", testCopyOverQuota},
	{"Repair", testRepair},
	{"AppendAll", testAppendAll},
	{"Replace", testReplace},
	{"Grants", testGrants},
	{"GrantsFollowFolder", testGrantsFollowFolder},
	{"GrantsTogether", testGrantsTogether},
	{"TransferBetweenAccounts", testTransferBetweenAccounts},
	{"Annotations", testAnnotations},
	{"AnnotationBounds", testAnnotationBounds},
	{"ChangedIn", testChangedIn},
	{"StoreFlagsOfMany", testStoreFlagsOfMany},
	{"DeleteLarge", testDeleteLarge},
	{"Items", testItems},
	{"ItemsStop", testItemsStop},
	{"OutlineIsMadeAnew", testOutlineIsMadeAnew},
	{"OutlineGoesWithBody", testOutlineGoesWithBody},
	{"OpenItem", testOpenItem},
	{"Skipped", testSkipped},
	{"UnreadableItem", testUnreadableItem},
}

func TestStore(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for _, c := range suite {
			t.Run(c.name, func(t *testing.T) { c.test(t, newStore(t, d)) })
		}
	})
}

// newStore makes a store on d, with blobs that stay as long as d is tested.
func newStore(t testing.TB, d *db.DB) *Store {
	t.Helper()
	blobs, err := blob.OpenDisk(blobDir(t, d))
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
	found, err := s.Check(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, p := range found {
		t.Error(p)
	}
	err = s.Bodies.Check(context.Background(), func(p body.Problem) error { t.Error(p); return nil })
	if err != nil {
		t.Error(err)
	}
}

// blobDir is the directory of the bodies that d knows.
func blobDir(t testing.TB, d *db.DB) string {
	dir, ok := blobDirs[d]
	if !ok {
		var err error
		if dir, err = os.MkdirTemp("", "migiwa-mailbox-test"); err != nil {
			t.Fatal(err)
		}
		blobDirs[d] = dir
	}
	return dir
}

var blobDirs = map[*db.DB]string{}

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "20") // the command line can ask for more
	code := m.Run()
	for _, dir := range blobDirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// addAccount makes an account, in a domain of its own, with a quota in octets.
func addAccount(t testing.TB, s *Store, name string, quota int64) (id int64) {
	t.Helper()
	err := s.DB.Write(context.Background(), func(tx *db.Tx) error {
		var n int64
		if err := tx.Row(`SELECT count(*) FROM domain`).Scan(&n); err != nil {
			return err
		}
		d, err := tx.Insert(`INSERT INTO domain (name, created) VALUES (?, 1) RETURNING id`, fmt.Sprintf("d%d.test", n))
		if err != nil {
			return err
		}
		key := fmt.Sprintf("%s@d%d.test", name, n)
		id, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, quota, created, changed)
			VALUES (?, ?, ?, ?, 1, 1) RETURNING id`, d, key, key, quota)
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
