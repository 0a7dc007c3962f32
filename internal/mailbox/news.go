package mailbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// News is what happened to a folder after a mod-sequence, seen at one moment.
type News struct {
	Folder   Folder
	Changed  []Message // those with a larger mod-sequence, new ones among them, in order
	Expunged []uint32  // UIDs in order
	Complete bool      // false: Expunged does not reach back so far
}

// News gives what happened to folder id after the mod-sequence since.
func (s *Store) News(ctx context.Context, id, since int64) (n News, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		n, err = news(tx, id, since)
		return err
	})
	return n, folderError(err, fmt.Sprint(id))
}

func news(tx *db.Tx, id, since int64) (n News, err error) {
	n.Folder, err = scanFolder(tx.Row(`SELECT `+folderColumns+` FROM mailbox WHERE id = ?`, id).Scan)
	n.Complete = since >= n.Folder.Forgotten
	if err != nil || since >= n.Folder.ModSeq {
		return n, err
	}
	row := newColumns(0)
	err = tx.Each(`SELECT `+row.names+` FROM message WHERE mailbox = ? AND modseq > ?`, []any{id, since}, func(scan func(...any) error) error {
		m, err := row.message(scan)
		n.Changed = append(n.Changed, m)
		return err
	})
	if err == nil {
		n.Expunged, err = readUIDs(tx, `expunged WHERE mailbox = ? AND modseq > ?`, id, since)
	}
	slices.SortFunc(n.Changed, func(a, b Message) int { return int(int64(a.UID) - int64(b.UID)) })
	return n, err
}

// Contents gives folder id and its UIDs, in order, seen at one moment.
func (s *Store) Contents(ctx context.Context, id int64) (f Folder, uids []uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		if f, err = scanFolder(tx.Row(`SELECT `+folderColumns+` FROM mailbox WHERE id = ?`, id).Scan); err != nil {
			return err
		}
		uids, err = readUIDs(tx, `message WHERE mailbox = ?`, id)
		return err
	})
	if err != nil {
		return f, nil, folderError(err, fmt.Sprint(id))
	}
	return f, uids, nil
}

// FirstUnseen gives the smallest UID of folder id without \Seen, 0 when there
// is none.
func (s *Store) FirstUnseen(ctx context.Context, id int64) (uid uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT COALESCE(min(uid), 0) FROM message `+tx.Pick(`INDEXED BY message_modseq`, ``)+`
			WHERE mailbox = ? AND flags & ? = 0 AND (SELECT unseen FROM mailbox WHERE id = ?) > 0`, id, int64(Seen), id).Scan(&uid)
	})
	if err != nil {
		return 0, fmt.Errorf("first unseen message of folder %d: %w", id, err)
	}
	return uid, nil
}

// SavedSince gives the smallest UID of folder id behind all messages that were
// saved before t.
func (s *Store) SavedSince(ctx context.Context, id int64, t time.Time) (uid uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT COALESCE((SELECT uid + 1 FROM message WHERE mailbox = ? AND saved < ? ORDER BY uid DESC LIMIT 1), 1)`,
			id, t.UnixMilli()).Scan(&uid)
	})
	if err != nil {
		return 0, fmt.Errorf("messages saved in folder %d: %w", id, err)
	}
	return uid, nil
}
