package fulltext

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Result tells which messages of a folder have a text. Of those with UIDs up
// to Upto all that are not named do not have it; the index knows nothing of
// the others. Messages that are no more may be named.
type Result struct {
	Upto uint32
	Has  []uint32 // UIDs of messages that have it, ascending
	May  []uint32 // UIDs of messages that must be looked at, ascending; none is in Has
}

// Find looks for text, which need not be normal, in the texts of the messages
// of folder, after it has taken in those that came since the last time: the
// first time all. A text it can say nothing of gives an Upto of 0. So does an
// index that is damaged; it is built anew the next time. An error comes only
// from ctx, or from a database or body store that cannot be reached.
func (x *Index) Find(ctx context.Context, folder int64, text string) (Result, error) {
	p := patternOf(Normal(text))
	if len(p.tokens) == 0 {
		return Result{}, nil
	}
	if err := x.takeIn(ctx, folder); err != nil {
		return Result{}, fmt.Errorf("index folder %d: %w", folder, err)
	}
	r, err := x.find(ctx, folder, p)
	if errors.Is(err, errDamaged) {
		x.log().Warn("full-text index is built anew", "folder", folder, "err", err)
		return Result{}, x.Drop(ctx, folder)
	}
	if err != nil {
		return Result{}, fmt.Errorf("search index of folder %d: %w", folder, err)
	}
	return r, nil
}

func (x *Index) find(ctx context.Context, folder int64, p pattern) (r Result, err error) {
	err = x.DB.Read(ctx, func(tx *db.Tx) error {
		list, upto, err := segments(tx, folder)
		r = Result{Upto: upto}
		for _, s := range list {
			l := look{tx: tx, folder: folder, segment: s, pattern: p}
			if err == nil {
				err = l.find(&r)
			}
		}
		return err
	})
	return r, err
}

// look is the search of one segment.
type look struct {
	tx     *db.Tx
	folder int64
	segment
	pattern
	found   [][]place // by token: the words that fit
	unread  []place
	inexact bool
}

// place is where what is known of a word stands.
type place struct {
	block int64
	word  int // in the block
}

func (l *look) find(r *Result) error {
	if err := l.words(); err != nil {
		return err
	}
	has := set{}
	if !slices.ContainsFunc(l.found, func(f []place) bool { return len(f) == 0 }) {
		var err error
		if has, err = l.messages(); err != nil {
			return err
		}
	}
	may, err := l.union(l.unread)
	if err != nil {
		return err
	}
	if !l.exact || l.inexact {
		for uid := range has.all() {
			may.add(uid)
		}
		has = set{}
	}
	for uid := range has.all() {
		r.Has = append(r.Has, uid)
	}
	for uid := range may.all() {
		if !has.has(uid) {
			r.May = append(r.May, uid)
		}
	}
	return nil
}

// words looks through all words for those that fit the tokens.
func (l *look) words() error {
	needles := make([]needle, len(l.tokens))
	for i, t := range l.tokens {
		needles[i] = t.needle(i > 0, i < len(l.tokens)-1)
	}
	l.found = make([][]place, len(needles))
	marked := newNeedle(unread, true, true)
	n := int64(0)
	err := l.tx.Each(`SELECT block, data FROM fulltext_block WHERE mailbox = ? AND segment = ? AND kind = ? ORDER BY block`,
		[]any{l.folder, l.id, int64(words)}, func(scan func(...any) error) error {
			var b int64
			var raw sql.RawBytes
			if err := scan(&b, &raw); err != nil {
				return err
			}
			row, err := unseal(raw)
			if err != nil {
				return err
			}
			if b != n {
				return fmt.Errorf("%w: block %d is missing", errDamaged, n)
			}
			n++
			for i, needle := range needles {
				needle.find(row, func(w int) { l.found[i] = append(l.found[i], place{b, w}) })
			}
			if b == 0 { // it is the first of all words
				marked.find(row, func(w int) { l.unread = append(l.unread, place{b, w}) })
			}
			return nil
		})
	if err == nil && n != l.blocks {
		err = fmt.Errorf("%w: %d of %d blocks", errDamaged, n, l.blocks)
	}
	return err
}

