package mailbox

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

func list(t testing.TB, s *Store, id int64) (out []Message) {
	t.Helper()
	for m, err := range s.List(t.Context(), id, All[0]) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func testListAndRead(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(7), Flagged|1<<20, "$Junk", "b", "A", "$junk")
	in := folder(t, s, a, "")
	all := list(t, s, in.ID)
	if len(all) != 1 {
		t.Fatalf("%d messages", len(all))
	}
	m := all[0]
	text := testPrefix + testBody(7)
	if m.UID != 1 || m.Flags != Flagged || !slices.Equal(m.Keywords, []string{"$Junk", "A", "b"}) || m.Size != int64(len(text)) ||
		!m.Received.Equal(time.UnixMilli(1_700_000_000_000)) || time.Since(m.Saved).Abs() > time.Minute || m.ModSeq != in.ModSeq ||
		m.EmailID == 0 || m.Trace != "t" {
		t.Fatalf("%+v", m)
	}
	c, err := s.Open(ctx, in.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Size() != m.Size {
		t.Fatalf("size %d, want %d", c.Size(), m.Size)
	}
	if err := iotest.TestReader(c, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(ctx, in.ID, 2); !errors.Is(err, ErrNoMessage) {
		t.Fatalf("open nothing: %v", err)
	}
	if _, err := s.Message(ctx, in.ID, 2); !errors.Is(err, ErrNoMessage) {
		t.Fatalf("message nothing: %v", err)
	}
}

func testListInPieces(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	const n = 2*listChunk + 3
	fill(t, s, a, n)
	in := folder(t, s, a, "")
	var uids []uint32
	for _, m := range list(t, s, in.ID) {
		uids = append(uids, m.UID)
	}
	since, err := s.ChangedIn(ctx, in.ID, All, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.UIDs(ctx, in.ID)
	if err != nil || len(all) != n || !slices.IsSorted(all) || !slices.Equal(uids, all) || !slices.Equal(since, all) {
		t.Fatalf("%d, %d, %d messages, want %d, %v", len(uids), len(since), len(all), n, err)
	}
	// One mod-sequence for more messages than a piece holds.
	res, err := s.StoreFlags(ctx, in.ID, []Range{{1, listChunk + 10}}, FlagChange{Op: Add, Flags: Seen, Unless: -1})
	if err != nil || len(res.Changed) != listChunk+10 {
		t.Fatalf("%d changed, %v", len(res.Changed), err)
	}
	if got, err := s.ChangedIn(ctx, in.ID, All, in.ModSeq); err != nil || len(got) != listChunk+10 {
		t.Fatalf("%d changed since, want %d, %v", len(got), listChunk+10, err)
	}
	for range s.List(ctx, in.ID, All[0]) {
		break // must hold no transaction
	}
}

// fill makes n messages of one body in an empty INBOX.
func fill(t testing.TB, s *Store, account int64, n uint32) {
	t.Helper()
	mustDeliver(t, s, account, "", testBody(1), 0)
	in := folder(t, s, account, "")
	for has := uint32(1); has < n; {
		c, err := s.Copy(t.Context(), in.ID, in.ID, []Range{{1, min(has, n-has)}}, Shed{})
		if err != nil {
			t.Fatal(err)
		}
		has += uint32(len(c.To))
	}
}

// fillDistinct puts n messages with bodies of their own into the INBOX.
func fillDistinct(t testing.TB, s *Store, account int64, n int, text func(int) string) {
	t.Helper()
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	for part := range slices.Chunk(numbers, 1000) {
		var bodies []blob.Stored
		for _, i := range part {
			bodies = append(bodies, keep(t, s, text(i)))
		}
		err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
			for _, b := range bodies {
				id, err := s.Bodies.Add(tx, b, 1)
				if err == nil {
					_, err = s.Deliver(tx, account, "", NewMessage{Body: id, BodySize: b.Size, Counted: true, Prefix: []byte(testPrefix)})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func testStoreFlags(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for i := range 3 {
		mustDeliver(t, s, a, "", testBody(i), 0)
	}
	in := folder(t, s, a, "")
	first := in.ModSeq
	for i, c := range []struct {
		set      []Range
		change   FlagChange
		flags    []Flags
		keywords string
		changed  int
		unseen   int64
	}{
		{[]Range{{1, 1}}, FlagChange{Op: Add, Flags: Seen, Unless: -1}, []Flags{Seen, 0, 0}, "", 1, 2},
		{[]Range{{1, 1}}, FlagChange{Op: Add, Flags: Seen, Unless: -1}, []Flags{Seen, 0, 0}, "", 0, 2},
		{All, FlagChange{Op: Add, Flags: Flagged, Keywords: []string{"x"}, Unless: -1}, []Flags{Seen | Flagged, Flagged, Flagged}, "x", 3, 2},
		{All, FlagChange{Op: Add, Keywords: []string{"X", "$Junk"}, Unless: -1}, []Flags{Seen | Flagged, Flagged, Flagged}, "$Junk x", 3, 2},
		{All, FlagChange{Op: Remove, Flags: Flagged, Keywords: []string{"$JUNK"}, Unless: -1}, []Flags{Seen, 0, 0}, "x", 3, 2},
		{[]Range{{2, 9}, {2, 3}}, FlagChange{Op: Replace, Flags: Seen | Draft, Keywords: []string{"x"}, Unless: -1}, []Flags{Seen, Seen | Draft, Seen | Draft}, "x", 2, 0},
		{All, FlagChange{Op: Replace, Unless: first}, []Flags{Seen, Seen | Draft, Seen | Draft}, "x", 0, 0},
		{[]Range{{5, 2}}, FlagChange{Op: Replace, Unless: -1}, []Flags{Seen, Seen | Draft, Seen | Draft}, "x", 0, 0},
	} {
		before := folder(t, s, a, "")
		res, err := s.StoreFlags(ctx, in.ID, c.set, c.change)
		if err != nil || len(res.Changed) != c.changed {
			t.Fatalf("%d: %d changed, want %d, %v", i, len(res.Changed), c.changed, err)
		}
		after := folder(t, s, a, "")
		if (after.ModSeq > before.ModSeq) != (c.changed > 0) || after.Unseen != c.unseen {
			t.Errorf("%d: was %+v, is %+v", i, before, after)
		}
		for j, m := range list(t, s, in.ID) {
			if words, _ := joinKeywords(m.Keywords); m.Flags != c.flags[j] || words != c.keywords {
				t.Errorf("%d: message %d has %b %v, want %b %s", i, m.UID, m.Flags, m.Keywords, c.flags[j], c.keywords)
			}
		}
	}
	res, _ := s.StoreFlags(ctx, in.ID, All, FlagChange{Op: Replace, Unless: first})
	if !slices.Equal(res.Modified, []uint32{1, 2, 3}) {
		t.Errorf("modified %v", res.Modified)
	}
	if got, err := s.Keywords(ctx, in.ID); err != nil || !slices.Equal(got, []string{"x"}) {
		t.Errorf("keywords %v, %v", got, err)
	}
	for _, bad := range []string{"", "a b", "a]", `\Seen`, "ü", "a\x00"} {
		if _, err := s.StoreFlags(ctx, in.ID, All, FlagChange{Keywords: []string{bad}}); !errors.Is(err, ErrKeyword) {
			t.Errorf("keyword %q: %v", bad, err)
		}
	}
}

func testExpunge(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for i := range 6 {
		mustDeliver(t, s, a, "", testBody(i), Flags(i%2)*Deleted)
	}
	in := folder(t, s, a, "")
	if n, size, err := s.DeletedCount(ctx, in.ID); err != nil || n != 3 || size == 0 {
		t.Fatalf("%d deleted, %d octets, %v", n, size, err)
	}
	for i, c := range []struct {
		set    []Range
		marked bool
		want   []uint32
	}{
		{[]Range{{1, 3}}, true, []uint32{2}},
		{[]Range{{1, 1}, {9, 9}}, true, nil},
		{All, true, []uint32{4, 6}},
		{[]Range{{3, 3}, {1, 1}, {1, 3}}, false, []uint32{1, 3}},
	} {
		before := folder(t, s, a, "")
		got, modseq, err := s.Expunge(ctx, in.ID, c.set, c.marked)
		if err != nil || !slices.Equal(got, c.want) {
			t.Fatalf("%d: expunged %v, want %v, %v", i, got, c.want, err)
		}
		gone, complete, err := s.Expunged(ctx, in.ID, before.ModSeq)
		if err != nil || !complete || !slices.Equal(gone, c.want) {
			t.Fatalf("%d: remembers %v, %v, %v", i, gone, complete, err)
		}
		if f := folder(t, s, a, ""); f.ModSeq != modseq || (modseq > before.ModSeq) != (len(c.want) > 0) {
			t.Fatalf("%d: mod-sequence %d, %+v", i, modseq, f)
		}
		sound(t, s)
	}
	if u, err := s.Usage(ctx, a); err != nil || u.Messages != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
}

func testExpungeMemoryIsBounded(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	fill(t, s, a, expungedKept+trimEvery+1)
	in := folder(t, s, a, "")
	if _, _, err := s.Expunge(ctx, in.ID, []Range{{1, 1}}, false); err != nil {
		t.Fatal(err)
	}
	mid := folder(t, s, a, "")
	if _, _, err := s.Expunge(ctx, in.ID, []Range{{2, trimEvery + 1}}, false); err != nil {
		t.Fatal(err)
	}
	recent := folder(t, s, a, "")
	if _, _, err := s.Expunge(ctx, in.ID, All, false); err != nil {
		t.Fatal(err)
	}
	gone, complete, err := s.Expunged(ctx, in.ID, mid.ModSeq)
	if err != nil || complete || len(gone) != expungedKept {
		t.Fatalf("%d remembered, complete %v, %v", len(gone), complete, err)
	}
	if _, complete, _ := s.Expunged(ctx, in.ID, recent.ModSeq); !complete {
		t.Fatal("the newest are forgotten")
	}
}

func testCopyMove(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for i := range 4 {
		mustDeliver(t, s, a, "", testBody(i), Flags(i)&Seen, "k")
	}
	mustDeliver(t, s, a, "Trash", testBody(9), 0)
	in, trash := folder(t, s, a, ""), folder(t, s, a, "Trash")
	was := list(t, s, in.ID)
	c, err := s.Copy(ctx, in.ID, trash.ID, []Range{{2, 3}, {7, 7}}, Shed{})
	if err != nil || c.UIDValidity != trash.UIDValidity || !slices.Equal(c.From, []uint32{2, 3}) || !slices.Equal(c.To, []uint32{2, 3}) {
		t.Fatalf("%+v, %v", c, err)
	}
	sound(t, s)
	m, err := s.Move(ctx, in.ID, trash.ID, []Range{{1, 2}, {4, 4}}, Shed{})
	if err != nil || !slices.Equal(m.From, []uint32{1, 2, 4}) || !slices.Equal(m.To, []uint32{4, 5, 6}) || m.ModSeq != folder(t, s, a, "").ModSeq {
		t.Fatalf("%+v, %v", m, err)
	}
	there := list(t, s, trash.ID)
	for i, from := range []int{-1, 1, 2, 0, 1, 3} {
		if from < 0 {
			continue
		}
		x, y := was[from], there[i]
		if x.EmailID != y.EmailID || x.Flags != y.Flags || !slices.Equal(x.Keywords, y.Keywords) || !x.Received.Equal(y.Received) || x.Size != y.Size {
			t.Errorf("%+v became %+v", x, y)
		}
	}
	c, err = s.Copy(ctx, in.ID, in.ID, All, Shed{}) // onto itself
	if err != nil || !slices.Equal(c.From, []uint32{3}) || !slices.Equal(c.To, []uint32{5}) {
		t.Fatalf("%+v, %v", c, err)
	}
	m, err = s.Move(ctx, in.ID, in.ID, All, Shed{})
	if err != nil || !slices.Equal(m.From, []uint32{3, 5}) || !slices.Equal(m.To, []uint32{6, 7}) {
		t.Fatalf("%+v, %v", m, err)
	}
	r, err := s.Open(ctx, trash.ID, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != testPrefix+testBody(0) {
		t.Fatalf("%q, %v", text, err)
	}
}

// testShed: what copies may not have they never had, not for a moment either.
func testShed(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for range 2 {
		mustDeliver(t, s, a, "", testBody(0), Seen|Deleted|Flagged, "k")
	}
	in, trash := folder(t, s, a, ""), folder(t, s, a, "Trash")
	if _, err := s.Copy(ctx, in.ID, trash.ID, []Range{{1, 1}}, Shed{Flags: Seen | Deleted}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Move(ctx, in.ID, trash.ID, []Range{{2, 2}}, Shed{Flags: Deleted, Keywords: true}); err != nil {
		t.Fatal(err)
	}
	there := list(t, s, trash.ID)
	if m := there[0]; m.Flags != Flagged || !slices.Equal(m.Keywords, []string{"k"}) {
		t.Errorf("copy has %v %v", m.Flags, m.Keywords)
	}
	if m := there[1]; m.Flags != Seen|Flagged || len(m.Keywords) > 0 {
		t.Errorf("moved message has %v %v", m.Flags, m.Keywords)
	}
	if now := folder(t, s, a, "Trash"); now.ModSeq != trash.ModSeq+2 || now.Unseen != 1 {
		t.Errorf("%d changes, %d unseen", now.ModSeq-trash.ModSeq, now.Unseen)
	}
	sound(t, s)
}

// testLastUID: a folder that has no UIDs left can be read, and mail finds
// another one.
func testLastUID(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(0), 0)
	in, trash := folder(t, s, a, ""), folder(t, s, a, "Trash")
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`UPDATE mailbox SET uidnext = 4294967294 WHERE id = ?`, trash.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if uid := mustDeliver(t, s, a, "Trash", testBody(1), 0); uid != 4294967294 {
		t.Fatalf("UID %d", uid)
	}
	if uid := mustDeliver(t, s, a, "Trash", testBody(2), 0); uid != 2 {
		t.Fatalf("UID %d of what should be in the INBOX", uid)
	}
	if _, err := s.Copy(ctx, in.ID, trash.ID, All, Shed{}); !errors.Is(err, ErrUIDs) {
		t.Error(err)
	}
	if _, err := s.Move(ctx, in.ID, trash.ID, All, Shed{}); !errors.Is(err, ErrUIDs) {
		t.Error(err)
	}
	if _, err := s.AppendAll(ctx, trash.ID, []NewMessage{{Body: list(t, s, in.ID)[0].Body}}); !errors.Is(err, ErrUIDs) {
		t.Error(err)
	}
	if f := folder(t, s, a, "Trash"); f.UIDNext != 4294967295 || f.Messages != 1 {
		t.Errorf("%+v", f)
	}
	sound(t, s)
}

func testCopyOverQuota(t *testing.T, s *Store) {
	one := int64(len(testPrefix) + len(testBody(0)))
	a := addAccount(t, s, "a", 3*one)
	mustDeliver(t, s, a, "", testBody(0), 0)
	mustDeliver(t, s, a, "", testBody(0), 0)
	in, trash := folder(t, s, a, ""), folder(t, s, a, "Trash")
	if _, err := s.Copy(t.Context(), in.ID, trash.ID, All, Shed{}); mail.AsReply(err).Enhanced != "4.2.2" {
		t.Fatalf("copy: %v", err)
	}
	if f := folder(t, s, a, "Trash"); f.Messages != 0 {
		t.Fatalf("%+v", f)
	}
	if _, err := s.Move(t.Context(), in.ID, trash.ID, All, Shed{}); err != nil {
		t.Fatal(err)
	}
}

func testRepair(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for i := range 4 {
		mustDeliver(t, s, a, "", testBody(i), 0)
	}
	in := folder(t, s, a, "")
	if _, _, err := s.Expunge(ctx, in.ID, []Range{{4, 4}}, false); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{
		`UPDATE mailbox SET messages = 9 WHERE name = 'INBOX'`,
		`UPDATE mailbox SET unseen = unseen - 1 WHERE name = 'INBOX'`,
		`UPDATE mailbox SET size = 1 WHERE name = 'Junk'`,
		`UPDATE mailbox SET uidnext = 3 WHERE name = 'INBOX'`,
		`UPDATE mailbox SET uidnext = 4 WHERE name = 'INBOX'`,
		`UPDATE mailbox SET modseq = 1 WHERE name = 'INBOX'`,
		`UPDATE account SET used = 0`,
		`UPDATE account SET messages = 99`,
		`UPDATE account SET uidvalid = 1`,
		`UPDATE body SET refs = 0`,
		`UPDATE message SET size = size + 1 WHERE uid = 2`,
		`INSERT INTO expunged (mailbox, uid, modseq) SELECT mailbox, uid, 1 FROM message WHERE uid = 2`,
		`INSERT INTO mailbox_grant (mailbox, grantee, rights) SELECT id, 1099511627776, 1 FROM mailbox WHERE name = 'Junk'`,
		`INSERT INTO mailbox_grant (mailbox, grantee, rights) SELECT id, account, 1 FROM mailbox WHERE name = 'Junk'`,
		`INSERT INTO mailbox_grant (mailbox, grantee, rights) SELECT id, 0, 0 FROM mailbox WHERE name = 'Junk'`,
		`INSERT INTO annotation (account, mailbox, entry, value) VALUES (1099511627776, 0, '/private/x', 'x')`,
		`INSERT INTO annotation (account, mailbox, entry, value) SELECT id, 1099511627776, '/private/x', 'x' FROM account`,
	} {
		if err := s.DB.Write(ctx, func(tx *db.Tx) error { _, err := tx.Exec(damage); return err }); err != nil {
			t.Fatal(err)
		}
		if found, err := s.Check(ctx); err != nil || len(found) == 0 {
			t.Errorf("%s: found %v, %v", damage, found, err)
		}
		if err := s.Repair(ctx); err != nil {
			t.Fatal(err)
		}
		sound(t, s)
	}
	if err := s.DB.Write(ctx, func(tx *db.Tx) error { _, err := tx.Exec(`UPDATE account SET used = 5 WHERE id = ?`, a); return err }); err != nil {
		t.Fatal(err)
	}
	if u, err := s.Recount(ctx, a); err != nil || u.Messages != 3 || u.Used == 5 {
		t.Fatalf("%+v, %v", u, err)
	}
}
