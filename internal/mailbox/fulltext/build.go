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

// chunk is how many entries lie together: they are never copied.
const chunk = 1 << 14

// batch gathers the tokens of messages in the order of their UIDs.
type batch struct {
	vocabulary
	entries [][]entry // chunks; all but the last one full
	count   int       // of entries
	first   uint32    // UID
	last    uint32
	docs    int64
	limit   int // of entries; 0: maxTokens
}

func (b *batch) full() bool {
	return b.count >= cmp.Or(b.limit, maxTokens) || b.docs >= maxDocs
}

// add adds the normal texts of one message. whole tells that this is all there
// is of it.
func (b *batch) add(uid uint32, texts []string, whole bool) {
	if b.docs == 0 {
		b.first = uid
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
	b.append(entry{b.number(word), uid, place})
}

func (b *batch) append(e entry) {
	n := b.count / chunk
	if n == len(b.entries) {
		b.entries = append(b.entries, make([]entry, 0, chunk))
	}
	b.entries[n] = append(b.entries[n], e)
	b.count++
}

// reset makes the batch an empty one that keeps its memory.
func (b *batch) reset() {
	b.vocabulary.reset()
	for i := range b.entries {
		b.entries[i] = b.entries[i][:0]
	}
	b.count, b.docs = 0, 0
}

// join adds what another batch has gathered of messages behind those of b. It
// looks up each word once, not each token.
func (b *batch) join(other *batch) {
	if other.docs == 0 {
		return
	}
	if b.docs == 0 {
		b.first = other.first
	}
	b.last = other.last
	b.docs += other.docs
	words := other.words()
	here := make([]uint32, len(words))
	for n, word := range words {
		here[n] = b.number(word)
	}
	for _, c := range other.entries {
		for _, e := range c {
			b.append(entry{here[e.word], e.uid, e.place})
		}
	}
}

// each calls yield for every word in the order of words; list is valid only
// then.
func (b *batch) each(yield func(word string, list *postings) error) error {
	words := b.words()
	sorted := make([]uint32, len(words))
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(x, y uint32) int { return strings.Compare(words[x], words[y]) })
	byWord, ends := b.byWord(len(words))
	var list postings
	var at []uint32
	for _, n := range sorted {
		begin := 0
		if n > 0 {
			begin = ends[n-1]
		}
		list.reset()
		for rest := byWord[begin:ends[n]]; len(rest) > 0; {
			uid := rest[0].uid
			at = at[:0]
			for len(rest) > 0 && rest[0].uid == uid {
				at, rest = append(at, rest[0].place), rest[1:]
			}
			list.add(uid, at)
		}
		if err := yield(words[n], &list); err != nil {
			return err
		}
	}
	return nil
}

// standing is where a token stands.
type standing struct{ uid, place uint32 }

// byWord gives the entries by their words, those of each in the order they
// came, and where those of each word end.
func (b *batch) byWord(words int) (list []standing, ends []int) {
	ends = make([]int, words+1)
	for _, c := range b.entries {
		for _, e := range c {
			ends[e.word+1]++
		}
	}
	for i := range words {
		ends[i+1] += ends[i]
	}
	list = make([]standing, b.count)
	for _, c := range b.entries {
		for _, e := range c {
			list[ends[e.word]] = standing{e.uid, e.place}
			ends[e.word]++
		}
	}
	return list, ends
}
