package fulltext

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

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

// Find looks for text, which need not be normal, in the texts (Texts) of the
// messages of folder, after it has taken in those that came since the last
// time: the first time all. A text it can say nothing of gives an Upto of 0. So
// does an index that is damaged; it is built anew the next time. What cannot be
// taken in now, the log tells why, is above Upto. An error comes from ctx or
// from the database.
func (x *Index) Find(ctx context.Context, folder int64, text string) (Result, error) {
	return x.findIn(ctx, source{folder, inBody}, text)
}

// FindHeader is Find in the headers (Header) of the messages.
func (x *Index) FindHeader(ctx context.Context, folder int64, text string) (Result, error) {
	return x.findIn(ctx, source{folder, inHeader}, text)
}

func (x *Index) findIn(ctx context.Context, src source, text string) (Result, error) {
	p := patternOf(Normal(text))
	if len(p.tokens) == 0 {
		return Result{}, nil
	}
	if err := x.takeIn(ctx, src); ctx.Err() != nil {
		return Result{}, ctx.Err()
	} else if err != nil {
		x.log().Warn("messages cannot be taken into the full-text index", "of", src.String(), "err", err)
	}
	r, err := x.find(ctx, src, p)
	if errors.Is(err, errDamaged) {
		x.log().Warn("full-text index is built anew", "of", src.String(), "err", err)
		return Result{}, x.drop(ctx, src)
	}
	if err != nil {
		return Result{}, fmt.Errorf("search index of %v: %w", src, err)
	}
	return r, nil
}

func (x *Index) find(ctx context.Context, src source, p pattern) (r Result, err error) {
	err = x.DB.Read(ctx, func(tx *db.Tx) error {
		list, upto, err := segments(tx, src)
		r = Result{Upto: upto}
		for _, s := range list {
			l := look{tx: tx, segment: s, pattern: p}
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
	tx *db.Tx
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
		needles[i] = t.needle(l.whole(i))
	}
	l.found = make([][]place, len(needles))
	marked := newNeedle(unread, true, true)
	n := int64(0)
	err := l.tx.Each(`SELECT block, data FROM fulltext_block WHERE segment = ? AND kind = ? ORDER BY block`,
		[]any{l.id, int64(words)}, func(scan func(...any) error) error {
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

// needle gives what a token is looked for by, when the begin and the end of the
// word are known or not.
func (t token) needle(begin, end bool) needle {
	switch {
	case t.runes <= certain, begin && end && t.runes <= maxRun:
		return newNeedle(t.word, begin, end)
	case end && !begin:
		return newNeedle(lastRunes(t.word, certain), false, true)
	}
	return newNeedle(t.word[:runeOffset(t.word, certain)], begin, false)
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
	slices.SortStableFunc(order, func(i, j int) int { return len(l.found[i]) - len(l.found[j]) })
	var all set
	counts := make([]int, len(l.tokens))
	for _, i := range order {
		if all != nil && len(l.found[i]) > manyWords { // their places will tell, if it is worth it
			l.inexact = l.inexact || all.count() <= fewMessages
			counts[i] = math.MaxInt
			continue
		}
		s, err := l.union(l.found[i])
		if err != nil {
			return nil, err
		}
		if counts[i] = s.count(); all == nil {
			all = s
		}
		if all.keep(s); len(all) == 0 {
			return all, nil
		}
	}
	if len(l.tokens) == 1 || l.inexact || l.cut() {
		return all, nil
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(counts[i], counts[j]) })
	return l.inPlace(order, all)
}

// cut tells whether a token in the middle is so long that its word was cut, so
// that nothing is known of the places.
func (l *look) cut() bool {
	for i, t := range l.tokens {
		if begin, end := l.whole(i); begin && end && t.runes > maxRun {
			return true
		}
	}
	return false
}

// inPlace gives those messages of all that have the tokens one behind the
// other. It holds the places of the first token of order.
func (l *look) inPlace(order []int, all set) (set, error) {
	var at []uint64 // UIDs and numbers of the first token, ascending
	err := l.eachPlace(order[0], all, func(a uint64) { at = append(at, a) })
	slices.Sort(at)
	for _, i := range order[1:] {
		fits := make([]bool, len(at))
		j := 0
		err = errors.Join(err, l.eachPlace(i, all, func(a uint64) {
			if j > 0 && a <= at[j-1] {
				j = 0 // another word
			}
			n, ok := slices.BinarySearch(at[j:], a)
			if j += n; ok {
				fits[j] = true
			}
		}))
		left := at[:0]
		for j, ok := range fits {
			if ok {
				left = append(left, at[j])
			}
		}
		at = left
	}
	out := set{}
	for _, a := range at {
		out.add(uint32(a >> 32))
	}
	return out, err
}

// eachPlace calls yield for each place of token i in the messages of all that
// has the right thing before it: the UID, and the number that the first token
// has then. They ascend for each word.
func (l *look) eachPlace(i int, all set, yield func(uint64)) error {
	return l.eachWord(l.found[i], true, func(d, p []byte) error {
		some := false
		err := eachDoc(d, func(uid, _ uint32) { some = some || all.has(uid) })
		if err != nil || !some {
			return err
		}
		return eachPlaces(d, p, func(uid uint32, places []uint32) {
			if !all.has(uid) {
				return
			}
			for _, a := range places {
				number, behind := a/uint32(separations), separation(a%uint32(separations))
				if number >= uint32(i) && (i == 0 || behind == l.tokens[i].behind) {
					yield(uint64(uid)<<32 | uint64(number-uint32(i)))
				}
			}
		})
	})
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
			data, err := readRow(l.tx, l.id, k, b)
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

// readRow reads one row of a segment.
func readRow(tx *db.Tx, segment int64, k kind, b int64) ([]byte, error) {
	var data []byte
	err := tx.Row(`SELECT data FROM fulltext_block WHERE segment = ? AND kind = ? AND block = ?`, segment, int64(k), b).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: block %d is missing", errDamaged, b)
	}
	if err != nil {
		return nil, err
	}
	return unseal(data)
}
