package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// taught are the sizes of what an account teaches.
var taught = []int{0, 10, 40, 100, 400, 1500}

// classify gives the scores of letters for an account.
func classify(m *learned.Model, account string, letters []*letter) ([]scored, error) {
	out := make([]scored, 0, len(letters))
	for _, l := range letters {
		v, err := m.Classify(context.Background(), account, l.tokens)
		if err != nil {
			return nil, err
		}
		out = append(out, scored{l, v.Score})
	}
	return out, nil
}

// teach gives a model whose account "user" was taught the first n letters.
func teach(site *learned.Site, letters []*letter, n int) (*learned.Model, error) {
	m := &learned.Model{Site: site, Store: newMemory()}
	for _, l := range letters[:min(n, len(letters))] {
		if err := m.Train(context.Background(), "user", l.tokens, l.spam); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func shuffled(letters []*letter, seed uint64) []*letter {
	out := slices.Clone(letters)
	r := rand.New(rand.NewPCG(seed, 1))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// tune prints the cross-validation on the training half: the site alone over
// four folds, then with an account that teaches mail the site never saw.
func tune() error {
	letters, err := readCorpus()
	if err != nil {
		return err
	}
	letters = shuffled(slices.DeleteFunc(letters, func(l *letter) bool { return l.test }), 7)
	const folds = 4
	pooled := map[int][]scored{}
	for fold := range folds {
		var site, own, check []*letter
		for i, l := range letters {
			switch (i + fold) % folds {
			case 0:
				check = append(check, l)
			case 1:
				own = append(own, l)
			default:
				site = append(site, l)
			}
		}
		full := train(append(slices.Clone(site), own...), defaults)
		part := train(site, defaults)
		if err := tuneFold(pooled, full, part, own, check); err != nil {
			return err
		}
		m, err := teach(full, append(slices.Clone(site), own...), math.MaxInt)
		if err != nil {
			return err
		}
		results, err := classify(m, "user", check)
		if err != nil {
			return err
		}
		pooled[1500] = append(pooled[1500], results...)
	}
	for _, n := range append([]int{-1, saladKey}, taught...) {
		if len(pooled[n]) > 0 {
			printLine(lineName(n), pooled[n])
		}
	}
	return nil
}

// saladKey is the key of the results for spam that hides among wanted words.
const saladKey = -2

// salted gives letters with all words of a wanted one added to each spam.
func salted(letters []*letter) []*letter {
	var ham []*letter
	for _, l := range letters {
		if !l.spam {
			ham = append(ham, l)
		}
	}
	out := slices.Clone(letters)
	for i, l := range out {
		if !l.spam {
			continue
		}
		mixed := *l
		mixed.tokens = slices.Clone(l.tokens)
		for _, t := range ham[i%len(ham)].tokens {
			if !strings.Contains(t, ":") && !slices.Contains(l.tokens, t) {
				mixed.tokens = append(mixed.tokens, t)
			}
		}
		out[i] = &mixed
	}
	return out
}

func tuneFold(pooled map[int][]scored, full, part *learned.Site, own, check []*letter) error {
	results, err := classify(&learned.Model{Site: full}, "", check)
	if err != nil {
		return err
	}
	pooled[-1] = append(pooled[-1], results...)
	results, err = classify(&learned.Model{Site: full}, "", salted(check))
	if err != nil {
		return err
	}
	pooled[saladKey] = append(pooled[saladKey], results...)
	for _, n := range taught {
		if n > 400 {
			continue
		}
		m, err := teach(part, own, n)
		if err != nil {
			return err
		}
		results, err := classify(m, "user", check)
		if err != nil {
			return err
		}
		pooled[n] = append(pooled[n], results...)
	}
	return nil
}

func lineName(n int) string {
	switch n {
	case -1:
		return "site, 3 of 4"
	case saladKey:
		return "  with salad"
	case 0:
		return "site, 2 of 4"
	}
	if n > 400 {
		return "  all taught"
	}
	return fmt.Sprintf("  %4d taught", n)
}
