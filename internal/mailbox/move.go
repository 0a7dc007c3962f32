package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Copied says which messages became which (COPYUID, RFC 4315): From and To
// run side by side.
type Copied struct {
	UIDValidity uint32 // of the target folder
	From, To    []uint32
	ModSeq      int64 // of the source folder, after Move
}

// Shed is what messages lose on their way to another folder.
type Shed struct {
	Flags    Flags // system flags
	Keywords bool  // all keywords
}

// Copy copies the messages of folder from with UIDs in set into folder to,
// which may be another account's: all of them, or none and an error. Flags but
// those of shed, dates and emailid stay.
func (s *Store) Copy(ctx context.Context, from, to int64, set []Range, shed Shed) (c Copied, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		c, err = s.transfer(tx, from, to, set, shed, false)
		return err
	})
	if err != nil {
		return Copied{}, fmt.Errorf("copy from folder %d to %d: %w", from, to, err)
	}
	return c, nil
}

// Move is Copy and Expunge in one (RFC 6851). Within one account the quota is
// not asked.
func (s *Store) Move(ctx context.Context, from, to int64, set []Range, shed Shed) (c Copied, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		c, err = s.transfer(tx, from, to, set, shed, true)
		return err
	})
	if err != nil {
		return Copied{}, fmt.Errorf("move from folder %d to %d: %w", from, to, err)
	}
	return c, nil
}

func (s *Store) transfer(tx *db.Tx, from, to int64, set []Range, shed Shed, move bool) (c Copied, err error) {
	src, dst, err := lockPair(tx, from, to)
	if err != nil {
		return c, err
	}
	c.UIDValidity = dst.UIDValidity
	if c.From, err = pick(tx, from, set, 0); err != nil || len(c.From) == 0 {
		return c, err
	}
	if err := s.duplicate(tx, src, dst, &c, shed, move); err != nil {
		return c, err
	}
	if err := s.noteMove(tx, src, dst, c.From); err != nil {
		return c, err
	}
	if !move {
		return c, nil
	}
	if from == to { // duplicate has changed it
		if src, err = lockFolder(tx, from); err != nil {
			return c, err
		}
	}
	_, c.ModSeq, err = s.expunge(tx, src, Ranges(c.From), 0, false)
	return c, err
}

// Lesson is what a move tells of a message.
type Lesson int64

// Lessons, as they stand in the database.
const (
	OutOfJunk Lesson = iota // and not on to Trash: it is wanted
	IntoJunk
	Kept // from the INBOX into another folder
)

// noteMove notes what moves tell of messages, for filters to learn from.
func (s *Store) noteMove(tx *db.Tx, src, dst Folder, uids []uint32) error {
	var l Lesson
	switch {
	case src.Account != dst.Account || src.ID == dst.ID || src.Role == dst.Role && src.Role != "":
		return nil
	case dst.Role == junk:
		l = IntoJunk
	case dst.Role == trash:
		return nil
	case src.Role == junk:
		l = OutOfJunk
	case src.Name == inbox && dst.Name != Quarantine:
		l = Kept
	default:
		return nil
	}
	now := time.Now().UnixMilli()
	for p := range spans(Ranges(uids)) {
		where, args := chosen(tx, src.ID, p, 0)
		_, err := tx.Exec(`INSERT INTO lesson (account, body, emailid, junk, at) SELECT CAST(? AS BIGINT), body, emailid, CAST(? AS INTEGER), CAST(? AS BIGINT)
			FROM message WHERE `+where, append([]any{src.Account, int64(l), now}, args...)...)
		if err != nil {
			return fmt.Errorf("note what was moved: %w", err)
		}
	}
	return nil
}

