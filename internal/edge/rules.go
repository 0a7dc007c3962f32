package edge

// Rules are the constants of the engine. DefaultRules are what bench/edge shows
// to work; a site changes none of them but Disclosure and Strict.
type Rules struct {
	Honest  float64 // share of unknown recipients of honest senders, newsletters included
	Guesser float64 // share of unknown recipients of those who guess

	Unknown  float64 // evidence of a distinct unknown recipient, in nats
	Wanted   float64 // of an accepted message, taken away
	Valid    float64 // of a deferred recipient that exists, taken away
	Named    float64 // a name that leads back, taken from the score
	Nameless float64 // none, added
	SPF      float64 // a pass, taken from the score

	Calm          float64 // evidence at which a penalty begins, in calm times
	Wary          float64 // the same while the prior is bad, and on parole
	Vouched       float64 // the same at least, for who has a name or SPF, while the disclosure budget is more than half full
	Shadow        float64 // the same at least, while deferred
	ShadowVouched float64 // the same for who has a name or SPF

	Penalty        float64 // seconds, the shortest
	PenaltyMax     float64 // seconds, the longest
	VouchedPenalty float64 // seconds, the longest for who has a name or SPF, times four for each strike

	Fade       float64 // half-life of evidence, seconds
	CreditFade float64 // half-life of credit, seconds

	Retry        float64 // seconds after which a retry proves a mail server, at a score of 0; it doubles with each nat
	RetryMax     float64 // at most, for who has neither name nor SPF
	RetryVouched float64 // at most, for the others
	Proof        float64 // what having proved it is worth, in nats

	Disclosure float64 // unknown recipients an hour that unproven sources may be told of before the gate is shut
	Gate       float64 // score at which the gate stands while the budget is full, in nats
	Strict     bool    // nothing more is told once the budget is spent
	Rationed   float64 // retries an hour that count for who has neither name nor SPF, once retrying tells nothing

	X4, X5, X6, X7, X8, X9, X10 float64
	CreditsPerRecipient         int // accepted messages to one recipient and day that earn unproven sources credit
}

// DefaultRules are the rules of EDGE.
func DefaultRules() Rules {
	return Rules{
		Honest: 0.10, Guesser: 0.95,
		Unknown: 2.2, Wanted: 1.5, Valid: 1.0, Named: 2.2, Nameless: 0.7, SPF: 0.7,
		Calm: 6, Wary: 2, Vouched: 4, Shadow: 4, ShadowVouched: 6,
		Penalty: 900, PenaltyMax: 86400, VouchedPenalty: 3600,
		Fade: 86400, CreditFade: 14 * 86400,
		Retry: 300, RetryMax: 4 * 3600, RetryVouched: 3600, Proof: 2,
		Disclosure: 1000, Gate: 2, Rationed: 500,
		CreditsPerRecipient: 20,
	}
}

// What is not worth changing.
const (
	worst       = -12.0 // least evidence, in nats
	most        = 7.0   // most evidence
	shadowLeast = -6.0  // least evidence that deferred recipients may lead to

	provenMessages = 2         // wanted messages that make a source proven …
	provenAge      = 2         // … once the first was in an hour so many before this one
	identityAge    = 25        // the same for an identity
	holdA          = 48 * 3600 // seconds a transaction is held in slot A
	renewB         = 2 * 3600  // seconds after which slot B takes another

	rootLife                                           = 900.0
	rootLimit                                          = 2000.0
	secondLife                                         = 3600.0
	wideLife                                           = 6 * 3600.0
	narrowLife                                         = 24 * 3600.0
	rootWeight, wideWeight, narrowWeight, secondWeight = 50.0, 8.0, 4.0, 20.0
	expected                                           = 0.05 // share of unproven sources with an unknown recipient in peace
	leastShare, mostShare                              = 0.01, 0.99
	burst                                              = 0.25 // of an hour's disclosure
	realmWeight                                        = 50.0
)
