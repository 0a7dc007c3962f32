package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/suite"
)

// scoresFile has the scores that are fitted, above its line "# fixed": symbol, score,
// and what the fit begins with.
const scoresFile = "internal/filter/scores.txt"

// seen is what the filters find in one message: which of the scores that are
// fitted count, how often, and the sum of all others.
type seen struct {
	letter *letter
	found  map[string]float64
	rest   float64
	weight float64 // in the fit
}

// fitting are the bounds and prices of the fit.
var fitting = struct {
	wanted      float64 // what a wanted message counts, for one of spam
	least, most float64 // of one score: none reaches the bar of Junk alone
	rounds      int
	step        float64
	pulls       []float64 // towards the present scores, to choose from
}{4, 0.1, 5, 4000, 0.02, []float64{30, 10, 3, 1, 0.3}}

// fit chooses scores by the training half, prints what they do on it by
// cross-validation and, once, on the test half, and writes them.
func fit(write bool) error {
	prior, text, err := readPrior()
	if err != nil {
		return err
	}
	training, test, err := material06(prior)
	if err != nil {
		return err
	}
	fmt.Println("training half, five folds: recall at 0.1 %, 0.5 % and 1 % of wanted mail taken for spam, and the mean up to 2 %")
	printRecall("as they are", training, prior)
	pull := choosePull(training, prior)
	fitted := fitScores(training, prior, pull)
	fmt.Printf("\nwith pull %g, test half:\n", pull)
	printRecall("as they are", test, prior)
	printRecall("fitted", test, fitted)
	printScores(training, prior, fitted)
	if write {
		return os.WriteFile(scoresFile, []byte(rewrite(text, fitted)), 0o644)
	}
	return nil
}

// choosePull gives the strongest pull towards the present scores that does not
// cost half a point of recall: what holds for old mail alone is not worth more.
func choosePull(training []*seen, prior map[string]float64) (pull float64) {
	means := make([]float64, len(fitting.pulls))
	for i, p := range fitting.pulls {
		results := crossValidate(training, prior, p)
		for _, share := range limits {
			means[i] += recall(results, share) / float64(len(limits))
		}
		printResults(fmt.Sprintf("pull %g", p), results)
	}
	best := slices.Max(means)
	i := slices.IndexFunc(means, func(m float64) bool { return m >= best-0.005 })
	return fitting.pulls[i]
}

// readPrior gives the scores to begin with of those that are fitted, and the
// whole file.
func readPrior() (map[string]float64, string, error) {
	raw, err := os.ReadFile(scoresFile)
	if err != nil {
		return nil, "", err
	}
	open, _, found := strings.Cut(string(raw), "\n# fixed")
	if !found {
		return nil, "", fmt.Errorf("%s has no line \"# fixed\"", scoresFile)
	}
	prior := map[string]float64{}
	for line := range strings.Lines(open) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] != "#" {
			if prior[fields[0]], err = strconv.ParseFloat(fields[2], 64); err != nil {
				return nil, "", err
			}
		}
	}
	return prior, string(raw), nil
}

// material06 runs the filters that ask nobody over all letters. To the training
// half come wanted messages of other sets and of today.
func material06(prior map[string]float64) (training, test []*seen, err error) {
	letters, err := readCorpus()
	if err != nil {
		return nil, nil, err
	}
	others, err := otherHam()
	if err != nil {
		return nil, nil, err
	}
	letters = append(letters, others["notmuch"]...) // the other sets are specimens, some of them broken on purpose
	names, err := filepath.Glob("internal/filter/learned/testdata/*/*.eml")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		letters = append(letters, &letter{name: name, hard: true, way: raw})
	}
	p, err := suite.New(suite.Options{})
	if err != nil {
		return nil, nil, err
	}
	for _, l := range letters {
		s, err := look(p, l, prior)
		if err != nil {
			return nil, nil, err
		}
		if l.test {
			test = append(test, s)
		} else {
			training = append(training, s)
		}
	}
	return training, test, nil
}

