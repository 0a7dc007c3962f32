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
	telling int     // tokens that the site holds against the message
	words   int     // in the text
	general int     // words that the site knows
	known   int     // tokens that the site knows as words, or that were taught twice
	more    int     // tokens that are no words and were taught twice
	weights []weight

	siteFactor, ownFactor float64 // what makes log odds of weights
}

// weight is what is known of one token.
type weight struct {
	token     string
	site, own float64
}

// judge weighs each token by the site and by the account's own counts.
func (m *Model) judge(tokens []string, hashes []uint64, own Counts) *judgement {
	j := &judgement{weights: make([]weight, 0, len(tokens))}
	for i, token := range tokens {
		w := weight{token: token}
		var spam, ham float64
		var known bool
		if m.Site != nil {
			w.site, spam, ham, known = m.Site.lookup(hashes[i])
		}
		if known {
			j.matched++
		} else {
			spam, ham = unknownRate, unknownRate
		}
		taught := false
		if c := own.Tokens[hashes[i]]; c.Spam > 0 || c.Ham > 0 {
			w.own = ownOdds(c, own, max(spam, unknownRate), max(ham, unknownRate))
			if isShape(token) {
				w.own = max(-maxShape, min(maxShape, w.own))
			}
			taught = c.Spam+c.Ham > 1
		}
		j.count(!strings.Contains(token, ":"), known, taught)
		j.site += w.site
		if w.site > smallWeight {
			j.telling++
		}
		if w.site != 0 || w.own != 0 {
			j.weights = append(j.weights, w)
		}
	}
	return j
}

// count notes whether a token was seen before. What is no word is counted only
// when it was taught: the site does not know such tokens.
func (j *judgement) count(word, general, taught bool) {
	if word {
		j.words++
		if general {
			j.general++
		}
	} else if taught {
		j.more++
	}
	if word && general || taught {
		j.known++
	}
}

// ownOdds gives the log odds of a token by the account's counts, after Robinson:
// the share of the messages with the token that are spam, were there as many of
// each class, held towards the site's by priorMails more messages. So a few
// taught mails change little, and a word that the site knows from everywhere is
// no news when it is in the first ten mails that are taught.
func ownOdds(c Count, own Counts, spam, ham float64) float64 {
	c = Count{Spam: max(0, c.Spam), Ham: max(0, c.Ham)} // below 0 when more was taken back than taught
	inSpam := float64(c.Spam) / float64(max(own.Spam, 1))
	inHam := float64(c.Ham) / float64(max(own.Ham, 1))
	n := float64(c.Spam + c.Ham)
	if n == 0 {
		return 0
	}
	p := (priorMails*spam/(spam+ham) + n*inSpam/(inSpam+inHam)) / (priorMails + n)
	odds := math.Log(p / (1 - p))
	if math.Abs(odds) < minOwn {
		return 0
	}
	return max(-maxOwn, min(maxOwn, odds))
}

// isShape tells whether a token says how a message is made and not what is in
// it or where it comes from.
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
	return balanced * balanced / (balanced*balanced + balancedHalf*balancedHalf)
}

func (j *judgement) verdict(own Counts) Verdict {
	part := share(own)
	j.siteFactor = siteScale * Norm(j.matched) * (1 - siteYields*part)
	if j.site > 0 {
		j.siteFactor *= float64(j.telling) / (float64(j.telling) + fewTelling)
	}
	j.siteFactor *= gain(float64(j.general) / (float64(j.words) + fewWords))
	sum, n := j.strongestOwn()
	j.ownFactor = part * ownScale / (n + ownEven)
	v := Verdict{Taught: own.Spam + own.Ham, Knowledge: float64(j.known) / (float64(j.words+j.more) + fewWords)}
	z := j.siteFactor*j.site + j.ownFactor*sum
	z = limit * math.Tanh(z/limit)
	v.Score = 1 / (1 + math.Exp(-z))
	v.Reasons = j.reasons()
	return v
}

// strongestOwn adds up the own weights that say most, and counts them.
func (j *judgement) strongestOwn() (sum, n float64) {
	slices.SortStableFunc(j.weights, func(a, b weight) int { return cmp.Compare(math.Abs(b.own), math.Abs(a.own)) })
	for i := range j.weights {
		if w := &j.weights[i]; i >= ownTokens {
			w.own = 0
		} else if w.own != 0 {
			sum += w.own
			n++
		}
	}
	return sum, n
}

// gain holds the site back when it knows few of the words. The account's own
// counts need no such hold: they are of the mail that this reader gets, and few
// of them weigh little by ownEven.
func gain(knowledge float64) float64 {
	x := max(0, min(1, (knowledge-0.1)/0.5))
	return x * x * (3 - 2*x)
}

func (j *judgement) reasons() []Reason {
	var out []Reason
	for _, w := range j.weights {
		site, own := j.siteFactor*w.site, j.ownFactor*w.own
		if site+own != 0 {
			out = append(out, Reason{Token: w.token, Weight: site + own, Own: math.Abs(own) > math.Abs(site)})
		}
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return cmp.Compare(math.Abs(b.Weight), math.Abs(a.Weight)) })
	return slices.Clip(out[:min(len(out), maxReasons)])
}

// Norm is what the sum of the site's weights is multiplied by in a message with
// n known tokens: between the sum, by which long messages are always sure, and
// the mean, by which a salad of words drowns the rest.
func Norm(n int) float64 { return 10 / math.Sqrt(float64(n)+20) }
