package learned

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// judgement is one message on its way to a verdict.
type judgement struct {
	site    float64 // sum of the site's weights
	matched int     // tokens the site knows
	known   int     // tokens with a rate or a count
	words   int     // that could be known
	weights []weight
}

// weight is what is known of one token.
type weight struct {
	token    string
	site     float64
	own      float64
	ownKnown bool
}

// judge weighs each token by the site and by the account's own counts.
func (m *Model) judge(tokens []string, hashes []uint64, own Counts) *judgement {
	j := &judgement{weights: make([]weight, 0, len(tokens))}
	for i, token := range tokens {
		w := weight{token: token}
		var spam, ham float64
		known := false
		if m.Site != nil {
			w.site, spam, ham, known = m.Site.lookup(hashes[i])
		}
		if known {
			j.matched++
		} else {
			spam = unknownRate
			if isShape(token) {
				spam = shapeRate
			}
			ham = spam
		}
		if c := own.Tokens[hashes[i]]; c.Spam > 0 || c.Ham > 0 {
			w.own = ownOdds(c, own, max(spam, unknownRate), max(ham, unknownRate))
			w.ownKnown = true
			known = known || c.Spam+c.Ham > 1
		}
		if !strings.Contains(token, ":") {
			j.words++
			if known {
				j.known++
			}
		}
		j.site += w.site
		if w.site != 0 || w.ownKnown {
			j.weights = append(j.weights, w)
		}
	}
	return j
}

// ownOdds gives the log odds of a token by the account's counts, after Robinson:
// the share of the messages with the token that are spam, were there as many of
// each class, held towards the site's by priorMails more messages. So a few
// taught mails change little, and a word that the site knows from everywhere is
// no news when it is in the first ten mails that are taught.
func ownOdds(c Count, own Counts, spam, ham float64) float64 {
	inSpam := float64(c.Spam) / float64(max(own.Spam, 1))
	inHam := float64(c.Ham) / float64(max(own.Ham, 1))
	n := float64(c.Spam + c.Ham)
	if n <= 0 || inSpam+inHam <= 0 {
		return 0
	}
	p := (priorMails*spam/(spam+ham) + n*inSpam/(inSpam+inHam)) / (priorMails + n)
	return max(-maxOwn, min(maxOwn, math.Log(p/(1-p))))
}

func isShape(token string) bool {
	kind, _, found := strings.Cut(token, ":")
	switch kind + ":" {
	case kindHead, kindType, kindShape, kindLink:
		return found
	}
	return false
}

// share says how much the account's own counts weigh beside the site. It grows
// with the smaller class: who taught only spam has not said what is none.
func share(own Counts) float64 {
	if own.Spam <= 0 || own.Ham <= 0 {
		return 0
	}
	s, h := float64(own.Spam), float64(own.Ham)
	balanced := 4 * s * h / (s + h)
	return balanced / (balanced + balancedHalf)
}

func (j *judgement) verdict(own Counts) Verdict {
	v := Verdict{Score: 0.5, Taught: own.Spam + own.Ham}
	v.Knowledge = float64(j.known) / float64(j.words+15)
	part := share(own)
	site := siteScale * Norm(j.matched) * j.site * (1 - rho*part)
	ownSum := j.strongestOwn()
	z := site + part*ownScale*ownSum
	z = limit * math.Tanh(z/limit) * gain(v.Knowledge)
	v.Score = 1 / (1 + math.Exp(-z))
	v.Reasons = j.reasons(part)
	return v
}

// strongestOwn adds up the own weights that say most.
func (j *judgement) strongestOwn() float64 {
	slices.SortStableFunc(j.weights, func(a, b weight) int { return cmp.Compare(math.Abs(b.own), math.Abs(a.own)) })
	sum, n := 0.0, 0
	for _, w := range j.weights[:min(len(j.weights), ownTokens)] {
		if math.Abs(w.own) > minOwn {
			sum += w.own
			n++
		}
	}
	return sum / math.Pow(float64(n)+ownNorm, ownPow) * 3
}

// gain holds a verdict back when little of the message was ever seen.
func gain(knowledge float64) float64 {
	x := max(0, min(1, (knowledge-0.1)/0.5))
	return x * x * (3 - 2*x)
}

func (j *judgement) reasons(part float64) []Reason {
	var out []Reason
	for _, w := range j.weights {
		r := Reason{Token: w.token, Weight: siteScale*w.site*(1-part) + part*ownScale*w.own}
		r.Own = part*ownScale*math.Abs(w.own) > siteScale*math.Abs(w.site)*(1-part)
		if r.Weight != 0 {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return cmp.Compare(math.Abs(b.Weight), math.Abs(a.Weight)) })
	return slices.Clip(out[:min(len(out), maxReasons)])
}

// Norm is what the sum of the site's weights is multiplied by in a message with
// n known tokens: between the sum, by which long messages are always sure, and
// the mean, by which a salad of words drowns the rest.
func Norm(n int) float64 { return normC / math.Pow(float64(n)+normN, normPow) }