func look(p *filter.Pipeline, l *letter, prior map[string]float64) (*seen, error) {
	m, err := filter.FromBytes(filter.Envelope{}, l.way)
	if err != nil {
		return nil, err
	}
	s := &seen{letter: l, found: map[string]float64{}, weight: 1}
	if !l.spam {
		s.weight = fitting.wanted
	}
	result := p.Run(context.Background(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	for _, f := range result.Findings[0] {
		if _, fitted := prior[f.Symbol]; fitted {
			s.found[f.Symbol]++
		} else {
			s.rest += f.Score
		}
	}
	return s, nil
}

// score is the sum of all findings.
func (s *seen) score(scores map[string]float64) float64 {
	sum := s.rest
	for symbol, n := range s.found {
		sum += n * scores[symbol]
	}
	return sum
}

// fitScores is logistic regression, in points of score, pulled towards prior:
// what the data say nothing of stays as it is. The more a score is, the further
// it may move. Full gradients, no random numbers.
func fitScores(letters []*seen, prior map[string]float64, pull float64) map[string]float64 {
	scores, bias := maps.Clone(prior), -4.0
	symbols := slices.Sorted(maps.Keys(prior))
	for range fitting.rounds {
		gradient, ofBias := map[string]float64{}, 0.0
		for _, s := range letters {
			target := 0.0
			if s.letter.spam {
				target = 1
			}
			miss := s.weight * (1/(1+math.Exp(-s.score(scores)-bias)) - target)
			ofBias += miss
			for symbol, n := range s.found {
				gradient[symbol] += miss * n
			}
		}
		for _, symbol := range symbols {
			g := gradient[symbol] + pull*(scores[symbol]-prior[symbol])/prior[symbol]
			scores[symbol] = min(max(scores[symbol]-fitting.step*g/(10+pull), fitting.least), fitting.most)
		}
		bias -= fitting.step * ofBias / 100
	}
	for _, symbol := range symbols {
		scores[symbol] = math.Round(scores[symbol]*10) / 10
	}
	return scores
}

// crossValidate judges each fifth by scores that the others have fitted.
func crossValidate(letters []*seen, prior map[string]float64, pull float64) []scored {
	const folds = 5
	var out []scored
	for fold := range folds {
		var others, these []*seen
		for i, s := range letters {
			if i%folds == fold {
				these = append(these, s)
			} else {
				others = append(others, s)
			}
		}
		out = append(out, judge(these, fitScores(others, prior, pull))...)
	}
	return out
}

func judge(letters []*seen, scores map[string]float64) []scored {
	out := make([]scored, len(letters))
	for i, s := range letters {
		out[i] = scored{s.letter, s.score(scores)}
	}
	return out
}

func meanRecall(results []scored) float64 {
	sum := 0.0
	for i := range 20 {
		sum += recall(results, float64(i+1)/1000)
	}
	return sum / 20
}

func printRecall(name string, letters []*seen, scores map[string]float64) {
	printResults(name, judge(letters, scores))
}

func printResults(name string, results []scored) {
	fmt.Printf("  %-12s", name)
	for _, share := range limits {
		fmt.Printf(" %5.1f", 100*recall(results, share))
	}
	fmt.Printf("  mean %5.1f\n", 100*meanRecall(results))
}

// printScores prints each score before and after, with what it was found in.
func printScores(letters []*seen, prior, fitted map[string]float64) {
	fmt.Printf("\n%-28s %6s %6s %6s %6s\n", "training half", "wanted", "spam", "was", "is")
	for _, symbol := range slices.Sorted(maps.Keys(prior)) {
		n := [2]int{}
		for _, s := range letters {
			if s.found[symbol] > 0 {
				n[class(s.letter)]++
			}
		}
		fmt.Printf("%-28s %6d %6d %6.1f %6.1f\n", symbol, n[0], n[1], prior[symbol], fitted[symbol])
	}
}

// rewrite puts scores into the file, and leaves the rest of it as it is.
func rewrite(text string, scores map[string]float64) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			b.WriteString(line)
			continue
		}
		if score, ok := scores[fields[0]]; ok {
			line = fmt.Sprintf("%-26s %4.1f %5s\n", fields[0], score, fields[2])
		}
		b.WriteString(line)
	}
	return b.String()
}
