package main

import (
	"fmt"
	"math"
	"slices"
)

// scored is one message and what a filter thinks of it; higher is more spam.
type scored struct {
	letter *letter
	score  float64
}

// limits are the shares of wanted mail that may be taken for spam.
var limits = []float64{0.001, 0.005, 0.01}

// steps are the probabilities at which a finding begins and grows.
var steps = []float64{0.8, 0.9, 0.97}

// threshold gives the lowest score above which at most that share of the wanted
// mail, rounded down, lies.
func threshold(results []scored, share float64) float64 {
	var ham []float64
	for _, r := range results {
		if !r.letter.spam {
			ham = append(ham, r.score)
		}
	}
	slices.Sort(ham)
	slices.Reverse(ham)
	allowed := int(share * float64(len(ham)))
	if allowed >= len(ham) {
		return math.Inf(-1)
	}
	return ham[allowed]
}

// recall gives the share of spam found above that threshold.
func recall(results []scored, share float64) float64 {
	found, of := above(results, true, threshold(results, share))
	return float64(found) / float64(max(1, of))
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

// printLine prints, as means over runs, the recall at each limit, the mean
// recall up to 2 % of false positives, and for each step of the findings the
// wanted mail above it and the recall.
func printLine(name string, runs ...[]scored) {
	mean := func(f func([]scored) float64) float64 {
		sum := 0.0
		for _, r := range runs {
			sum += f(r)
		}
		return sum / float64(len(runs))
	}
	fmt.Printf("%-14s", name)
	for _, share := range limits {
		fmt.Printf(" %5.1f%%", 100*mean(func(r []scored) float64 { return recall(r, share) }))
	}
	fmt.Printf("  mean %5.1f%%", 100*mean(func(r []scored) float64 {
		sum := 0.0
		for i := range 20 {
			sum += recall(r, float64(i+1)/1000)
		}
		return sum / 20
	}))
	for _, p := range steps {
		_, hams := above(runs[0], false, p)
		_, spams := above(runs[0], true, p)
		wrong := mean(func(r []scored) float64 { n, _ := above(r, false, p); return float64(n) })
		found := mean(func(r []scored) float64 { n, _ := above(r, true, p); return float64(n) })
		fmt.Printf("  >%.2f %4.1f/%d %5.1f%%", p, wrong, hams, 100*found/float64(spams))
	}
	fmt.Println()
}
