package fulltext

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
	"pgregory.net/rapid"
)

func TestFind(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.deliver(t, "Hello World, this is asdfghjkl.\r\n", "the kind\r\nregards of a kind", "株式会社汀の会\r\n社案内です。お問い合わせはメールで",
			"foo-bar foo bar foo, bar", "ＦＯＯ ﾒｰﾙ Straße", "", strings.Repeat("0123456789", 50), "🍣を食べる😀😀")
		for _, c := range []struct {
			what string
			sure bool
		}{
			{"hello", true}, {"asdfghjkl", true}, {"sdfghjk", true}, {"lo wo", true}, {"WORLD, t", true}, {"kind regards", true}, {"ind regards of a k", true},
			{"会社", true}, {"社", true}, {"会社案内", true}, {"社汀の会社", true}, {"問い合わせ", true}, {"ールで", true}, {"です。お", true}, {"会 社", true},
			{"foo bar", true}, {"foo-bar", true}, {"foo, ba", true}, {"foo; bar", false}, {"foo--bar", false}, {"foo", true}, {"メール", true}, {"STRASSE", true}, {"nowhere", true}, {"no where", true},
			{"9012345", true}, {strings.Repeat("1234567890", 5), false}, {strings.Repeat("2", 40), false}, {"🍣", true}, {"🍣を食", true}, {"😀😀", true}, {"😀😀😀", true},
			{strings.Repeat("0123456789", 7) + " x", false}, {"the kind regards of a kind", true}, {" foo", false}, {"foo ", false}, {"!", false}, {"", false},
		} {
			r := h.agrees(t, c.what)
			if sure := r.Upto > 0 && len(r.May) == 0 && patternOf(Normal(c.what)).exact; sure != c.sure {
				t.Errorf("%q: sure %v, want %v: %+v", c.what, sure, c.sure, r)
			}
		}
	})
}

// alphabets make texts that are alike enough to be found in one another.
var alphabets = []string{"ab", "aB ", "ab ,", "ab .\r\n", "a-.@/", "a:/_'=", "日本", "日本の", "日本 の、", "カタかな日", "aア日1 ", "é́e ", "😀a日", "ssß", "ﾃﾞデ", "aก า", "가 각ᄀ", "\u00ada\u200bb", "Ａａ 　"}

func genText(most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "pieces") {
			from := []rune(rapid.SampledFrom(alphabets).Draw(t, "alphabet"))
			b.WriteString(string(rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, "piece")))
		}
		return b.String()
	})
}

// TestFindsWhatAScanFinds plays deliveries, expunges, merges and searches; what is
// found is what a plain scan finds.
func TestFindsWhatAScanFinds(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		rapid.Check(t, func(r *rapid.T) {
			h := newHouse(t, d)
			h.tokens = rapid.SampledFrom([]int{1, 50, 0}).Draw(r, "batch")
			for range rapid.IntRange(1, 6).Draw(r, "rounds") {
				texts := rapid.SliceOfN(genText(60), 0, 12).Draw(r, "texts")
				h.deliver(t, texts...)
				for uid := range h.texts {
					if rapid.IntRange(0, 9).Draw(r, "expunge") == 0 {
						h.expunge(t, uid)
					}
				}
				for range 4 {
					h.agrees(t, genText(4).Draw(r, "what"))
				}
				for _, text := range h.texts { // what is there
					runes := []rune(text)
					from := rapid.IntRange(0, len(runes)).Draw(r, "from")
					to := rapid.IntRange(from, min(len(runes), from+80)).Draw(r, "to")
					h.agrees(t, string(runes[from:to]))
				}
				if rapid.Bool().Draw(r, "tend") {
					h.tend(t)
				}
			}
		})
	})
}
