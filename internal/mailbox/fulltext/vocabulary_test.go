package fulltext

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBatchesJoined gathers messages in one batch, and in several that are
// joined and used again: what comes out is the same.
func TestBatchesJoined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringMatching(`([a-d]{1,3}[ ,]){0,40}`), 1, 20).Draw(t, "texts")
		size := rapid.IntRange(1, 7).Draw(t, "size")
		var whole, joined, part batch
		for i, text := range texts {
			uid, complete := uint32(i+1), i%3 != 0
			whole.add(uid, []string{text}, complete)
			if part.add(uid, []string{text}, complete); (i+1)%size == 0 {
				joined.join(&part)
				part.reset()
			}
		}
		joined.join(&part)
		if joined.first != whole.first || joined.last != whole.last || joined.docs != whole.docs || joined.count != whole.count {
			t.Fatalf("joined %d to %d, %d messages, %d tokens; want %d to %d, %d, %d",
				joined.first, joined.last, joined.docs, joined.count, whole.first, whole.last, whole.docs, whole.count)
		}
		if got, want := written(&joined), written(&whole); !slices.Equal(got, want) {
			t.Fatalf("joined they are %q, want %q", got, want)
		}
	})
}

// written gives the words of a batch with their postings.
func written(b *batch) (list []string) {
	b.each(func(word string, p *postings) error {
		list = append(list, word, string(p.docs), string(p.places))
		return nil
	})
	return list
}

// TestVocabulary numbers words as a map does.
func TestVocabulary(t *testing.T) {
	var v vocabulary
	for range 2 {
		numbers := map[string]uint32{}
		for i := range uint32(20_000) {
			word := string(rune('a'+i%1000)) + string(rune('a'+i*7919%3001))
			want, known := numbers[word]
			if !known {
				want = uint32(len(numbers))
				numbers[word] = want
			}
			if got := v.number(word); got != want {
				t.Fatalf("%q has number %d, want %d", word, got, want)
			}
		}
		for n, word := range v.words() {
			if numbers[word] != uint32(n) {
				t.Fatalf("word %d is %q", n, word)
			}
		}
		v.reset()
	}
}

// TestPlainTokens compares tokens with those found character by character.
func TestPlainTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := Normal(rapid.StringMatching(`([a-cA0-1é日ッ🙂]{0,3}[ .,\n]{0,2}){0,20}`).Draw(t, "text"))
		kind, from := gap, 0
		var want []string
		for i, r := range text + "." {
			if k := classOf(r); k != kind {
				if kind != gap {
					want = append(want, text[from:i])
				}
				kind, from = k, i
			}
		}
		var got []string
		tokens(text, 0, func(word string, _ uint32) { got = append(got, word) })
		if !slices.Equal(got, want) {
			t.Fatalf("tokens of %q: %q, want %q", text, got, want)
		}
	})
}