// needle gives what a token is looked for by. The first token of a string may
// be the end of a word, the last one the beginning; after says that there are
// tokens before it, before that there are some behind.
func (t token) needle(after, before bool) needle {
	switch {
	case t.runes <= certain:
		return newNeedle(t.word, after, before)
	case after && before && t.runes <= maxRun:
		return newNeedle(t.word, true, true)
	case before && !after:
		return newNeedle(lastRunes(t.word, certain), false, true)
	}
	return newNeedle(t.word[:runeOffset(t.word, certain)], after, false)
}

// few messages are looked at sooner than many words.
const (
	fewMessages = 32
	manyWords   = 2000
)

// messages gives the messages that have all tokens, in their places if they
// are known.
func (l *look) messages() (set, error) {
	order := make([]int, len(l.tokens))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return len(l.found[order[i]]) < len(l.found[order[j]]) })
	var all set
	for _, i := range order {
		if all != nil && len(l.found[i]) > manyWords && all.count() <= fewMessages {
			l.inexact = true
			continue
		}
		s, err := l.union(l.found[i])
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = s
		}
		if all.keep(s); len(all) == 0 {
			return all, nil
		}
	}
	if len(l.tokens) == 1 || l.inexact || l.cut() {
		return all, nil
	}
	return l.inPlace(order, all)
}

// cut tells whether a token in the middle is so long that its word was cut, so
// that nothing is known of the places.
func (l *look) cut() bool {
	for i, t := range l.tokens {
		if i > 0 && i < len(l.tokens)-1 && t.runes > maxRun {
			return true
		}
	}
	return false
}

// inPlace gives those messages of all that have the tokens one behind the
// other.
func (l *look) inPlace(order []int, all set) (set, error) {
	var at []uint64 // UID and number of the first token
	for n, i := range order {
		var here []uint64
		err := l.eachWord(l.found[i], true, func(d, p []byte) error {
			return eachPlaces(d, p, func(uid uint32, places []uint32) {
				if !all.has(uid) {
					return
				}
				for _, a := range places {
					number, behind := a/uint32(separations), separation(a%uint32(separations))
					if number >= uint32(i) && (i == 0 || behind == l.tokens[i].behind) {
						here = append(here, uint64(uid)<<32|uint64(number-uint32(i)))
					}
				}
			})
		})
		if err != nil {
			return nil, err
		}
		slices.Sort(here)
		if n > 0 {
			here = intersect(at, here)
		}
		at = here
	}
	out := set{}
	for _, a := range at {
		out.add(uint32(a >> 32))
	}
	return out, nil
}

// intersect gives what is in both of two sorted lists.
func intersect(a, b []uint64) []uint64 {
	out := a[:0]
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// union gives the messages that have one of some words.
func (l *look) union(list []place) (set, error) {
	s := set{}
	err := l.eachWord(list, false, func(d, _ []byte) error {
		return eachDoc(d, func(uid, _ uint32) { s.add(uid) })
	})
	return s, err
}

// eachWord calls yield with the records of some words, in their order.
func (l *look) eachWord(list []place, withPlaces bool, yield func(docs, places []byte) error) error {
	for len(list) > 0 {
		b, n := list[0].block, 0
		rows := [kinds]records{}
		for k := docs; k < kinds; k++ {
			if k == places && !withPlaces {
				continue
			}
			data, err := l.row(k, b)
			if err != nil {
				return err
			}
			rows[k] = data
		}
		for ; len(list) > 0 && list[0].block == b; list = list[1:] {
			var recs [kinds][]byte
			for k := docs; k < kinds; k++ {
				if k == places && !withPlaces {
					continue
				}
				err := rows[k].skip(list[0].word - n)
				if err == nil {
					recs[k], err = rows[k].next()
				}
				if err != nil {
					return err
				}
			}
			n = list[0].word + 1
			if err := yield(recs[docs], recs[places]); err != nil {
				return err
			}
		}
	}
	return nil
}

// row reads one row.
func (l *look) row(k kind, b int64) ([]byte, error) { return readRow(l.tx, l.folder, l.id, k, b) }

func readRow(tx *db.Tx, folder, segment int64, k kind, b int64) ([]byte, error) {
	var data []byte
	err := tx.Row(`SELECT data FROM fulltext_block WHERE mailbox = ? AND segment = ? AND kind = ? AND block = ?`,
		folder, segment, int64(k), b).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: block %d is missing", errDamaged, b)
	}
	if err != nil {
		return nil, err
	}
	return unseal(data)
}
