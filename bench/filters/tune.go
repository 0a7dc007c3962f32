package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// taught are the sizes of what an account teaches.
var taught = []int{10, 40, 100, 400, 1500}

// tuneTaught are those that a fold of the training half has messages for.
var tuneTaught = []int{0, 10, 40, 100, 400}

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
		if err := tuneFold(pooled, site, own, check); err != nil {
			return err
		}
	}
	for _, n := range slices.Concat([]int{siteKey, saladKey}, tuneTaught, []int{allKey, allSaltedKey}) {
		printLine(lineName(n), pooled[n])
	}
	return nil
}

// Keys of results that are not a number of taught messages: the site alone, an
// account that was taught all, and both with spam that hides among wanted words.
const (
	siteKey = -iota - 1
	saladKey
	allKey
	allSaltedKey
)

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

// tuneFold adds the results of one fold: of a site trained on site and own, and
// of accounts that teach messages of own to a site trained on the rest.
func tuneFold(pooled map[int][]scored, site, own, check []*letter) error {
	add := func(key int, m *learned.Model, letters []*letter) error {
		results, err := classify(m, "user", letters)
		pooled[key] = append(pooled[key], results...)
		return err
	}
	both := slices.Concat(site, own)
	full, part := train(both, defaults), train(site, defaults)
	all, err := teach(full, both, len(both))
	if err != nil {
		return err
	}
	alone := &learned.Model{Site: full}
	if err := errors.Join(add(siteKey, alone, check), add(saladKey, alone, salted(check)),
		add(allKey, all, check), add(allSaltedKey, all, salted(check))); err != nil {
		return err
	}
	for _, n := range tuneTaught {
		m, err := teach(part, own, n)
		if err != nil {
			return err
		}
		if err := add(n, m, check); err != nil {
			return err
		}
	}
	return nil
}

func lineName(n int) string {
	switch n {
	case siteKey:
		return "site, 3 of 4"
	case allKey:
		return "  all taught"
	case saladKey, allSaltedKey:
		return "  with salad"
	case 0:
		return "site, 2 of 4"
	}
	return fmt.Sprintf("  %4d taught", n)
}
