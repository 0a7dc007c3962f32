package learned

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Symbols of the findings.
const (
	SymbolSpam = "LEARNED_SPAM"
	SymbolHam  = "LEARNED_HAM"
)

// hamTaught is how many messages an account must have taught before anything
// speaks for a message: what the site takes for wanted is public, and could be
// written into spam.
const hamTaught = 30

// Filter tells each recipient what a Model thinks of a message.
type Filter struct {
	Model *Model
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "learned" }

// Check implements filter.Filter. An account that is among the recipients
// twice is asked for once.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	tokens := Tokens(m)
	verdicts := map[string]Verdict{}
	for _, to := range r.Recipients {
		v, ok := verdicts[to.Account]
		if !ok {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if v, err = f.Model.Classify(ctx, to.Account, tokens); err != nil {
				return err
			}
			verdicts[to.Account] = v
		}
		if finding, ok := v.Finding(); ok {
			r.AddFor(to.Index, finding)
		}
	}
	return nil
}

// Finding gives what a verdict says to the recipient; ok is false when that is
// nothing. It never has the score to send a message to Junk on its own.
//
// The score rises smoothly, so that it can be weighed against others: 0 at
// "no idea", 2.3 at 80 %, 5 when sure. What speaks for a message counts less,
// and less still from a site model, whose words are no secret.
func (v Verdict) Finding() (f mail.Finding, ok bool) {
	sure := 2*v.Score - 1
	switch {
	case sure > 0:
		f = mail.Finding{Symbol: SymbolSpam, Score: maxSpam * math.Pow(sure, 1.5)}
	case v.Taught >= hamTaught:
		f = mail.Finding{Symbol: SymbolHam, Score: -maxHam * math.Pow(-sure, 1.5)}
	default:
		f = mail.Finding{Symbol: SymbolHam, Score: -maxSiteHam * math.Pow(-sure, 1.5)}
	}
	f.Score = math.Round(100*f.Score) / 100
	f.Evidence = v.String()
	return f, math.Abs(f.Score) >= leastScore
}

// Scores, in points.
const (
	maxSpam    = 5.0
	maxHam     = 2.0
	maxSiteHam = 0.5
	leastScore = 0.1 // below nothing is said
)

// String gives the verdict in words for people.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %% likely to be spam", int(math.Round(100*v.Score)))
	if v.Taught > 0 {
		fmt.Fprintf(&b, " (%d messages taught)", v.Taught)
	}
	for i, r := range v.Reasons {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(r.String())
	}
	return b.String()
}

// String gives the reason in words for people.
func (r Reason) String() string {
	how := "for spam"
	if r.Weight < 0 {
		how = "against spam"
	}
	switch size := math.Abs(r.Weight); {
	case size > 0.3:
		how = "strongly " + how
	case size < 0.08:
		how = "slightly " + how
	}
	if r.Own {
		how += ", by your own mail"
	}
	return describe(r.Token) + " speaks " + how
}

// describe names a token as a reader would.
func describe(token string) string {
	kind, value, found := strings.Cut(token, ":")
	if !found {
		return strconv.Quote(token)
	}
	switch kind + ":" {
	case kindSubject:
		return strconv.Quote(value) + " in the subject"
	case kindFrom:
		if strings.Contains(value, "@") {
			return "the sender " + value
		}
		return "the sender's domain " + value
	case kindName:
		return strconv.Quote(value) + " in the sender's name"
	case kindHost:
		return "a link to " + value
	case kindLink:
		return "a link with \"" + value + "\""
	case kindShape:
		return "the shape \"" + value + "\""
	case kindType:
		return "the type \"" + value + "\""
	}
	return "the header's \"" + value + "\""
}
