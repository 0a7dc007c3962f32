package main

import (
	"slices"
)

// scored is one message and what a filter thinks of it; higher is more spam.
type scored struct {
	letter *letter
	score  float64
}

// limits are the shares of wanted mail that may be taken for spam.
var limits = []float64{0.001, 0.005, 0.01}

// recall gives the share of spam found when the threshold lies so that at most
// that share of the wanted mail, rounded down, is at or above it.
func recall(results []scored, share float64) float64 {
	var ham, spam []float64
	for _, r := range results {
		if r.letter.spam {
			spam = append(spam, r.score)
		} else {
			ham = append(ham, r.score)
		}
	}
	slices.Sort(ham)
	slices.Reverse(ham)
	allowed := int(share * float64(len(ham)))
	if allowed >= len(ham) || len(spam) == 0 {
		return 0
	}
	found := 0
	for _, s := range spam {
		if s > ham[allowed] {
			found++
		}
	}
	return float64(found) / float64(len(spam))
}

// above counts the messages of a class whose score is above the threshold.
func above(results []scored, spam bool, threshold float64) (n, of int) {
	for _, r := range results {
		if r.letter.spam != spam {
			continue
		}
		of++
		if r.score > threshold {
			n++
		}
	}
	return n, of
}
