package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Op is what a FlagChange does to the flags that a message has.
type Op int

// The operations of STORE (RFC 9051 section 6.4.6).
const (
	Replace Op = iota
	Add
	Remove
)

// FlagChange is one STORE.
type FlagChange struct {
	Op       Op
	Flags    Flags
	Keywords []string
	// Unless is the mod-sequence of UNCHANGEDSINCE (RFC 7162): a message with a
	// larger one is left alone. Negative: none.
	Unless int64
	// Keep are system flags that Replace leaves as they are, and KeepKeywords
	// says so of all keywords: what the caller has no right to change.
	Keep         Flags
	KeepKeywords bool
}

// FlagResult is what a FlagChange did.
type FlagResult struct {
	Changed  []Message // as they are now
	Was      []int64   // the mod-sequences that those of Changed had
	Same     []uint32  // had those flags already; their mod-sequence stays
	Modified []uint32  // left alone because of Unless
	ModSeq   int64     // of the folder
}

// storeChunk is how many messages one transaction changes, so that others get
// their turn.
const storeChunk = 1000

// StoreFlags changes the flags of the messages of folder id with UIDs in set.
// Large sets are done piece by piece: after an error the first ones may be
// changed, and the result says so. UIDs that are not there are left out.
func (s *Store) StoreFlags(ctx context.Context, id int64, set []Range, c FlagChange) (res FlagResult, err error) {
	words, err := joinKeywords(c.Keywords)
	if err != nil {
		return res, err
	}
	c.Keywords = splitKeywords(words)
	c.Flags &= allFlags
	uids, err := s.pick(ctx, id, set)
	if err != nil {
		return res, err
	}
	for piece := range slices.Chunk(uids, storeChunk) {
		var part FlagResult
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			part, err = s.storeFlags(tx, id, piece, c)
			return err
		})
		if err != nil {
			return res, fmt.Errorf("store flags in folder %d: %w", id, err)
		}
		res.Changed = append(res.Changed, part.Changed...)
		res.Was = append(res.Was, part.Was...)
		res.Same = append(res.Same, part.Same...)
		res.Modified = append(res.Modified, part.Modified...)
		res.ModSeq = part.ModSeq
	}
	return res, nil
}

// pick gives the UIDs of folder id that lie in set, in order, each once.
func (s *Store) pick(ctx context.Context, id int64, set []Range) (uids []uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		uids, err = pick(tx, id, set, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find messages of folder %d: %w", id, err)
	}
	return uids, nil
}

// pick gives the UIDs in set of messages that have all of flags.
func pick(tx *db.Tx, id int64, set []Range, flags Flags) (uids []uint32, err error) {
	for p := range spans(set) {
		where, args := chosen(tx, id, p, flags)
		part, err := readUIDs(tx, `message WHERE `+where, args...)
		if err != nil {
			return nil, err
		}
		uids = append(uids, part...)
	}
	return uids, nil
}

func (s *Store) storeFlags(tx *db.Tx, id int64, uids []uint32, c FlagChange) (res FlagResult, err error) {
	f, err := lockFolder(tx, id)
	if err != nil {
		return res, err
	}
	res.ModSeq = f.ModSeq
	var unseen int64
	row := newColumns(0)
	for p := range spans(Ranges(uids)) {
		where, args := chosen(tx, id, p, 0)
		err := tx.Each(`SELECT `+row.names+` FROM message WHERE `+where+` ORDER BY uid`, args, func(scan func(...any) error) error {
			m, err := row.message(scan)
			if err == nil {
				unseen += res.sort(m, c, f.ModSeq+1)
			}
			return err
		})
		if err != nil {
			return res, err
		}
	}
	if len(res.Changed) == 0 {
		return res, nil
	}
	res.ModSeq++
	if err := writeFlags(tx, id, res.Changed); err != nil {
		return res, err
	}
	if _, err := tx.Exec(`UPDATE mailbox SET modseq = ?, unseen = unseen + ? WHERE id = ?`, res.ModSeq, unseen, id); err != nil {
		return res, err
	}
	s.changed(tx, Change{Account: f.Account, Folder: id, ModSeq: res.ModSeq})
	return res, nil
}

// sort puts m where it belongs in the result, and tells how many more are
// unseen then.
func (res *FlagResult) sort(m Message, c FlagChange, modseq int64) (unseen int64) {
	flags, keywords := c.apply(m)
	switch {
	case c.Unless >= 0 && m.ModSeq > c.Unless:
		res.Modified = append(res.Modified, m.UID)
	case flags == m.Flags && slices.Equal(keywords, m.Keywords):
		res.Same = append(res.Same, m.UID)
	default:
		unseen = int64(m.Flags&Seen) - int64(flags&Seen)
		res.Was = append(res.Was, m.ModSeq)
		m.Flags, m.Keywords, m.ModSeq = flags, keywords, modseq
		res.Changed = append(res.Changed, m)
	}
	return unseen
}

// writeFlags writes what messages have now, those with the same flags together.
func writeFlags(tx *db.Tx, id int64, messages []Message) error {
	type state struct {
		flags    Flags
		keywords string
	}
	uids := map[state][]uint32{}
	for _, m := range messages {
		keywords, err := packKeywords(m.Keywords)
		if err != nil {
			return err
		}
		has := state{m.Flags, keywords}
		uids[has] = append(uids[has], m.UID)
	}
	for has, uids := range uids {
		for p := range spans(Ranges(uids)) {
			where, args := chosen(tx, id, p, 0)
			_, err := tx.Exec(`UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE `+where,
				append([]any{int64(has.flags), has.keywords, messages[0].ModSeq}, args...)...)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// apply gives the flags that m has after the change.
func (c FlagChange) apply(m Message) (Flags, []string) {
	has := func(w string) func(string) bool { return func(x string) bool { return strings.EqualFold(w, x) } }
	switch c.Op {
	case Add:
		words := slices.Clone(m.Keywords)
		for _, w := range c.Keywords {
			if !slices.ContainsFunc(words, has(w)) {
				words = append(words, w)
			}
		}
		slices.SortStableFunc(words, foldCompare)
		return m.Flags | c.Flags, words
	case Remove:
		words := slices.DeleteFunc(slices.Clone(m.Keywords), func(w string) bool { return slices.ContainsFunc(c.Keywords, has(w)) })
		return m.Flags &^ c.Flags, words
	}
	words := c.Keywords
	if c.KeepKeywords {
		words = m.Keywords
	}
	return c.Flags&^c.Keep | m.Flags&c.Keep, words
}
