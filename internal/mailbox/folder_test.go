package mailbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/store/db"
	"golang.org/x/text/unicode/norm"
)

func TestNormalName(t *testing.T) {
	for in, want := range map[string]string{
		"": "INBOX", "inbox": "INBOX", "InBox/a": "INBOX/a", "Inboxes": "Inboxes", "a/b": "a/b",
		"\u304b\u3099": "\u304c", "e\u0301": "\u00e9", "a b": "a b", "受信箱": "受信箱",
		strings.Repeat("a/", MaxDepth-1) + "a": strings.Repeat("a/", MaxDepth-1) + "a",
	} {
		if got, err := NormalName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"/", "a/", "/a", "a//b", ".", "a/..", "a\x00", "a\r\nb", "a\u007f", "\xff", "a*", "a%", `\Junk`, "#news",
		"a\u202eb", strings.Repeat("a", MaxLevel+1), strings.Repeat("a/", MaxDepth) + "a", strings.Repeat(strings.Repeat("a", 250)+"/", 4) + "a"} {
		if got, err := NormalName(bad); !errors.Is(err, ErrName) {
			t.Errorf("%q: %q, %v, want ErrName", bad, got, err)
		}
	}
}

func FuzzMailboxName(f *testing.F) {
	for _, s := range []string{"", "inbox/x", "a/b", "e\u0301", "\u1100\u1161\u11a8", "../x", "\xff", "a\u202eb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := NormalName(in)
		if err != nil {
			return
		}
		if again, err := NormalName(name); err != nil || again != name {
			t.Fatalf("%q gives %q gives %q, %v", in, name, again, err)
		}
		if !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) || len(name) > MaxName || strings.ContainsAny(name, "\x00\r\n*%") {
			t.Fatalf("%q gives %q", in, name)
		}
	})
}

func names(t testing.TB, s *Store, account int64) (out []string) {
	t.Helper()
	all, err := s.Folders(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		out = append(out, f.Name)
	}
	return out
}

