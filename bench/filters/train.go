package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// settings are the knobs of the training, found by cross-validation.
type settings struct {
	senders   int     // different senders a token must come from
	mails     int     // messages that must hold it
	maxTokens int     // the most frequent
	ratio     float64 // how much more frequent in spam a word is that may speak for it
	hamRatio  float64 // and in wanted mail
	hardHam   float64 // how many times advertising that was wanted counts
	salad     float64 // how many times spam counts once more, hidden among wanted words
	penalty   float64 // of large weights
	rounds    int
	step      float64
}

var defaults = settings{
	senders: 3, mails: 3, maxTokens: 45000,
	ratio: 4, hamRatio: 2, hardHam: 4, salad: 0.12,
	penalty: 1e-3, rounds: 400, step: 0.3,
}

// train makes a site model: logistic regression over the tokens that may be in
// it, without a constant, so that a message without known tokens is undecided.
func train(letters []*letter, s settings) *learned.Site {
	columns := choose(letters, s)
	rows := make([][]int, len(letters))
	for i, l := range letters {
		for _, t := range l.tokens {
			if c, ok := columns[t]; ok {
				rows[i] = append(rows[i], c)
			}
		}
	}
	names := make([]string, len(columns))
	for t, c := range columns {
		names[c] = t
	}
	spam, ham := rates(letters, rows, len(columns))
	within := bounds(names, spam, ham, s)
	learners, rows := salad(letters, rows, s.salad)
	weights := regress(learners, rows, within, s)
	entries := make([]learned.Entry, 0, len(columns))
	for c, name := range names {
		entries = append(entries, learned.Entry{
			Hash: uint32(learned.Hashes([]string{name})[0] >> 32), Weight: weights[c], Spam: spam[c], Ham: ham[c],
		})
	}
	return learned.NewSite(entries)
}

// salad adds each spam once more with the words of a wanted message: what only
// tells that such words are there must not outweigh what makes it spam.
func salad(letters []*letter, rows [][]int, share float64) ([]*letter, [][]int) {
	if share == 0 {
		return letters, rows
	}
	var ham []int
	for i, l := range letters {
		if !l.spam {
			ham = append(ham, i)
		}
	}
	for i, l := range slices.Clone(letters) {
		if !l.spam {
			continue
		}
		mixed := *l
		mixed.salted = true
		row := slices.Concat(rows[i], rows[ham[(i*7919+13)%len(ham)]])
		slices.Sort(row)
		letters, rows = append(letters, &mixed), append(rows, slices.Compact(row))
	}
	return letters, rows
}

// choose numbers the tokens that the model may know: those of several senders,
// so that no name of a person or of a list is learned.
func choose(letters []*letter, s settings) map[string]int {
	mails := map[string]int{}
	senders := map[string]map[string]bool{}
	for _, l := range letters {
		for _, t := range l.tokens {
			if !general(t) {
				continue
			}
			if senders[t] == nil {
				senders[t] = map[string]bool{}
			}
			mails[t]++
			senders[t][l.sender] = true
		}
	}
	chosen := slices.Sorted(maps.Keys(mails))
	chosen = slices.DeleteFunc(chosen, func(t string) bool { return mails[t] < s.mails || len(senders[t]) < s.senders })
	slices.SortStableFunc(chosen, func(a, b string) int { return cmp.Compare(mails[b], mails[a]) })
	columns := map[string]int{}
	for i, t := range chosen[:min(len(chosen), s.maxTokens)] {
		columns[t] = i
	}
	return columns
}

// general tells whether a token may be in the site model. Who sends and where
// links lead is for each account to learn; charsets, mailers and styles of HTML
// tell the year of the training mail, not what it is.
func general(token string) bool {
	kind, word, found := strings.Cut(token, ":")
	if !found {
		kind, word = "", token
	}
	switch kind {
	case "", "subject":
		return !dated[word] && !strings.ContainsFunc(word, unicode.IsDigit)
	case "link":
		return timeless[word]
	case "shape":
		return word == "letters apart"
	}
	return false
}

func rates(letters []*letter, rows [][]int, n int) (spam, ham []float64) {
	spam, ham = make([]float64, n), make([]float64, n)
	var spams, hams float64
	for i, l := range letters {
		of, count := ham, &hams
		if l.spam {
			of, count = spam, &spams
		}
		*count++
		for _, c := range rows[i] {
			of[c]++
		}
	}
	for c := range n {
		spam[c] /= max(1, spams)
		ham[c] /= max(1, hams)
	}
	return spam, ham
}

// interval is what a weight is kept in.
type interval struct{ low, high float64 }

// bounds gives what each token may weigh. Only a word that stands in one class
// several times as often as in the other may speak for it: the small words of
// the language tell list mail from letters to customers, which is no longer what
// tells wanted mail from spam. Words of honest trade never speak against a
// message.
func bounds(names []string, spam, ham []float64, s settings) []interval {
	out := make([]interval, len(names))
	for c, name := range names {
		const doubt = 0.002
		if ratio := (spam[c] + doubt) / (ham[c] + doubt); ratio > s.ratio && !commercial(name) {
			out[c].high = learned.MaxWeight
		} else if 1/ratio > s.hamRatio {
			out[c].low = -learned.MaxWeight
		}
	}
	return out
}

// regress is logistic regression by full gradients with AdaGrad steps, which
// needs no random numbers. Weights stay within what a Site keeps; words of
// honest trade stay at or below 0.
func regress(letters []*letter, rows [][]int, within []interval, s settings) []float64 {
	w, gradient, squares := make([]float64, len(within)), make([]float64, len(within)), make([]float64, len(within))
	share := shares(letters, s)
	for range s.rounds {
		for c := range gradient {
			gradient[c] = s.penalty * w[c]
		}
		for i, l := range letters {
			z := 0.0
			for _, c := range rows[i] {
				z += w[c]
			}
			norm := learned.Norm(len(rows[i]))
			miss := 1 / (1 + math.Exp(-z*norm))
			if l.spam {
				miss--
			}
			for _, c := range rows[i] {
				gradient[c] += miss * norm * share[i]
			}
		}
		for c, g := range gradient {
			squares[c] += g * g
			w[c] -= s.step * g / (math.Sqrt(squares[c]) + 1e-8)
			w[c] = max(within[c].low, min(within[c].high, w[c]))
		}
	}
	return w
}

// shares gives how much each message counts: both classes the same.
func shares(letters []*letter, s settings) []float64 {
	out := make([]float64, len(letters))
	var of [2]float64
	for i, l := range letters {
		out[i] = 1
		switch {
		case l.hard:
			out[i] = s.hardHam
		case l.salted:
			out[i] = s.salad
		}
		of[class(l)] += out[i]
	}
	for i, l := range letters {
		out[i] /= 2 * of[class(l)]
	}
	return out
}

func class(l *letter) int {
	if l.spam {
		return 1
	}
	return 0
}

// writeModel trains on the training half and writes the model.
func writeModel(name string) error {
	letters, err := readCorpus()
	if err != nil {
		return err
	}
	letters = slices.DeleteFunc(letters, func(l *letter) bool { return l.test })
	site := train(letters, defaults)
	b, err := site.MarshalBinary()
	if err != nil {
		return err
	}
	fmt.Printf("%d messages, %d tokens, %d octets\n", len(letters), site.Len(), len(b))
	return os.WriteFile(name, b, 0o644)
}
