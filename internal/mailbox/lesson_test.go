package mailbox

import (
	"slices"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// What moves tell is noted, whichever way a program moves.
func TestMovesAreNoted(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newStore(t, d)
		ctx := t.Context()
		a := addAccount(t, s, "a", 0)
		in, junk, archive, trash := folder(t, s, a, ""), folder(t, s, a, "Junk"), folder(t, s, a, "Archive"), folder(t, s, a, "Trash")
		mustDeliver(t, s, a, "", testBody(1), 0)
		move := func(from, to Folder) {
			t.Helper()
			if _, err := s.Move(ctx, from.ID, to.ID, All, Shed{}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(want ...int64) {
			t.Helper()
			var got []int64
			err := s.DB.Read(ctx, func(tx *db.Tx) error {
				got = nil
				return tx.Each(`SELECT l.junk FROM lesson l JOIN message m ON m.emailid = l.emailid AND m.body = l.body ORDER BY l.id`, nil,
					func(scan func(...any) error) error {
						var junk int64
						err := scan(&junk)
						got = append(got, junk)
						return err
					})
			})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("noted %v, %v; want %v", got, err, want)
			}
		}
		move(in, trash)
		want()
		move(trash, in)
		want()
		move(in, archive)
		want(2)
		move(archive, in)
		want(2)
		move(in, junk)
		want(2, 1)
		move(junk, junk)
		want(2, 1)
		move(junk, trash)
		want(2, 1)
		move(trash, junk)
		want(2, 1, 1)
		if _, err := s.Copy(ctx, junk.ID, in.ID, All, Shed{}); err != nil {
			t.Fatal(err)
		}
		want(2, 2, 1, 1, 1, 1, 0, 0) // the message is there twice now
	})
}
