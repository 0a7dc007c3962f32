package fulltext

import "hash/maphash"

// vocabulary numbers words in the order of their first use. It is a hash table
// with open addressing, quicker than a map, and empty again without new memory.
// Its seed is chosen at random, so that nobody can write words that collide. The
// zero value is empty.
type vocabulary struct {
	seed  maphash.Seed
	slots []slot   // a power of two, at most half of them used
	text  []byte   // all words, one behind the other
	ends  []uint32 // of words in text
}

// slot holds a word by its hash and by its number plus one; 0: it is free.
type slot struct{ hash, word uint32 }

// reset makes it empty.
func (v *vocabulary) reset() {
	clear(v.slots)
	v.text, v.ends = v.text[:0], v.ends[:0]
}

// number gives the number of a word.
func (v *vocabulary) number(word string) uint32 {
	if 2*len(v.ends) >= len(v.slots) {
		v.grow()
	}
	hash := uint32(maphash.String(v.seed, word))
	mask := uint32(len(v.slots) - 1)
	at := hash & mask
	for ; v.slots[at].word != 0; at = (at + 1) & mask {
		if s := v.slots[at]; s.hash == hash && v.is(s.word-1, word) {
			return s.word - 1
		}
	}
	v.text = append(v.text, word...)
	v.ends = append(v.ends, uint32(len(v.text)))
	v.slots[at] = slot{hash, uint32(len(v.ends))}
	return uint32(len(v.ends) - 1)
}

// is tells whether word n is word.
func (v *vocabulary) is(n uint32, word string) bool {
	begin := uint32(0)
	if n > 0 {
		begin = v.ends[n-1]
	}
	return string(v.text[begin:v.ends[n]]) == word
}

// grow makes room for as many words again.
func (v *vocabulary) grow() {
	if v.slots == nil {
		v.seed = maphash.MakeSeed()
	}
	old := v.slots
	v.slots = make([]slot, max(1<<10, 2*len(old)))
	mask := uint32(len(v.slots) - 1)
	for _, s := range old {
		if s.word == 0 {
			continue
		}
		at := s.hash & mask
		for v.slots[at].word != 0 {
			at = (at + 1) & mask
		}
		v.slots[at] = s
	}
}

// words gives the words by their numbers.
func (v *vocabulary) words() []string {
	text, begin := string(v.text), uint32(0)
	list := make([]string, len(v.ends))
	for i, end := range v.ends {
		list[i], begin = text[begin:end], end
	}
	return list
}
