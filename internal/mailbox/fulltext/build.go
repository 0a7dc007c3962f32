package fulltext

import (
	"cmp"
	"slices"
	"strings"
)

// What is gathered in memory before it becomes a segment.
const (
	maxTokens = 1 << 20 // 12 octets each
	maxDocs   = 10_000
)

// entry is one token of one message.
type entry struct{ word, uid, place uint32 }

// batch gathers the tokens of messages in the order of their UIDs.
type batch struct {
	numbers map[string]uint32 // of words, in the order of their first use
	entries []entry
	first   uint32 // UID
	last    uint32
	docs    int64
	limit   int // of entries; 0: maxTokens
}

func (b *batch) full() bool {
	return len(b.entries) >= cmp.Or(b.limit, maxTokens) || b.docs >= maxDocs
}

// add adds the normal texts of one message. whole tells that this is all there
// is of it.
func (b *batch) add(uid uint32, texts []string, whole bool) {
	if b.docs == 0 {
		b.first, b.numbers = uid, map[string]uint32{}
	}
	b.last = uid
	b.docs++
	place := uint32(0)
	for _, t := range texts {
		place = tokens(t, place, func(word string, at uint32) { b.entry(word, uid, at) })
	}
	if !whole {
		b.entry(unread, uid, 0)
	}
}

func (b *batch) entry(word string, uid, place uint32) {
	n, ok := b.numbers[word]
	if !ok {
		n = uint32(len(b.numbers))
		b.numbers[strings.Clone(word)] = n
	}
	b.entries = append(b.entries, entry{n, uid, place})
}

// each calls yield for every word in the order of words; list is valid only
// then.
func (b *batch) each(yield func(word string, list *postings) error) error {
	type numbered struct {
		word string
		n    uint32
	}
	sorted := make([]numbered, 0, len(b.numbers))
	for w, n := range b.numbers {
		sorted = append(sorted, numbered{w, n})
	}
	slices.SortFunc(sorted, func(x, y numbered) int { return cmp.Compare(x.word, y.word) })
	// The entries of each word, in the order they came.
	ends := make([]int, len(sorted)+1)
	for _, e := range b.entries {
		ends[e.word+1]++
	}
	for i := range sorted {
		ends[i+1] += ends[i]
	}
	byWord := make([]entry, len(b.entries))
	for _, e := range b.entries {
		byWord[ends[e.word]] = e
		ends[e.word]++
	}
	var list postings
	var at []uint32
	for _, s := range sorted {
		begin := 0
		if s.n > 0 {
			begin = ends[s.n-1]
		}
		list.reset()
		for rest := byWord[begin:ends[s.n]]; len(rest) > 0; {
			uid := rest[0].uid
			at = at[:0]
			for len(rest) > 0 && rest[0].uid == uid {
				at, rest = append(at, rest[0].place), rest[1:]
			}
			list.add(uid, at)
		}
		if err := yield(s.word, &list); err != nil {
			return err
		}
	}
	return nil
}
