package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/migiwa/migiwa/internal/store/db"
)

// expungedKept is how many expunged messages a folder remembers at least; it
// may be up to trimEvery more.
const (
	expungedKept = 10_000
	trimEvery    = 500
)

// ExpungeChunk is how many messages one transaction expunges, so that others
// get their turn. Each has a mod-sequence of its own.
const ExpungeChunk = 1000

// Expunge removes the messages of folder id with UIDs in set; of them, when
// marked, only those with \Deleted. It gives the UIDs removed and the folder's
// mod-sequence. Large sets are done piece by piece: after an error the first
// ones may be gone, and the result says so.
func (s *Store) Expunge(ctx context.Context, id int64, set []Range, marked bool) (uids []uint32, modseq int64, err error) {
	var flags Flags
	if marked {
		flags = Deleted
	}
	var there []uint32
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		there, err = pick(tx, id, set, flags)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("expunge folder %d: %w", id, err)
	}
	for first := true; first || len(there) > 0; first = false {
		piece := there[:min(len(there), ExpungeChunk)]
		there = there[len(piece):]
		var gone []uint32
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			f, err := lockBoth(tx, id)
			if err != nil {
				return err
			}
			gone, modseq, err = s.expunge(tx, f, Ranges(piece), flags, true)
			return err
		})
		if err != nil {
			return uids, modseq, fmt.Errorf("expunge folder %d: %w", id, err)
		}
		uids = append(uids, gone...)
	}
	return uids, modseq, nil
}

// chosen is the condition that a message is in a folder and a span, and has all
// of flags; with its arguments.
func chosen(tx *db.Tx, id int64, p span, flags Flags) (string, []any) {
	where, args := p.where(tx)
	return `mailbox = ? AND flags & ? = ? AND ` + where, append([]any{id, int64(flags), int64(flags)}, args...)
}

// countBodies adds to the references of bodies one for every chosen message,
// or takes it away.
func countBodies(tx *db.Tx, sign, where string, args []any) error {
	_, err := tx.Exec(`UPDATE body SET refs = refs `+sign+` (SELECT count(*) FROM message WHERE message.body = body.id AND `+where+`)
		WHERE id IN (SELECT body FROM message WHERE `+where+`)`, slices.Concat(args, args)...)
	if err != nil {
		return fmt.Errorf("count references of bodies: %w", err)
	}
	return nil
}

