package content

import (
	_ "embed" // the default rules
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudflare/ahocorasick"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

//go:embed rules.txt
var defaultRules string

// Bounds of a rules file.
const (
	maxRules    = 5000
	maxPatterns = 100
)

// Rules are patterns with weights, as a rules file gives them:
//
//	rule SYMBOL SCORE [at-least N [more SCORE]]
//	say  what is told as evidence
//	text|subject|from|to|header:NAME|url  REGEXP
//
// A rule holds when one of its patterns matches, or N different ones with
// at-least; more is added for each beyond. Letter case does not matter. Patterns are Go's (RE2), whose time is
// linear, so no pattern can be made slow by a message.
type Rules struct {
	list  []rule
	words *ahocorasick.Matcher // of all patterns, nil until seal
}

type rule struct {
	symbol   string
	score    float64
	atLeast  int
	more     float64 // score of each pattern beyond
	say      string
	patterns []pattern
}

type pattern struct {
	where string
	re    *regexp.Regexp
	needs []string // one of these at least is in what matches; nil: unknown
	words []int    // their numbers
}

// DefaultRules gives the rules that migiwa comes with.
func DefaultRules() *Rules {
	r, err := ParseRules(strings.NewReader(defaultRules))
	if err != nil {
		panic("content: " + err.Error())
	}
	return r
}

// ParseRules reads a rules file. The error tells all wrong lines by number.
func ParseRules(r io.Reader) (*Rules, error) {
	text, err := io.ReadAll(io.LimitReader(r, 4<<20))
	if err != nil {
		return nil, err
	}
	rules := &Rules{}
	var wrong []error
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := rules.line(line); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	rules.seal()
	return rules, nil
}

// seal makes the table of the words that patterns need.
func (r *Rules) seal() {
	number := map[string]int{}
	var words []string
	for i := range r.list {
		for j := range r.list[i].patterns {
			p := &r.list[i].patterns[j]
			p.words = nil
			for _, w := range p.needs {
				if _, known := number[w]; !known {
					number[w] = len(words)
					words = append(words, w)
				}
				p.words = append(p.words, number[w])
			}
		}
	}
	r.words = ahocorasick.NewStringMatcher(words)
}

// with gives the rules and others behind them.
func (r *Rules) with(others *Rules) *Rules {
	both := &Rules{list: slices.Concat(r.list, others.list)}
	for i := range both.list {
		both.list[i].patterns = slices.Clone(both.list[i].patterns)
	}
	both.seal()
	return both
}

var symbolForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,40}$`)

func (r *Rules) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if word == "rule" {
		return r.begin(strings.Fields(rest))
	}
	if len(r.list) == 0 {
		return fmt.Errorf("%s before the first rule", word)
	}
	current := &r.list[len(r.list)-1]
	if word == "say" {
		current.say = rest
		return nil
	}
	name, ok := strings.CutPrefix(word, "header:")
	switch word {
	case "text", "subject", "from", "to", "url":
		ok = true
	}
	if !ok || name == "" {
		return fmt.Errorf("%q is none of rule, say, text, subject, from, to, url, header:NAME", word)
	}
	if len(current.patterns) == maxPatterns {
		return fmt.Errorf("more than %d patterns in a rule", maxPatterns)
	}
	re, err := regexp.Compile("(?i)" + rest)
	if err != nil {
		return err
	}
	p := pattern{where: word, re: re}
	if word == "text" {
		p.needs = literals("(?i)" + rest)
	}
	current.patterns = append(current.patterns, p)
	return nil
}

func (r *Rules) begin(words []string) error {
	if n := len(words); n != 2 && n != 4 && n != 6 || n > 2 && words[2] != "at-least" || n > 4 && words[4] != "more" {
		return errors.New("want: rule SYMBOL SCORE [at-least N [more SCORE]]")
	}
	if len(r.list) == maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	next := rule{symbol: words[0], atLeast: 1}
	if !symbolForm.MatchString(next.symbol) {
		return fmt.Errorf("symbol %q is not of capital letters, digits and _", next.symbol)
	}
	var err error
	if next.score, err = parseScore(words[1]); err != nil {
		return err
	}
	if len(words) > 2 {
		if next.atLeast, err = strconv.Atoi(words[3]); err != nil || next.atLeast < 1 {
			return fmt.Errorf("at-least %q is not a positive number", words[3])
		}
	}
	if len(words) > 4 {
		if next.more, err = parseScore(words[5]); err != nil {
			return err
		}
	}
	r.list = append(r.list, next)
	return nil
}

func parseScore(word string) (float64, error) {
	score, err := strconv.ParseFloat(word, 64)
	if err != nil || score < -20 || score > 20 {
		return 0, fmt.Errorf("score %q is not a number from -20 to 20", word)
	}
	return score, nil
}

// match gives the findings of all rules that hold for what is in v.
func (r *Rules) match(v *view) []mail.Finding {
	v.split(r.words)
	var out []mail.Finding
	for _, rule := range r.list {
		may := rule.may(v)
		held, first := 0, ""
		for i, p := range may {
			if held+len(may)-i < rule.atLeast {
				break
			}
			if hit, ok := v.find(p); ok {
				if held++; first == "" {
					first = hit
				}
			}
			if held == rule.atLeast && rule.more == 0 {
				break
			}
		}
		if held >= rule.atLeast {
			score := rule.score + rule.more*float64(held-rule.atLeast)
			out = append(out, mail.Finding{Symbol: rule.symbol, Score: score, Evidence: rule.evidence(first)})
		}
	}
	return out
}

// may gives the patterns that can match what is in v.
func (r *rule) may(v *view) []pattern {
	var out []pattern
	for _, p := range r.patterns {
		if p.needs == nil || slices.ContainsFunc(v.chunks, p.fits) {
			out = append(out, p)
		}
	}
	return out
}

// fits tells whether one of the words that the pattern needs is in a chunk.
func (p pattern) fits(c chunk) bool {
	return p.needs == nil || slices.ContainsFunc(p.words, func(n int) bool { return c.has[n] })
}

func (r *rule) evidence(hit string) string {
	hit = `"` + cut(hit) + `"`
	if r.say == "" {
		return hit
	}
	return r.say + ": " + hit
}

// view is a message as patterns see it, made once.
type view struct {
	m      *filter.Message
	text   string // what is read, white space folded
	chunks []chunk
	urls   []string
}

// chunk is a piece of the text. Patterns are tried on pieces, since Go matches
// short texts much faster, and only on those that have a word they need.
type chunk struct {
	text string
	has  map[int]bool // words, by number
}

const (
	chunkSize    = 700 // octets
	chunkOverlap = 200 // longer than what any sensible pattern matches
)

func (v *view) split(words *ahocorasick.Matcher) {
	v.chunks = v.chunks[:0]
	for rest := v.text; rest != ""; {
		n := min(chunkSize, len(rest))
		c := chunk{text: rest[:n], has: map[int]bool{}}
		for _, w := range words.MatchThreadSafe([]byte(strings.ToLower(c.text))) {
			c.has[w] = true
		}
		v.chunks = append(v.chunks, c)
		if n == len(rest) {
			break
		}
		rest = rest[n-chunkOverlap:]
	}
}

func (v *view) find(p pattern) (string, bool) {
	search := func(s string) (string, bool) {
		at := p.re.FindStringIndex(s)
		if at == nil {
			return "", false
		}
		return s[at[0]:at[1]], true
	}
	if p.where == "text" {
		for _, c := range v.chunks {
			if p.fits(c) {
				if hit, ok := search(c.text); ok {
					return hit, true
				}
			}
		}
		return "", false
	}
	var values []string
	switch p.where {
	case "url":
		values = v.urls
	case "subject", "from", "to":
		values = v.m.Header.Values(p.where)
	default:
		values = v.m.Header.Values(strings.TrimPrefix(p.where, "header:"))
	}
	for _, value := range values {
		if p.where != "url" {
			value = mail.DecodeText(value)
		}
		if hit, ok := search(value); ok {
			return hit, true
		}
	}
	return "", false
}
