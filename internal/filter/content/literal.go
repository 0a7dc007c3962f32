package content

import (
	"regexp/syntax"
	"strings"
	"unicode"
)

// shortLiteral is the length below which a literal occurs in any text.
const shortLiteral = 3

// literals gives words of which one at least must be in every text that the
// pattern matches, in lower case; nil when there is no such set. Looking for
// all words of all patterns at once spares most patterns most texts.
func literals(pattern string) []string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	return needed(re.Simplify())
}

func needed(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		word := strings.ToLower(string(re.Rune))
		if len(word) < shortLiteral || !foldsSimply(word) {
			return nil
		}
		return []string{word}
	case syntax.OpCapture, syntax.OpPlus:
		return needed(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needed(re.Sub[0])
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			words := needed(sub)
			if words == nil {
				return nil
			}
			all = append(all, words...)
		}
		return all
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if words := needed(sub); shortest(words) > shortest(best) {
				best = words
			}
		}
		return best
	}
	return nil
}

// foldsSimply tells whether the letters have no other form than upper and lower
// case: k and s also fold to the Kelvin sign and the long s.
func foldsSimply(word string) bool {
	for _, r := range word {
		forms := 1
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f != '\u212a' && f != '\u017f' { // text is folded before it is searched
				forms++
			}
		}
		if forms > 2 {
			return false
		}
	}
	return true
}

func shortest(words []string) int {
	least := 0
	for i, w := range words {
		if i == 0 || len(w) < least {
			least = len(w)
		}
	}
	return least
}
