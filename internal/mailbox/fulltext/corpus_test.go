package fulltext

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// corpus writes texts whose words are as frequent as those of real ones: few
// are everywhere, many are there once (Zipf's law).
type corpus struct {
	*rand.Rand
	vocabulary []string
	japanese   bool
}

var particles = []string{"の", "は", "が", "を", "に", "で", "と", "も", "から", "まで", "より", "について", "として", "へ"}
var endings = []string{"です。", "します。", "しました。", "しております。", "いたします。\r\n", "ください。\r\n", "ありがとうございます。\r\n", "でしょうか。", "ですが、", "ので、"}

func newCorpus(japanese bool) *corpus {
	c := &corpus{Rand: rand.New(rand.NewPCG(1, 2)), japanese: japanese}
	for range 50_000 {
		if japanese {
			c.vocabulary = append(c.vocabulary, c.compound())
		} else {
			c.vocabulary = append(c.vocabulary, c.english())
		}
	}
	return c
}

func (c *corpus) english() string {
	const consonants, vowels = "bcdfghklmnprstvw", "aeiou"
	var b strings.Builder
	for range 1 + c.IntN(4) {
		b.WriteByte(consonants[c.IntN(len(consonants))])
		b.WriteByte(vowels[c.IntN(len(vowels))])
		if c.IntN(3) == 0 {
			b.WriteByte(consonants[c.IntN(len(consonants))])
		}
	}
	return b.String()
}

func (c *corpus) compound() string {
	base, span, n := 0x4e00, 2000, 1+c.IntN(4)
	if c.IntN(5) == 0 {
		base, span, n = 0x30a2, 80, 2+c.IntN(5) // katakana
	}
	var b strings.Builder
	for range n {
		b.WriteRune(rune(base + int(float64(span)*math.Pow(c.Float64(), 2))))
	}
	return b.String()
}

func (c *corpus) word() string {
	n := float64(len(c.vocabulary))
	return c.vocabulary[int(math.Pow(n, c.Float64()))-1]
}

// text gives a text of some 2,000 octets; n appears in it.
func (c *corpus) text(n int) string {
	var b strings.Builder
	if c.japanese {
		b.WriteString("お世話になっております。\r\n")
	}
	fmt.Fprintf(&b, "Ref id%07dx https://example.test/%08x?u=%x\r\n\r\n", n, c.Uint32(), c.Uint64())
	size := 500 + int(c.ExpFloat64()*1500)
	for b.Len() < size {
		b.WriteString(c.word())
		switch {
		case c.japanese && c.IntN(4) == 0:
			b.WriteString(endings[c.IntN(len(endings))])
		case c.japanese:
			b.WriteString(particles[c.IntN(len(particles))])
		case c.IntN(12) == 0:
			b.WriteString([]string{". ", ", ", "\r\n", " - "}[c.IntN(4)])
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}
