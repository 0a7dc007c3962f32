package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
	"pgregory.net/rapid"
)

func items(t testing.TB, s *Store, id int64, set []Range, need Need) (out []Item) {
	t.Helper()
	for it, err := range s.Items(t.Context(), id, set, need) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

func count(t testing.TB, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.DB.Read(t.Context(), func(tx *db.Tx) error { return tx.Row(query, args...).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t testing.TB, s *Store, query string, args ...any) {
	t.Helper()
	if err := s.DB.Write(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
		t.Fatal(err)
	}
}

const outlinesOf = `SELECT count(*) FROM outline WHERE body IN (SELECT body FROM message WHERE mailbox = ?)`

func testItems(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for i := range 10 {
		mustDeliver(t, s, a, "", testBody(i), Flags(i), "k")
	}
	in := folder(t, s, a, "")
	want := list(t, s, in.ID)
	for _, need := range []Need{0, NeedOutline, NeedText, NeedOutline | NeedText, NeedOutline} {
		got := items(t, s, in.ID, All, need)
		if len(got) != 10 {
			t.Fatalf("need %d: %d items", need, len(got))
		}
		for i, it := range got {
			if fmt.Sprint(it.Message) != fmt.Sprint(want[i]) {
				t.Errorf("need %d: %+v, want %+v", need, it.Message, want[i])
			}
			if (need&NeedOutline != 0) != (it.Outline != nil) || it.Outline != nil && it.Outline.Envelope.Subject != fmt.Sprint(i) {
				t.Errorf("need %d: outline of message %d: %+v", need, i, it.Outline)
			}
			if want := map[bool]string{true: testPrefix}[need&NeedText != 0]; string(it.Prefix) != want {
				t.Errorf("need %d: prefix %q, want %q", need, it.Prefix, want)
			}
		}
		if n := count(t, s, outlinesOf, in.ID); need&NeedOutline != 0 && n != 10 {
			t.Errorf("need %d: %d outlines are kept", need, n)
		}
	}
}

// The caller may stop whenever it likes; what was made until then is kept.
func testItemsStop(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for i := range 10 {
		mustDeliver(t, s, a, "", testBody(i), 0)
	}
	in := folder(t, s, a, "")
	for range s.Items(t.Context(), in.ID, []Range{{3, 3}, {5, 7}, {9, 20}}, NeedOutline) {
		break
	}
	if n := count(t, s, outlinesOf, in.ID); n != 1 {
		t.Errorf("%d outlines are kept, want 1", n)
	}
	var got []uint32
	for _, it := range items(t, s, in.ID, []Range{{9, 20}, {5, 7}, {3, 3}, {6, 6}}, NeedOutline) {
		got = append(got, it.UID)
	}
	if want := []uint32{3, 5, 6, 7, 9, 10}; !slices.Equal(got, want) {
		t.Errorf("UIDs %v, want %v", got, want)
	}
}

func testOutlineIsMadeAnew(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for i := range 4 {
		mustDeliver(t, s, a, "", testBody(i), 0)
	}
	in := folder(t, s, a, "")
	items(t, s, in.ID, All, NeedOutline)
	exec(t, s, `UPDATE outline SET data = ? WHERE body IN (SELECT body FROM message WHERE mailbox = ? AND uid = 2)`, []byte{0xff, 0xfe}, in.ID)
	exec(t, s, `UPDATE outline SET data = ? WHERE body IN (SELECT body FROM message WHERE mailbox = ? AND uid = 3)`, []byte{}, in.ID)
	for range 2 {
		for i, it := range items(t, s, in.ID, All, NeedOutline) {
			if it.Outline == nil || it.Outline.Envelope.Subject != fmt.Sprint(i) {
				t.Errorf("outline of message %d: %+v", i, it.Outline)
			}
		}
	}
	if n := count(t, s, `SELECT count(*) FROM outline WHERE length(data) < 3`); n != 0 {
		t.Errorf("%d damaged outlines are left", n)
	}
}

func testOutlineGoesWithBody(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(1), 0)
	in := folder(t, s, a, "")
	id := items(t, s, in.ID, All, NeedOutline)[0].Body
	if _, _, err := s.Expunge(t.Context(), in.ID, All, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bodies.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM outline WHERE body = ?`, id); n != 0 {
		t.Error("the outline of a collected body is still there")
	}
	s.keepOutlines(t.Context(), []Item{{Message: Message{Body: id}, Outline: new(outline.Outline)}})
	if n := count(t, s, `SELECT count(*) FROM outline WHERE body = ?`, id); n != 0 {
		t.Error("a collected body gets an outline")
	}
}

func testOpenItem(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(7), 0)
	in := folder(t, s, a, "")
	it := items(t, s, in.ID, All, NeedText)[0]
	read := func(s *Store) string {
		c, err := s.OpenItem(t.Context(), &it)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		if err != nil || int64(len(text)) != it.Size {
			t.Errorf("read %d octets of %d, %v", len(text), it.Size, err)
		}
		return string(text)
	}
	// Without a database, whoever asks it panics.
	if got := read(&Store{Bodies: &body.Store{Blobs: s.Bodies.Blobs}}); got != testPrefix+testBody(7) {
		t.Errorf("text %q", got)
	}
	it.ref = "s.0000.0-0"
	if got := read(s); got != testPrefix+testBody(7) {
		t.Errorf("moved text %q", got)
	}
	if _, _, err := s.Expunge(t.Context(), in.ID, All, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bodies.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenItem(t.Context(), &it); !errors.Is(err, ErrNoMessage) {
		t.Errorf("a message that is gone: %v", err)
	}
}

// A body that cannot be read takes no other message with it.
func testUnreadableItem(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for i := range 3 {
		mustDeliver(t, s, a, "", testBody(i), 0)
	}
	in := folder(t, s, a, "")
	it := items(t, s, in.ID, []Range{{2, 2}}, NeedText)[0]
	exec(t, s, `UPDATE body SET ref = 'nowhere' WHERE id = ?`, it.Body)
	defer exec(t, s, `UPDATE body SET ref = ? WHERE id = ?`, string(it.ref), it.Body)
	var uids, failed []uint32
	for it, err := range s.Items(t.Context(), in.ID, All, NeedOutline) {
		uids = append(uids, it.UID)
		if err != nil {
			failed = append(failed, it.UID)
		}
	}
	if !slices.Equal(uids, []uint32{1, 2, 3}) || !slices.Equal(failed, []uint32{2}) {
		t.Errorf("UIDs %v, of them failed %v", uids, failed)
	}
}

func TestItemsInPieces(t *testing.T) {
	s := newStore(t, dbtest.SQLite(t))
	a := addAccount(t, s, "a", 0)
	fill(t, s, a, 3*listChunk)
	in := folder(t, s, a, "")
	if _, _, err := s.Expunge(t.Context(), in.ID, []Range{{10, 20}, {listChunk, listChunk}}, false); err != nil {
		t.Fatal(err)
	}
	all, err := s.UIDs(t.Context(), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []uint32{1, 2, 7, 700} {
		var set []Range
		for u := uint32(1); u < 4*listChunk; u += step {
			set = append(set, Range{u, u + step/2})
		}
		var got, want []uint32
		for _, it := range items(t, s, in.ID, set, NeedText) {
			got = append(got, it.UID)
		}
		for _, u := range all {
			if slices.ContainsFunc(set, func(r Range) bool { return r.First <= u && u <= r.Last }) {
				want = append(want, u)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("step %d: %d items, want %d", step, len(got), len(want))
		}
	}
}

// Two processes of one database fill the same outlines at the same time.
func TestTwoFillOutlines(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { twoFill(t, "sqlite:"+filepath.Join(t.TempDir(), "two.db")) })
	t.Run("postgres", func(t *testing.T) { twoFill(t, dbtest.PostgresDSN(t)) })
}

func twoFill(t *testing.T, dsn string) {
	var both [2]*Store
	for i := range both {
		d, err := db.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		both[i] = newStore(t, d)
	}
	both[1].Bodies.Blobs = both[0].Bodies.Blobs
	a := addAccount(t, both[0], "a", 0)
	fillDistinct(t, both[0], a, 600, testBody)
	in := folder(t, both[0], a, "")
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			n := 0
			for _, err := range both[w%2].Items(context.Background(), in.ID, All, NeedOutline) {
				if err != nil {
					t.Error(err)
				}
				n++
			}
			if n != 600 {
				t.Errorf("%d items", n)
			}
		})
	}
	wg.Wait()
	if n := count(t, both[0], outlinesOf, in.ID); n != 600 {
		t.Errorf("%d outlines are kept", n)
	}
}

// The spans of a set hold what the set holds, in order, each once.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set []Range
		want := map[uint32]bool{}
		for range rapid.IntRange(0, 300).Draw(t, "ranges") {
			first := rapid.Uint32Range(1, 3000).Draw(t, "first")
			r := Range{first, first + rapid.SampledFrom([]uint32{0, 1, 3, 40, 600}).Draw(t, "more")}
			set = append(set, r)
			for u := r.First; u <= r.Last; u++ {
				want[u] = true
			}
		}
		var got []uint32
		for p := range spans(set) {
			part := p.list
			if part == nil {
				part = expand([]Range{p.Range}, 0)
			}
			if len(p.list) > spanUIDs || part[0] != p.First || part[len(part)-1] != p.Last {
				t.Fatalf("span %+v", p)
			}
			got = append(got, part...)
		}
		if !slices.IsSorted(got) || len(got) != len(want) {
			t.Fatalf("%v gives %v", set, got)
		}
		for _, u := range got {
			if !want[u] {
				t.Fatalf("%v gives %d", set, u)
			}
		}
	})
}

func testChangedIn(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	for range 9 {
		mustDeliver(t, s, a, "", testBody(1), 0)
	}
	in := folder(t, s, a, "")
	if _, err := s.StoreFlags(t.Context(), in.ID, []Range{{2, 2}, {4, 6}, {9, 9}}, FlagChange{Op: Add, Flags: Seen, Unless: -1}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set   []Range
		since int64
		want  []uint32
	}{
		{All, in.ModSeq, []uint32{2, 4, 5, 6, 9}},
		{[]Range{{5, 20}, {1, 3}}, in.ModSeq, []uint32{2, 5, 6, 9}},
		{[]Range{{7, 8}}, in.ModSeq, nil},
		{[]Range{{7, 8}}, 0, []uint32{7, 8}},
		{nil, 0, nil},
		{All, in.ModSeq + 1, nil},
	} {
		if got, err := s.ChangedIn(t.Context(), in.ID, c.set, c.since); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v since %d: %v, %v", c.set, c.since, got, err)
		}
	}
}

// Flags of many messages, some alike and some not, with gaps among them.
func testStoreFlagsOfMany(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	const n = 2*storeChunk + 10
	fill(t, s, a, n)
	in := folder(t, s, a, "")
	var odd []Range
	for u := uint32(1); u <= n; u += 2 {
		odd = append(odd, Range{u, u})
	}
	res, err := s.StoreFlags(t.Context(), in.ID, odd, FlagChange{Op: Add, Flags: Seen, Keywords: []string{"k"}, Unless: -1})
	if err != nil || len(res.Changed) != n/2 {
		t.Fatalf("%d changed, %v", len(res.Changed), err)
	}
	res, err = s.StoreFlags(t.Context(), in.ID, []Range{{1, 100}}, FlagChange{Op: Add, Flags: Flagged, Unless: -1})
	if err != nil || len(res.Changed) != 100 {
		t.Fatalf("%d changed, %v", len(res.Changed), err)
	}
	for _, m := range list(t, s, in.ID) {
		var want Flags
		if m.UID%2 == 1 {
			want |= Seen
		}
		if m.UID <= 100 {
			want |= Flagged
		}
		if m.Flags != want || (len(m.Keywords) == 1) != (m.UID%2 == 1) {
			t.Fatalf("message %d has %b %v", m.UID, m.Flags, m.Keywords)
		}
	}
	if now := folder(t, s, a, ""); now.Unseen != n/2 || now.ModSeq != res.ModSeq {
		t.Errorf("%+v", now)
	}
	gone, modseq, err := s.Expunge(t.Context(), in.ID, odd, false)
	if err != nil || len(gone) != n/2 || modseq != folder(t, s, a, "").ModSeq {
		t.Errorf("%d gone, mod-sequence %d, %v", len(gone), modseq, err)
	}
}

func testSkipped(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(1), Flagged, "k")
	in := folder(t, s, a, "")
	all := items(t, s, in.ID, All, 0)[0].Message
	for need := range NeedOutline | NeedText | SkipFlags | SkipRest + 1 {
		want := all
		if need&SkipFlags != 0 {
			want.Flags, want.Keywords = 0, nil
		}
		if need&SkipRest != 0 {
			want.ModSeq, want.EmailID, want.Trace = 0, 0, ""
			want.Received, want.Saved = time.UnixMilli(0), time.UnixMilli(0)
			if need&(NeedOutline|NeedText) == 0 {
				want.Size, want.Body = 0, 0
			}
		}
		it := items(t, s, in.ID, All, need)[0]
		if !reflect.DeepEqual(it.Message, want) || (it.Outline != nil) != (need&NeedOutline != 0) {
			t.Errorf("need %d: %+v, want %+v", need, it, want)
		}
	}
}
