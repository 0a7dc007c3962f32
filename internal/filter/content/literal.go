package content

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// shortLiteral is the length below which a literal occurs in any text.
const shortLiteral = 2

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
	case syntax.OpCapture, syntax.OpPlus:
		return needed(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needed(re.Sub[0])
		}
		return nil
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
		return neededOf(re.Sub)
	}
	return useful(exact(re))
}

// neededOf gives the best of what a sequence needs: the texts of a run of its
// parts whose texts are all known, or what one part needs.
func neededOf(parts []*syntax.Regexp) []string {
	var best []string
	better := func(words []string) {
		if shortest(words) > shortest(best) {
			best = words
		}
	}
	run := []string{""}
	for _, part := range parts {
		texts := exact(part)
		product := times(run, texts)
		if texts == nil || product == nil {
			better(useful(run))
			better(needed(part))
			product = []string{""}
			if texts != nil {
				product = texts
			}
		}
		run = product
	}
	better(useful(run))
	return best
}

// maxTexts bounds the texts of one part.
const maxTexts = 64

// exact gives all texts that a part matches, in lower case; nil when they are
// too many or not known.
func exact(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpBeginText, syntax.OpEndText:
		return []string{""}
	case syntax.OpCapture:
		return exact(re.Sub[0])
	case syntax.OpQuest:
		if texts := exact(re.Sub[0]); texts != nil {
			return append([]string{""}, texts...)
		}
	case syntax.OpCharClass:
		return class(re.Rune)
	case syntax.OpConcat:
		run := []string{""}
		for _, sub := range re.Sub {
			if run = times(run, exact(sub)); run == nil {
				return nil
			}
		}
		return run
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			texts := exact(sub)
			if texts == nil || len(all)+len(texts) > maxTexts {
				return nil
			}
			all = append(all, texts...)
		}
		return all
	}
	return nil
}

// class gives the letters of a small class.
func class(ranges []rune) []string {
	var out []string
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r == '\u212a' || r == '\u017f' { // text is folded before it is searched
				continue
			}
			if len(out) == 8 {
				return nil
			}
			if text := strings.ToLower(string(r)); !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

func times(a, b []string) []string {
	if len(b) == 0 || len(a)*len(b) > maxTexts {
		return nil
	}
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return out
}

// useful gives words when each of them says something.
func useful(words []string) []string {
	for _, w := range words {
		if len(w) < shortLiteral && w != "$" || !foldsSimply(w) {
			return nil
		}
	}
	return words
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