// expunge removes the messages of a locked folder that are in set and have all
// of flags. The references to their bodies go, too, when release is set: when
// moving they stay.
func (s *Store) expunge(tx *db.Tx, f Folder, set []Range, flags Flags, release bool) (uids []uint32, modseq int64, err error) {
	modseq = f.ModSeq + 1
	var size, unseen int64
	for p := range spans(set) {
		where, args := chosen(tx, f.ID, p, flags)
		before := len(uids)
		err := tx.Each(`SELECT uid, size, flags FROM message WHERE `+where+` ORDER BY uid`, args, func(scan func(...any) error) error {
			var uid uint32
			var octets int64
			var has Flags
			err := scan(&uid, &octets, &has)
			uids, size, unseen = append(uids, uid), size+octets, unseen+1-int64(has&Seen)
			return err
		})
		if err == nil && len(uids) > before {
			err = remove(tx, modseq, where, args, release)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if len(uids) == 0 {
		return nil, f.ModSeq, nil
	}
	n := int64(len(uids))
	if _, err := tx.Exec(`UPDATE mailbox SET modseq = ?, messages = messages - ?, unseen = unseen - ?, size = size - ? WHERE id = ?`,
		modseq, n, unseen, size, f.ID); err != nil {
		return nil, 0, err
	}
	if err := discharge(tx, f.Account, size, n); err != nil {
		return nil, 0, err
	}
	s.changed(tx, Change{Account: f.Account, Folder: f.ID, ModSeq: modseq})
	return uids, modseq, trim(tx, f.ID, modseq, n)
}

// remove deletes the chosen messages and remembers them.
func remove(tx *db.Tx, modseq int64, where string, args []any, release bool) error {
	if release {
		if err := countBodies(tx, "-", where, args); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`INSERT INTO expunged (mailbox, uid, modseq) SELECT mailbox, uid, CAST(? AS BIGINT) FROM message WHERE `+where,
		append([]any{modseq}, args...)...); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	_, err := tx.Exec(`DELETE FROM message WHERE `+where, args...)
	return err
}

// trim forgets the oldest expunged messages of a folder, once in a while. What
// was expunged at one mod-sequence is forgotten together.
func trim(tx *db.Tx, id, modseq, n int64) error {
	if n < trimEvery && modseq%trimEvery != 0 {
		return nil
	}
	var floor int64
	err := tx.Row(`SELECT COALESCE((SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?), 0)`,
		id, expungedKept).Scan(&floor)
	if err != nil || floor == 0 {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?`, id, floor); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE mailbox SET forgotten = ? WHERE id = ?`, floor, id)
	return err
}

// Delete removes a folder with its messages, but none below it. The INBOX
// stays: ErrInbox. Of a large folder the messages go first, piece by piece, so
// that others get their turn: after an error some may be gone.
func (s *Store) Delete(ctx context.Context, account int64, name string) error {
	name, err := NormalName(name)
	if err != nil {
		return err
	}
	if name == inbox {
		return fmt.Errorf("delete: %w", ErrInbox)
	}
	f, err := s.Folder(ctx, account, name)
	if err == nil && f.Messages > ExpungeChunk {
		_, _, err = s.Expunge(ctx, f.ID, All, false)
	}
	if err == nil {
		err = s.DB.Write(ctx, func(tx *db.Tx) error {
			f, err := lockBoth(tx, f.ID)
			if err != nil {
				return err
			}
			return s.drop(tx, f)
		})
	}
	if err != nil {
		return fmt.Errorf("delete folder %s: %w", name, err)
	}
	return nil
}

// drop removes a locked folder with all in it.
func (s *Store) drop(tx *db.Tx, f Folder) error {
	if err := countBodies(tx, "-", `mailbox = ?`, []any{f.ID}); err != nil {
		return err
	}
	for _, q := range []string{`DELETE FROM message WHERE mailbox = ?`, `DELETE FROM expunged WHERE mailbox = ?`,
		`DELETE FROM annotation WHERE mailbox = ?`, `DELETE FROM mailbox WHERE id = ?`} {
		if _, err := tx.Exec(q, f.ID); err != nil {
			return err
		}
	}
	if err := discharge(tx, f.Account, f.Size, f.Messages); err != nil {
		return err
	}
	s.changed(tx, Change{Account: f.Account, Folder: f.ID, ModSeq: f.ModSeq + 1})
	return vacate(tx, f)
}

// vacate notes the UIDVALIDITY that a name loses.
func vacate(tx *db.Tx, f Folder) error {
	_, err := tx.Exec(`UPDATE account SET uidvacated = ? WHERE id = ? AND uidvacated < ?`,
		int64(f.UIDValidity), f.Account, int64(f.UIDValidity))
	return err
}

// byName gives and takes the folder of this name.
func (s *Store) byName(tx *db.Tx, account int64, name string) (Folder, error) {
	f, err := scanFolder(tx.Row(tx.Pick(`SELECT `+folderColumns+` FROM mailbox WHERE account = ? AND name = ?`,
		`SELECT `+folderColumns+` FROM mailbox WHERE account = ? AND name = ? FOR UPDATE`), account, name).Scan)
	return f, folderError(err, name)
}

// DeleteAll removes all folders, messages, subscriptions and annotations of an
// account, and what others granted it, in the caller's transaction, for the
// removal of the account.
func (s *Store) DeleteAll(tx *db.Tx, account int64) error {
	err := lockAccount(tx, account)
	if errors.Is(err, ErrNoAccount) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete mailbox of account %d: %w", account, err)
	}
	var all []Folder
	err = tx.Each(tx.Pick(`SELECT `+folderColumns+` FROM mailbox WHERE account = ? ORDER BY id`,
		`SELECT `+folderColumns+` FROM mailbox WHERE account = ? ORDER BY id FOR UPDATE`), []any{account}, func(scan func(...any) error) error {
		f, err := scanFolder(scan)
		all = append(all, f)
		return err
	})
	for _, f := range all {
		if err == nil {
			err = s.drop(tx, f)
		}
	}
	for _, q := range []string{`DELETE FROM subscription WHERE account = ?`,
		`DELETE FROM annotation WHERE account = ?`, `DELETE FROM mailbox_grant WHERE grantee = ?`} {
		if err == nil {
			_, err = tx.Exec(q, account)
		}
	}
	if err != nil {
		return fmt.Errorf("delete mailbox of account %d: %w", account, err)
	}
	return nil
}
