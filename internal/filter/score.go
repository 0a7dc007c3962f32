package filter

import (
	_ "embed" // the scores
	"fmt"
	"strconv"
	"strings"
)

//go:embed scores.txt
var scoreText string

var scores = readScores(scoreText)

func readScores(text string) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		score, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			panic("filter: " + err.Error())
		}
		out[fields[0]] = score
	}
	return out
}

// Score gives what a finding counts by default. It panics for a symbol that
// scores.txt does not list, which is a mistake in the program.
func Score(symbol string) float64 {
	score, ok := scores[symbol]
	if !ok {
		panic(fmt.Sprintf("filter: %s has no score", symbol))
	}
	return score
}
