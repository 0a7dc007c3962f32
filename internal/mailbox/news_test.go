package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestNews(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newStore(t, d)
		a := addAccount(t, s, "news", 0)
		begun := time.Now()
		for i := range 5 {
			mustDeliver(t, s, a, "", testBody(i), Seen)
		}
		f, err := s.Folder(t.Context(), a, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		f, uids, err := s.Contents(t.Context(), f.ID)
		if err != nil || !slices.Equal(uids, []uint32{1, 2, 3, 4, 5}) || f.Messages != 5 {
			t.Fatalf("%+v, %v, %v", f, uids, err)
		}
		if u, err := s.FirstUnseen(t.Context(), f.ID); err != nil || u != 0 {
			t.Errorf("first unseen %d, %v", u, err)
		}
		if _, err := s.StoreFlags(t.Context(), f.ID, []Range{{4, 4}, {2, 2}}, FlagChange{Op: Remove, Flags: Seen, Unless: -1}); err != nil {
			t.Fatal(err)
		}
		if u, err := s.FirstUnseen(t.Context(), f.ID); err != nil || u != 2 {
			t.Errorf("first unseen %d, %v", u, err)
		}
		if _, _, err := s.Expunge(t.Context(), f.ID, []Range{{5, 5}, {1, 1}}, false); err != nil {
			t.Fatal(err)
		}
		mustDeliver(t, s, a, "", testBody(6), 0)
		n, err := s.News(t.Context(), f.ID, f.ModSeq)
		if err != nil || !n.Complete || fmt.Sprint(n.Expunged) != "[1 5]" || n.Folder.UIDNext != 7 {
			t.Fatalf("%+v, %v", n, err)
		}
		var changed []uint32
		for _, m := range n.Changed {
			changed = append(changed, m.UID)
		}
		if fmt.Sprint(changed) != "[2 4 6]" {
			t.Errorf("changed %v", changed)
		}
		if n, err := s.News(t.Context(), f.ID, n.Folder.ModSeq); err != nil || len(n.Changed)+len(n.Expunged) > 0 {
			t.Errorf("%+v, %v", n, err)
		}
		for since, want := range map[time.Time]uint32{begun.Add(-time.Hour): 1, time.Now().Add(time.Hour): 7} {
			if u, err := s.SavedSince(t.Context(), f.ID, since); err != nil || u != want {
				t.Errorf("saved since %v: %d, %v, want %d", since, u, err, want)
			}
		}
		if _, err := s.News(t.Context(), 1<<40, 0); !errors.Is(err, ErrNoFolder) {
			t.Errorf("no folder: %v", err)
		}
		if _, _, err := s.Contents(t.Context(), 1<<40); !errors.Is(err, ErrNoFolder) {
			t.Errorf("no folder: %v", err)
		}
	})
}