// duplicate adds the messages c.From of src to dst and fills c.To. The account
// of dst is charged for them; a move within it goes over the quota for its
// moment.
func (s *Store) duplicate(tx *db.Tx, src, dst Folder, c *Copied, shed Shed, move bool) error {
	now, modseq := time.Now().UnixMilli(), dst.ModSeq+1
	next := int64(dst.UIDNext)
	if next+int64(len(c.From)) > lastUIDNext {
		return ErrUIDs
	}
	var size, unseen int64
	keep, keywords := allFlags&^shed.Flags, `keywords`
	if shed.Keywords {
		keywords = `''`
	}
	for p := range spans(Ranges(c.From)) {
		var n, octets, fresh int64
		where, args := chosen(tx, src.ID, p, 0)
		err := tx.Row(`SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT), CAST(COALESCE(sum(1 - (flags & ?)), 0) AS BIGINT) FROM message WHERE `+where,
			append([]any{int64(keep & Seen)}, args...)...).Scan(&n, &octets, &fresh)
		if err == nil && !move {
			err = countBodies(tx, "+", where, args)
		}
		if err != nil {
			return err
		}
		size, unseen = size+octets, unseen+fresh
		_, err = tx.Exec(`INSERT INTO message (mailbox, uid, body, size, received, saved, flags, keywords, modseq, emailid, trace, prefix)
			SELECT CAST(? AS BIGINT), CAST(? AS BIGINT) + row_number() OVER (ORDER BY uid), body, size, received, CAST(? AS BIGINT), flags & ?, `+keywords+`,
			CAST(? AS BIGINT), emailid, trace, prefix FROM message WHERE `+where,
			append([]any{dst.ID, next - 1, now, int64(keep), modseq}, args...)...)
		if err != nil {
			return fmt.Errorf("add messages: %w", err)
		}
		for range n {
			c.To = append(c.To, uint32(next))
			next++
		}
	}
	if err := chargeCopies(tx, dst.Account, size, int64(len(c.From)), move && src.Account == dst.Account); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE mailbox SET uidnext = ?, modseq = ?, messages = messages + ?, unseen = unseen + ?, size = size + ? WHERE id = ?`,
		next, modseq, int64(len(c.From)), unseen, size, dst.ID)
	if err != nil {
		return err
	}
	s.changed(tx, Change{Account: dst.Account, Folder: dst.ID, ModSeq: modseq})
	return nil
}

func chargeCopies(tx *db.Tx, account, size, n int64, free bool) error {
	if free {
		return discharge(tx, account, -size, -n)
	}
	return charge(tx, account, size, n)
}

// Rename gives a folder, and with it those below it, another name. INBOX stays
// and its messages go to a new folder of that name (RFC 9051 section 6.3.6).
// A folder keeps its id and, where nobody can have known the new name with a
// later one, its UIDVALIDITY. Subscriptions stay.
func (s *Store) Rename(ctx context.Context, account int64, from, to string) error {
	from, err := NormalName(from)
	if err != nil {
		return err
	}
	if to, err = NormalName(to); err != nil {
		return err
	}
	if to == inbox {
		return fmt.Errorf("rename to INBOX: %w", ErrExists)
	}
	if from != inbox && strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("%w: %s lies below %s", ErrName, to, from)
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if err := s.ensure(tx, account); err != nil {
			return err
		}
		if from == inbox {
			return s.renameInbox(tx, account, to)
		}
		return s.rename(tx, account, from, to)
	})
	if err != nil {
		return fmt.Errorf("rename folder %s to %s: %w", from, to, err)
	}
	return nil
}

func (s *Store) renameInbox(tx *db.Tx, account int64, to string) error {
	if err := vacant(tx, account, to); err != nil {
		return err
	}
	in, err := s.byName(tx, account, inbox)
	if err != nil {
		return err
	}
	f, err := s.create(tx, account, to, "")
	if err != nil {
		return err
	}
	_, err = s.transfer(tx, in.ID, f.ID, All, Shed{}, true)
	return err
}

// rename moves a folder and those below it. The name itself may be missing
// when there is something below it.
func (s *Store) rename(tx *db.Tx, account int64, from, to string) error {
	tree, err := subtree(tx, account, from)
	if err != nil {
		return err
	}
	if len(tree) == 0 {
		return ErrNoFolder
	}
	if from == to {
		return ErrExists
	}
	for _, f := range tree {
		name, err := NormalName(to + strings.TrimPrefix(f.Name, from))
		if err != nil {
			return err
		}
		if err := vacant(tx, account, name); err != nil {
			return err
		}
		if f.UIDValidity, err = s.validityAfter(tx, f); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE mailbox SET name = ?, uidvalidity = ?, modseq = modseq + 1 WHERE id = ?`, name, int64(f.UIDValidity), f.ID); err != nil {
			return err
		}
		s.changed(tx, Change{Account: account, Folder: f.ID, ModSeq: f.ModSeq + 1})
	}
	return nil
}

// validityAfter gives the UIDVALIDITY a folder has under another name: its own
// when that is newer than all that ever left a name.
func (s *Store) validityAfter(tx *db.Tx, f Folder) (uint32, error) {
	var vacated int64
	if err := tx.Row(`SELECT uidvacated FROM account WHERE id = ?`, f.Account).Scan(&vacated); err != nil {
		return 0, err
	}
	if err := vacate(tx, f); err != nil {
		return 0, err
	}
	if int64(f.UIDValidity) > vacated {
		return f.UIDValidity, nil
	}
	return newValidity(tx, f.Account, time.Now())
}

// subtree gives the folder of this name, if there is one, and all below it,
// oldest UIDVALIDITY first, so that renaming keeps as many as it can.
func subtree(tx *db.Tx, account int64, name string) (tree []Folder, err error) {
	err = tx.Each(tx.Pick(`SELECT `+folderColumns+` FROM mailbox WHERE account = ? ORDER BY id`,
		`SELECT `+folderColumns+` FROM mailbox WHERE account = ? ORDER BY id FOR UPDATE`), []any{account}, func(scan func(...any) error) error {
		f, err := scanFolder(scan)
		if f.Name == name || strings.HasPrefix(f.Name, name+"/") {
			tree = append(tree, f)
		}
		return err
	})
	slices.SortFunc(tree, func(a, b Folder) int { return int(int64(a.UIDValidity) - int64(b.UIDValidity)) })
	return tree, err
}

// vacant gives ErrExists when a folder has this name.
func vacant(tx *db.Tx, account int64, name string) error {
	var n int64
	err := tx.Row(`SELECT count(*) FROM mailbox WHERE account = ? AND name = ?`, account, name).Scan(&n)
	if err == nil && n > 0 {
		return ErrExists
	}
	return err
}