func folder(t testing.TB, s *Store, account int64, name string) Folder {
	t.Helper()
	f, err := s.Folder(t.Context(), account, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func testFirstFolders(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	want := []string{"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"}
	if got := names(t, s, a); !slices.Equal(got, want) {
		t.Fatalf("folders %v, want %v", got, want)
	}
	if got, err := s.Subscriptions(t.Context(), a); err != nil || !slices.Equal(got, want) {
		t.Fatalf("subscriptions %v, %v", got, err)
	}
	if f := folder(t, s, a, "Trash"); f.Role != "Trash" || f.UIDValidity == 0 || f.UIDNext != 1 {
		t.Fatalf("%+v", f)
	}
	if _, err := s.Folders(t.Context(), a+100); !errors.Is(err, ErrNoAccount) {
		t.Fatalf("folders of nobody: %v", err)
	}
	if _, err := s.Folder(t.Context(), a, "missing"); !errors.Is(err, ErrNoFolder) {
		t.Fatalf("missing folder: %v", err)
	}
}

func testCreateDelete(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	f, err := s.Create(ctx, a, "work/2026", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := folder(t, s, a, "work/2026"); got != f {
		t.Fatalf("made %+v, found %+v", f, got)
	}
	for _, c := range []struct {
		name, role string
		want       error
	}{{"work/2026", "", ErrExists}, {"inbox", "", ErrExists}, {"x", "Junk", ErrExists}, {"x", "Nonsense", ErrName}, {"a//b", "", ErrName}} {
		if _, err := s.Create(ctx, a, c.name, c.role); !errors.Is(err, c.want) {
			t.Errorf("create %q %q: %v, want %v", c.name, c.role, err, c.want)
		}
	}
	mustDeliver(t, s, a, "work/2026", testBody(1), 0)
	if err := s.Delete(ctx, a, "work/2026"); err != nil {
		t.Fatal(err)
	}
	if u, _ := s.Usage(ctx, a); u != (Usage{}) {
		t.Fatalf("after deleting: %+v", u)
	}
	again, err := s.Create(ctx, a, "work/2026", "")
	if err != nil || again.UIDValidity <= f.UIDValidity || again.ID == f.ID {
		t.Fatalf("made again: %+v, was %+v, %v", again, f, err)
	}
	if uid := mustDeliver(t, s, a, "work/2026", testBody(1), 0); uid != 1 {
		t.Fatalf("UID %d", uid)
	}
	if err := s.Delete(ctx, a, "InBox"); !errors.Is(err, ErrInbox) {
		t.Fatalf("delete INBOX: %v", err)
	}
	if err := s.Delete(ctx, a, "nothing"); !errors.Is(err, ErrNoFolder) {
		t.Fatalf("delete nothing: %v", err)
	}
}

func testRename(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for _, n := range []string{"a/b", "a/b/c", "ab", "x"} {
		if _, err := s.Create(ctx, a, n, ""); err != nil {
			t.Fatal(err)
		}
	}
	mustDeliver(t, s, a, "a/b/c", testBody(1), 0)
	before := folder(t, s, a, "a/b/c")
	if err := s.Rename(ctx, a, "a", "new/top"); err != nil { // a itself is missing
		t.Fatal(err)
	}
	want := []string{"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "ab", "new/top/b", "new/top/b/c", "x"}
	if got := names(t, s, a); !slices.Equal(got, want) {
		t.Fatalf("folders %v, want %v", got, want)
	}
	after := folder(t, s, a, "new/top/b/c")
	if after.ID != before.ID || after.UIDValidity != before.UIDValidity || after.Messages != 1 {
		t.Fatalf("was %+v, is %+v", before, after)
	}
	for _, c := range []struct {
		from, to string
		want     error
	}{{"nothing", "y", ErrNoFolder}, {"x", "ab", ErrExists}, {"x", "INBOX", ErrExists}, {"x", "x/y", ErrName}, {"x", "x", ErrExists},
		{"new", strings.Repeat("a/", MaxDepth-2) + "a", ErrName}} {
		if err := s.Rename(ctx, a, c.from, c.to); !errors.Is(err, c.want) {
			t.Errorf("rename %s to %s: %v, want %v", c.from, c.to, err, c.want)
		}
	}
	if got := names(t, s, a); !slices.Equal(got, want) {
		t.Fatalf("after failed renames: %v", got)
	}
}

// Whoever holds a name must never see an older or the same UIDVALIDITY of
// another folder there.
func testRenameValidity(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	old, _ := s.Create(ctx, a, "old", "")
	s.Create(ctx, a, "name", "")
	was := folder(t, s, a, "name")
	if err := s.Delete(ctx, a, "name"); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(ctx, a, "old", "name"); err != nil {
		t.Fatal(err)
	}
	if is := folder(t, s, a, "name"); is.UIDValidity <= was.UIDValidity || is.ID != old.ID {
		t.Fatalf("was %+v, is %+v", was, is)
	}
}

func testRenameInbox(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for i := range 3 {
		mustDeliver(t, s, a, "", testBody(i), Flags(i)&Seen)
	}
	s.Create(ctx, a, "INBOX/below", "")
	before := folder(t, s, a, "")
	if err := s.Rename(ctx, a, "inbox", "old mail"); err != nil {
		t.Fatal(err)
	}
	in, moved := folder(t, s, a, ""), folder(t, s, a, "old mail")
	if in.Messages != 0 || in.ID != before.ID || in.UIDNext != before.UIDNext || in.ModSeq <= before.ModSeq {
		t.Fatalf("INBOX was %+v, is %+v", before, in)
	}
	if moved.Messages != 3 || moved.Unseen != 2 || moved.Size != before.Size {
		t.Fatalf("%+v", moved)
	}
	folder(t, s, a, "INBOX/below")
	if gone, complete, err := s.Expunged(ctx, in.ID, before.ModSeq); err != nil || !complete || !slices.Equal(gone, []uint32{1, 2, 3}) {
		t.Fatalf("expunged %v, %v, %v", gone, complete, err)
	}
}

func testSubscribe(t *testing.T, s *Store) {
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	for range 2 {
		if err := s.Subscribe(ctx, a, "not/there", true); err != nil {
			t.Fatal(err)
		}
		if err := s.Subscribe(ctx, a, "Junk", false); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"Archive", "Drafts", "INBOX", "Sent", "Trash", "not/there"}
	if got, err := s.Subscriptions(ctx, a); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v, %v, want %v", got, err, want)
	}
}

func testDeleteAll(t *testing.T, s *Store) {
	a, b := addAccount(t, s, "a", 0), addAccount(t, s, "b", 0)
	mustDeliver(t, s, a, "", testBody(1), 0)
	mustDeliver(t, s, a, "Junk", testBody(1), 0)
	mustDeliver(t, s, b, "", testBody(1), 0)
	err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
		if err := s.DeleteAll(tx, a); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM account WHERE id = ?`, a)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deliver(t, s, a, "", testBody(1), 0); !errors.Is(err, ErrNoAccount) {
		t.Fatalf("deliver to nobody: %v", err)
	}
	if f := folder(t, s, b, ""); f.Messages != 1 {
		t.Fatalf("%+v", f)
	}
}

// A large folder goes as a small one does.
func testDeleteLarge(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	mustDeliver(t, s, a, "", testBody(1), 0)
	in := folder(t, s, a, "")
	f, err := s.Create(t.Context(), a, "large", "")
	if err != nil {
		t.Fatal(err)
	}
	for range ExpungeChunk + 1 {
		if c, err := s.Copy(t.Context(), in.ID, in.ID, All, Shed{}); err != nil {
			t.Fatal(err)
		} else if len(c.To) > ExpungeChunk {
			break
		}
	}
	if _, err := s.Copy(t.Context(), in.ID, f.ID, All, Shed{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), a, "large"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Status(t.Context(), f.ID); !errors.Is(err, ErrNoFolder) {
		t.Errorf("after deleting: %v", err)
	}
	if n := count(t, s, `SELECT (SELECT count(*) FROM message WHERE mailbox = ?) + (SELECT count(*) FROM expunged WHERE mailbox = ?)`, f.ID, f.ID); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
