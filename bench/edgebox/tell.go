package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// This file asks one question in several ways: does an answer that should not
// tell whether the recipient exists tell it all the same?

// alpha is the chance at which the judge calls something a tell though it is none.
const alpha = 1e-3

// information is the mutual information of the two columns and the rows, in
// bits an attempt, as counted. It is never below 0, so chance alone shows
// some: bias, in bits of all attempts (Miller and Madow).
func information(counts [][2]int) (bits, bias float64) {
	var columns [2]float64
	rows := 0
	for _, n := range counts {
		columns[0] += float64(n[0])
		columns[1] += float64(n[1])
		if n[0]+n[1] > 0 {
			rows++
		}
	}
	all := columns[0] + columns[1]
	if columns[0] == 0 || columns[1] == 0 {
		return 0, 0
	}
	for _, n := range counts {
		row := float64(n[0] + n[1])
		for v, x := range n {
			if x > 0 {
				bits += float64(x) / all * math.Log2(float64(x)*all/(row*columns[v]))
			}
		}
	}
	return max(bits, 0), float64(rows-1) / (2 * math.Ln2)
}

// twoShares tells how many standard deviations two shares lie apart.
func twoShares(hits, of [2]int) float64 {
	if of[0] == 0 || of[1] == 0 {
		return 0
	}
	q := ratio(hits[0]+hits[1], of[0]+of[1])
	if q == 0 || q == 1 {
		return 0
	}
	return (ratio(hits[1], of[1]) - ratio(hits[0], of[0])) / math.Sqrt(q*(1-q)*(1/float64(of[0])+1/float64(of[1])))
}

func count(texts map[string]*textCount, text string, valid bool) {
	c := texts[text]
	if c == nil {
		c = &textCount{Text: text}
		texts[text] = c
	}
	if valid {
		c.Valid++
	} else {
		c.Unknown++
	}
}

// judgeTexts tells for each text how likely chance alone would spread it so
// unevenly over valid and unknown recipients; one that is missing on one side is
// the extreme of that.
func judgeTexts(texts map[string]*textCount) []textCount {
	var all [2]int
	for _, c := range texts {
		all[0] += c.Unknown
		all[1] += c.Valid
	}
	var out []textCount
	for _, c := range texts {
		c.Chance = fisher(c.Valid, c.Unknown+c.Valid, all[1], all[0]+all[1])
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b textCount) int {
		if d := b.Unknown + b.Valid - a.Unknown - a.Valid; d != 0 {
			return d
		}
		return strings.Compare(a.Text, b.Text)
	})
	return out
}

// fisher is the two-sided p-value of Fisher's exact test: of all, so many are
// valid; of the drawn ones, hits are.
func fisher(hits, drawn, valid, all int) float64 {
	choose := func(n, k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return a - b - c
	}
	chance := func(h int) float64 {
		return math.Exp(choose(valid, h) + choose(all-valid, drawn-h) - choose(all, drawn))
	}
	seen, sum := chance(hits), 0.0
	for h := max(0, drawn-(all-valid)); h <= min(drawn, valid); h++ {
		if c := chance(h); c <= seen*(1+1e-7) {
			sum += c
		}
	}
	return min(sum, 1)
}

// compare gives the Kolmogorov-Smirnov distance of two samples beside the value
// that chance exceeds once in twenty times.
func compare(times [2][]time.Duration) timing {
	n, m := len(times[0]), len(times[1])
	t := timing{Unknown: n, Valid: m}
	if n == 0 || m == 0 {
		return t
	}
	for _, s := range times {
		slices.Sort(s)
	}
	i, j := 0, 0
	for i < n && j < m {
		x := min(times[0][i], times[1][j])
		for i < n && times[0][i] == x {
			i++
		}
		for j < m && times[1][j] == x {
			j++
		}
		t.D = max(t.D, math.Abs(float64(i)/float64(n)-float64(j)/float64(m)))
	}
	t.Critical = 1.36 * math.Sqrt(float64(n+m)/(float64(n)*float64(m)))
	for v, s := range times {
		t.MedianUs[v] = int(quantile(s, 0.5).Microseconds())
	}
	return t
}

// tells reports whether the distance is too large for chance at alpha.
func (t timing) tells() bool {
	return t.Critical > 0 && t.D > t.Critical/1.36*math.Sqrt(-math.Log(alpha/2)/2)
}

// findings says in words what tells validity, where it should not. Truthful
// answers tell it by their nature; they are counted, not found.
func (l *leak) findings() []string {
	found := []string{}
	for _, t := range l.Texts {
		if t.Chance < alpha {
			found = append(found, fmt.Sprintf("the 4xx text %q came to %d unknown and %d valid recipients", t.Text, t.Unknown, t.Valid))
		}
	}
	compared := func(what string, t timing) {
		if t.tells() {
			found = append(found, fmt.Sprintf("%s at other times for valid recipients: D %.3f, by chance %.3f", what, t.D, t.Critical))
		}
	}
	compared("4xx replies come", l.Timing)
	compared("sessions after a 4xx end", l.Ending)
	if math.Abs(l.Z) > 3.3 {
		found = append(found, fmt.Sprintf("valid guesses are answered more or less often: %.4f and %.4f, %.1f standard deviations", l.AnsweredValid, l.AnsweredUnknown, l.Z))
	}
	if math.Abs(l.RetryZ) > 3.3 {
		found = append(found, fmt.Sprintf("retries of valid guesses are answered more or less often: %v of %v (unknown, valid), %.1f standard deviations", l.Relented, l.Retried, l.RetryZ))
	}
	return found
}
