package mailbox

import (
	"bytes"
	"database/sql"
	"iter"
	"slices"
	"strconv"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Range is the UIDs from First to Last, both included.
type Range struct{ First, Last uint32 }

// All is every UID.
var All = []Range{{1, 1<<32 - 1}}

// disjoint gives the same set in order and without overlap.
func disjoint(set []Range) []Range {
	set = slices.DeleteFunc(slices.Clone(set), func(r Range) bool { return r.First > r.Last })
	slices.SortFunc(set, func(a, b Range) int { return int(int64(a.First) - int64(b.First)) })
	var out []Range
	for _, r := range set {
		if n := len(out); n > 0 && int64(r.First) <= int64(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Ranges gives uids, in order, as a set.
func Ranges(uids []uint32) []Range {
	set := make([]Range, len(uids))
	for i, u := range uids {
		set[i] = Range{u, u}
	}
	return disjoint(set)
}

// spanUIDs is how many UIDs a span lists at most.
const spanUIDs = 500

// span is the part of a set that one statement looks at: a range, or the UIDs
// of several small ones. A set of many ranges would otherwise take as many
// statements.
type span struct {
	Range
	list []uint32 // of a range: nil
}

// spans gives the parts of a set in order.
func spans(set []Range) iter.Seq[span] {
	return func(yield func(span) bool) {
		set := disjoint(set)
		for len(set) > 0 {
			n, uids := 0, 0
			for n < len(set) && int64(uids)+int64(set[n].Last)-int64(set[n].First) < spanUIDs {
				uids += int(set[n].Last-set[n].First) + 1
				n++
			}
			n = max(n, 1)
			p := span{Range: Range{set[0].First, set[n-1].Last}}
			if n > 1 {
				p.list = expand(set[:n], uids)
			}
			if set = set[n:]; !yield(p) {
				return
			}
		}
	}
}

func expand(set []Range, size int) []uint32 {
	out := make([]uint32, 0, size)
	for _, r := range set {
		for u := int64(r.First); u <= int64(r.Last); u++ {
			out = append(out, uint32(u))
		}
	}
	return out
}

// after gives what of the span lies behind uid, if anything.
func (p span) after(uid uint32) (span, bool) {
	if uid >= p.Last {
		return p, false
	}
	p.First = max(p.First, uid+1)
	for len(p.list) > 0 && p.list[0] <= uid {
		p.list = p.list[1:]
	}
	return p, true
}

// where is the condition on column uid, and its arguments.
func (p span) where(tx *db.Tx) (string, []any) {
	if p.list == nil {
		return `uid BETWEEN ? AND ?`, []any{int64(p.First), int64(p.Last)}
	}
	brackets := tx.Pick("[]", "{}")
	text := make([]byte, 0, 8*len(p.list))
	text = append(text, brackets[0])
	for i, u := range p.list {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(text, uint64(u), 10)
	}
	text = append(text, brackets[1])
	return tx.Pick(`uid IN (SELECT value FROM json_each(?))`, `uid = ANY (CAST(CAST(? AS TEXT) AS BIGINT[]))`), []any{string(text)}
}

// readUIDs gives, in order, the UIDs of the rows of a table that meet a
// condition. They come as one text: to take 100,000 rows from a driver lasts
// ten times as long as to find them.
func readUIDs(tx *db.Tx, from string, args ...any) (uids []uint32, err error) {
	query := tx.Pick(`SELECT COALESCE(group_concat(uid), '') FROM `, `SELECT COALESCE(string_agg(CAST(uid AS TEXT), ','), '') FROM `)
	err = tx.Each(query+from, args, func(scan func(...any) error) error {
		var text sql.RawBytes
		if err := scan(&text); err != nil || len(text) == 0 {
			return err
		}
		uids = make([]uint32, 0, bytes.Count(text, []byte{','})+1)
		var uid uint32
		for _, c := range text {
			if c == ',' {
				uids = append(uids, uid)
				uid = 0
			} else {
				uid = 10*uid + uint32(c-'0')
			}
		}
		uids = append(uids, uid)
		return nil
	})
	slices.Sort(uids)
	return uids, err
}
