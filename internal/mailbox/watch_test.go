package mailbox

import (
	"slices"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func nothing(t *testing.T, ch <-chan Change) {
	t.Helper()
	select {
	case c := <-ch:
		t.Fatalf("heard %+v", c)
	default:
	}
}

// listen gives the changes of a folder in a channel that holds many.
func listen(s *Store, id int64) (<-chan Change, func()) {
	ch := make(chan Change, 100)
	return ch, s.Watch(id, func(c Change) { ch <- c })
}

func TestWatch(t *testing.T) {
	s := newStore(t, dbtest.SQLite(t))
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	in, junk, sent := folder(t, s, a, ""), folder(t, s, a, "Junk"), folder(t, s, a, "Sent")
	one, cancelOne := listen(s, in.ID)
	again, cancelAgain := listen(s, in.ID)
	var all []int64
	cancelAll := s.WatchAccount(a, func(c Change) { all = append(all, c.Folder) })
	mustDeliver(t, s, a, "", testBody(1), 0)
	mustDeliver(t, s, a, "Junk", testBody(1), 0)
	mustDeliver(t, s, a, "Sent", testBody(1), 0)
	want := Change{Account: a, Folder: in.ID, ModSeq: in.ModSeq + 1}
	if x, y := <-one, <-again; x != want || y != want {
		t.Fatalf("heard %+v and %+v, want %+v", x, y, want)
	}
	nothing(t, one)
	if !slices.Equal(all, []int64{in.ID, junk.ID, sent.ID}) {
		t.Errorf("the account's watch heard of %v", all)
	}

	// Each kind of change is told.
	for i, change := range []func() error{
		func() error {
			_, err := s.StoreFlags(ctx, in.ID, All, FlagChange{Op: Add, Flags: Seen, Unless: -1})
			return err
		},
		func() error { _, err := s.Copy(ctx, junk.ID, in.ID, All, Shed{}); return err },
		func() error { _, _, err := s.Expunge(ctx, in.ID, []Range{{1, 1}}, false); return err },
		func() error { _, err := s.Move(ctx, in.ID, sent.ID, []Range{{2, 2}}, Shed{}); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if c := <-one; c.Folder != in.ID {
			t.Errorf("change %d: %+v", i, c)
		}
	}
	cancelOne()
	cancelOne()
	cancelAgain()
	mustDeliver(t, s, a, "", testBody(1), 0)
	nothing(t, one)
	cancelAll()
	if len(s.watchers.byFolder)+len(s.watchers.byAccount) != 0 || s.watchers.leave != nil {
		t.Error("the store still listens")
	}
}

// What is undone must not be told.
func TestWatchRollback(t *testing.T) {
	s := newStore(t, dbtest.SQLite(t))
	a := addAccount(t, s, "a", 1)
	ch, cancel := listen(s, folder(t, s, a, "").ID)
	defer cancel()
	if _, err := deliver(t, s, a, "", testBody(1), 0); err == nil {
		t.Fatal("delivered over quota")
	}
	nothing(t, ch)
}

// Two processes, here two buses and two stores, that share a directory.
func TestWatchAcross(t *testing.T) {
	d, dir := dbtest.SQLite(t), t.TempDir()
	open := func() *Store {
		b, err := bus.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		s := newStore(t, d)
		return &Store{DB: d, Bodies: s.Bodies, Bus: b}
	}
	here, there := open(), open()
	a := addAccount(t, here, "a", 0)
	in := folder(t, here, a, "")
	ch, cancel := listen(there, in.ID)
	defer cancel()
	start := time.Now()
	mustDeliver(t, here, a, "", testBody(1), 0)
	for late := time.After(5 * time.Second); ; {
		select {
		case c := <-ch:
			if c.ModSeq <= in.ModSeq {
				continue // of the making of the folder
			}
			if c != (Change{Account: a, Folder: in.ID, ModSeq: in.ModSeq + 1}) {
				t.Errorf("%+v", c)
			}
			t.Logf("after %v", time.Since(start))
			return
		case <-late:
			t.Fatal("heard nothing")
		}
	}
}

func FuzzChange(f *testing.F) {
	f.Add(Change{1, 2, 3}.encode())
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, ok := decodeChange(in); ok {
			if again, ok := decodeChange(c.encode()); !ok || again != c {
				t.Fatalf("%+v became %+v", c, again)
			}
		}
	})
}

// Who is granted something hears of it; what is for everybody, Anyone does.
func TestWatchGrants(t *testing.T) {
	s := newStore(t, dbtest.SQLite(t))
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	b := neighbour(t, s, a)
	f := folder(t, s, a, "")
	for _, grantee := range []int64{b, Anyone} {
		heard := make(chan Change, 1)
		cancel := s.WatchAccount(grantee, func(c Change) { heard <- c })
		if err := s.SetGrant(ctx, f.ID, grantee, exactly(Lookup)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got != (Change{Account: grantee}) {
				t.Errorf("heard %+v", got)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%d heard nothing", grantee)
		}
		cancel()
	}
}

// What is not a message changes, too.
func TestWatchFolders(t *testing.T) {
	s := newStore(t, dbtest.SQLite(t))
	ctx, a := t.Context(), addAccount(t, s, "a", 0)
	b := neighbour(t, s, a)
	folder(t, s, a, "")
	f, err := s.Create(ctx, a, "f", "")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan Change, 100)
	defer s.WatchAccount(a, func(c Change) { heard <- c })()
	for _, c := range []struct {
		what   string
		folder int64
		do     func() error
	}{
		{"grant", f.ID, func() error { return s.SetGrant(ctx, f.ID, b, exactly(Lookup)) }},
		{"no grant", f.ID, func() error { return s.SetGrant(ctx, f.ID, b, exactly(0)) }},
		{"annotation", f.ID, func() error { return annotate(t, s, b, f.ID, "/private/x", "x") }},
		{"annotation of the server", 0, func() error { return annotate(t, s, a, 0, "/private/x", "x") }},
		{"subscription", 0, func() error { return s.Subscribe(ctx, a, "f", true) }},
		{"name", f.ID, func() error { return s.Rename(ctx, a, "f", "g") }},
		{"end", f.ID, func() error { return s.Delete(ctx, a, "g") }},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got.Account != a || got.Folder != c.folder {
				t.Errorf("%s: heard %+v", c.what, got)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: heard nothing", c.what)
		}
		nothing(t, heard)
	}
}
