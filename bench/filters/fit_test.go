package main

import (
	"fmt"
	"strings"
	"testing"
)

// A finding that stands in spam alone comes to count more, one in wanted mail
// less, and one that stands nowhere stays; none leaves its bounds.
func TestFitScores(t *testing.T) {
	prior := map[string]float64{"SPAMMY": 1, "HAMMY": 1, "NOWHERE": 1.5, "SURE": 4.9}
	var letters []*seen
	for i := range 200 {
		spam := &seen{letter: &letter{spam: true}, weight: 1, found: map[string]float64{"SURE": 1}}
		if i%4 > 0 {
			spam.found["SPAMMY"] = 1
		}
		ham := &seen{letter: &letter{}, weight: fitting.wanted, found: map[string]float64{}}
		if i%4 == 0 {
			ham.found["HAMMY"] = 1
		}
		letters = append(letters, spam, ham)
	}
	got := fitScores(letters, prior, 1)
	if got["SPAMMY"] <= 1 || got["HAMMY"] >= 1 || got["HAMMY"] < fitting.least || got["NOWHERE"] != 1.5 || got["SURE"] > fitting.most {
		t.Errorf("%v", got)
	}
	if again := fitScores(letters, prior, 1); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("%v, then %v", got, again)
	}
}

func TestRewrite(t *testing.T) {
	const text = "# words\nA_SCORE  2.0   1.0\n\n# fixed\nOTHER 3.0\n"
	got := rewrite(text, map[string]float64{"A_SCORE": 2.5, "OTHER": 9})
	if !strings.Contains(got, "A_SCORE                     2.5   1.0\n") || !strings.HasSuffix(got, "\n# fixed\nOTHER 3.0\n") {
		t.Errorf("%q", got)
	}
}
