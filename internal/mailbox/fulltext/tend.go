package fulltext

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

const (
	width       = 8         // segments of like size that are merged into one
	smallest    = 64 << 10  // octets of a segment of level 0; each level is width times larger
	abandonedIn = time.Hour // that a segment may take to be built
	rowsAtOnce  = 16        // deleted in one transaction, some 500 KiB
)

// Tend does what makes searches quicker and indexes smaller: it merges segments
// when there are many, takes out messages that are no more when they are a
// fifth, and deletes what is not used any more. Call it every minute or so. It
// may run beside everything else, in several processes, too.
func (x *Index) Tend(ctx context.Context) error {
	x.tending.Lock()
	defer x.tending.Unlock()
	var err error
	if !x.Mailboxes.Bodies.Short() {
		err = x.mergeAll(ctx)
	}
	return errors.Join(err, x.deleteUnused(ctx))
}

// worn selects folders with many segments or many messages that are no more.
const worn = `SELECT s.mailbox, s.field, CAST(sum(s.docs) AS BIGINT), m.messages FROM fulltext_segment s JOIN mailbox m ON m.id = s.mailbox
	WHERE s.state = 1 GROUP BY s.mailbox, s.field, m.messages HAVING count(*) >= ? OR sum(s.docs) * 4 > m.messages * 5 + 100`

func (x *Index) mergeAll(ctx context.Context) error {
	type candidate struct {
		source
		purge bool
	}
	var list []candidate
	err := x.DB.Read(ctx, func(tx *db.Tx) error {
		list = nil
		return tx.Each(worn, []any{width}, func(scan func(...any) error) error {
			var c candidate
			var docs, messages int64
			err := scan(&c.folder, &c.field, &docs, &messages)
			c.purge = docs*4 > messages*5+100
			list = append(list, c)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("look through full-text indexes: %w", err)
	}
	var errs []error
	for _, c := range list {
		if err := x.mergeDue(ctx, c.source, c.purge); err != nil && !errors.Is(err, errConflict) {
			errs = append(errs, fmt.Errorf("merge index of %v: %w", c.source, err))
		}
	}
	return errors.Join(errs...)
}

// mergeDue merges all segments when purge is set, otherwise those that are
// due.
func (x *Index) mergeDue(ctx context.Context, src source, purge bool) error {
	for {
		var list []segment
		err := x.DB.Read(ctx, func(tx *db.Tx) (err error) {
			list, _, err = segments(tx, src)
			return err
		})
		if err != nil {
			return err
		}
		if !purge {
			list = due(list)
		}
		if len(list) == 0 {
			return nil
		}
		err = x.merge(ctx, src, list)
		if errors.Is(err, errDamaged) {
			x.log().Warn("full-text index is built anew", "of", src.String(), "err", err)
			return x.drop(ctx, src)
		}
		if err != nil || purge {
			return err
		}
	}
}

// due gives the newest segments of one level, when there are enough of them.
func due(list []segment) []segment {
	for size := int64(smallest); ; size *= width {
		n := len(list)
		for n > 0 && list[n-1].size < size {
			n--
		}
		if len(list)-n >= width {
			return list[n:]
		}
		if n == 0 {
			return nil
		}
	}
}

// merge makes one segment of several, which follow one another, and leaves out
// messages that are no more.
func (x *Index) merge(ctx context.Context, src source, list []segment) error {
	uids, err := x.Mailboxes.UIDs(ctx, src.folder)
	if err != nil {
		return err
	}
	o := &output{index: x, source: src, seg: segment{first: list[0].first, last: list[len(list)-1].last}}
	there := set{}
	from, _ := slices.BinarySearch(uids, o.seg.first)
	for _, uid := range uids[from:] {
		if uid > o.seg.last {
			break
		}
		there.add(uid)
		o.seg.docs++
	}
	m := merger{index: x, ctx: ctx, there: there}
	err = m.run(list, func(word string, list *postings) error { return o.add(ctx, word, list) })
	if err != nil {
		if o.begun {
			o.abandon()
		}
		if errors.Is(err, errDamaged) && !x.inUse(ctx, src, list) {
			err = errConflict // they were deleted meanwhile
		}
		return err
	}
	return o.finish(ctx, func(tx *db.Tx) error { return retire(tx, list) })
}

// inUse tells whether all segments of list are still in use.
func (x *Index) inUse(ctx context.Context, src source, list []segment) bool {
	var now []segment
	err := x.DB.Read(ctx, func(tx *db.Tx) (err error) {
		now, _, err = segments(tx, src)
		return err
	})
	for _, s := range list {
		if err != nil || !slices.Contains(now, s) {
			return false
		}
	}
	return true
}

// retire takes segments out of use.
func retire(tx *db.Tx, list []segment) error {
	for _, s := range list {
		n, err := tx.Exec(`UPDATE fulltext_segment SET state = ? WHERE id = ? AND state = ?`, int64(dead), s.id, int64(live))
		if err == nil && n == 0 {
			err = errConflict
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unused selects segments to be deleted: those that are dead, that were never
// finished, or whose folder is gone.
const unused = `SELECT id FROM fulltext_segment WHERE state = 2 OR state = 0 AND created < ?
	UNION SELECT id FROM fulltext_segment WHERE NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.id = fulltext_segment.mailbox)`

// deleteUnused deletes segments that are not used any more, piece by piece.
func (x *Index) deleteUnused(ctx context.Context) error {
	var list []int64
	err := x.DB.Read(ctx, func(tx *db.Tx) error {
		list = nil
		return tx.Each(unused, []any{time.Now().Add(-abandonedIn).UnixMilli()}, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			list = append(list, id)
			return err
		})
	})
	for _, id := range list {
		if err == nil {
			err = x.deleteSegment(ctx, id)
		}
	}
	if err == nil {
		err = x.deleteFolders(ctx)
	}
	if err != nil {
		return fmt.Errorf("delete unused pieces of full-text indexes: %w", err)
	}
	return nil
}

// deleteSegment deletes a segment, its own row at the end.
func (x *Index) deleteSegment(ctx context.Context, id int64) error {
	for n := int64(rowsAtOnce); n == rowsAtOnce; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := x.DB.Write(ctx, func(tx *db.Tx) (err error) {
			n, err = tx.Exec(`DELETE FROM fulltext_block WHERE segment = ? AND (kind, block) IN
				(SELECT kind, block FROM fulltext_block WHERE segment = ? LIMIT ?)`, id, id, rowsAtOnce)
			if err == nil && n < rowsAtOnce {
				_, err = tx.Exec(`DELETE FROM fulltext_segment WHERE id = ?`, id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// goneFolders selects what is left of folders that are no more.
const goneFolders = `SELECT mailbox FROM fulltext_folder f WHERE NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.id = f.mailbox)
	AND NOT EXISTS (SELECT 1 FROM fulltext_segment s WHERE s.mailbox = f.mailbox) LIMIT 1000`

// deleteFolders deletes the rows of folders that are no more.
func (x *Index) deleteFolders(ctx context.Context) error {
	var n int64
	err := x.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*) FROM (` + goneFolders + `) AS gone`).Scan(&n)
	})
	if err != nil || n == 0 {
		return err
	}
	return x.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM fulltext_folder WHERE mailbox IN (` + goneFolders + `)`)
		return err
	})
}
