package imapd

import (
	"slices"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// returns are the result options of SEARCH and SORT (RFC 9051 section 6.4.4,
// RFC 5267, RFC 9394).
type returns struct {
	given                      bool // RETURN was: the answer is ESEARCH
	min, max, all, count, save bool
	update                     bool      // tell changes of the result (RFC 5267)
	items                      *fetching // told of new messages that come into it (RFC 5465 section 7); nil: none
	partial                    portion
}

// portion is the places in a result that PARTIAL asks for, the first being 1.
// Negative ones count from the end. Zero: no PARTIAL.
type portion struct{ first, last int64 }

// parseReturns reads the list behind RETURN.
func parseReturns(d *wire.Decoder) returns {
	r := returns{given: true}
	d.List(func() {
		switch d.Word() {
		case "MIN":
			r.min = true
		case "MAX":
			r.max = true
		case "ALL":
			r.all = true
		case "COUNT":
			r.count = true
		case "SAVE":
			r.save = true
		case "UPDATE":
			r.update = true
			if listFollows(d) {
				d.SP()
				r.items = parseNewItems(d)
			}
		case "CONTEXT": // a hint that the client may come back to this search
		case "PARTIAL":
			d.SP()
			if r.partial != (portion{}) {
				d.Fail("Only one PARTIAL is possible")
			}
			r.partial = parseSpan(d)
		default:
			d.Fail("Unknown result option")
		}
	})
	switch {
	case r.all && r.partial != portion{}:
		d.Fail("ALL and PARTIAL exclude each other")
	case r == returns{given: true}:
		r.all = true
	}
	return r
}

// parseSpan reads partial-range (RFC 9394 section 3.1). The smaller number may
// come second.
func parseSpan(d *wire.Decoder) portion {
	number := func(negative bool) int64 {
		if d.Accept('-') != negative {
			d.Fail("Both ends of a range count from the same side")
		}
		n := int64(d.Number())
		if n == 0 {
			d.Fail("0 is no place")
		}
		return n
	}
	negative := d.Peek() == '-'
	a := number(negative)
	d.Expect(':')
	b := number(negative)
	if negative {
		return portion{-min(a, b), -max(a, b)}
	}
	return portion{min(a, b), max(a, b)}
}

// of gives the part of hits that a portion means.
func (s portion) of(hits []hit) []hit {
	n := int64(len(hits))
	first, last := s.first-1, s.last
	if s.first < 0 {
		first, last = n+s.last, n+s.first+1
	}
	first, last = min(max(first, 0), n), min(max(last, 0), n)
	return hits[first:max(first, last)]
}

// silent tells whether nothing is answered: only SAVE was asked for.
func (r returns) silent() bool { return r == returns{given: true, save: true} }

// kept gives the UIDs that SAVE keeps: what MIN, MAX and PARTIAL name where the
// client asks for nothing more (RFC 5182 section 2.4, RFC 9394 section 3.2).
func (r returns) kept(hits []hit) []uint32 {
	part := r.min || r.max || r.partial != portion{}
	if part && !r.all && !r.count && len(hits) > 0 {
		var some []hit
		if r.min {
			some = append(some, hits[0])
		}
		if r.max {
			some = append(some, hits[len(hits)-1])
		}
		if r.partial != (portion{}) {
			some = append(some, r.partial.of(hits)...)
		}
		hits = some
	}
	uids := make([]uint32, len(hits))
	for i, h := range hits {
		uids[i] = h.uid
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// names gives the numbers by which the client knows messages.
func (q *seeking) names(hits []hit) []uint32 {
	out := make([]uint32, len(hits))
	for i, h := range hits {
		out[i] = q.name(h)
	}
	return out
}

// newestChange gives the highest mod-sequence of messages.
func newestChange(hits ...hit) (n int64) {
	for _, h := range hits {
		n = max(n, h.modseq)
	}
	return n
}

// writeList writes SEARCH or SORT with all numbers, and the highest
// mod-sequence if it belongs there (RFC 7162 section 3.1.5).
func (q *seeking) writeList(e *wire.Encoder, name string, hits []hit) {
	e.Raw(name)
	for _, h := range hits {
		e.Raw(" ")
		e.Number(int64(q.name(h)))
	}
	if q.program.ModSeq && len(hits) > 0 {
		e.Rawf(" (MODSEQ %d)", newestChange(hits...))
	}
}

// writeExtended writes ESEARCH. In the result of SORT, sets are in its order
// (RFC 5267 section 3).
func (q *seeking) writeExtended(e *wire.Encoder, hits []hit) {
	r := q.returns
	if !r.given {
		r.all = true
	}
	e.Raw("* ESEARCH (TAG ")
	e.String(q.tag)
	e.Raw(")")
	if q.byUID {
		e.Raw(" UID")
	}
	var told []hit
	if len(hits) > 0 {
		told = q.writeSome(e, r, hits)
	}
	if r.count {
		e.Rawf(" COUNT %d", len(hits))
		told = hits
	}
	if r.partial != (portion{}) {
		part := r.partial.of(hits)
		e.Rawf(" PARTIAL (%d:%d ", r.partial.first, r.partial.last)
		if len(part) == 0 {
			e.Raw("NIL)")
		} else {
			e.Set(q.names(part))
			e.Raw(")")
		}
		told = append(told[:len(told):len(told)], part...)
	}
	if q.program.ModSeq && len(told) > 0 {
		e.Rawf(" MODSEQ %d", newestChange(told...))
	}
}

// writeSome writes MIN, MAX and ALL, and gives the messages that MODSEQ is of
// (RFC 4731 section 3.2).
func (q *seeking) writeSome(e *wire.Encoder, r returns, hits []hit) (told []hit) {
	if r.min {
		e.Rawf(" MIN %d", q.name(hits[0]))
		told = append(told, hits[0])
	}
	if r.max {
		e.Rawf(" MAX %d", q.name(hits[len(hits)-1]))
		told = append(told, hits[len(hits)-1])
	}
	if r.all {
		e.Raw(" ALL ")
		e.Set(q.names(hits))
		told = hits
	}
	return told
}
