package edge

// Rules are the constants of the engine. DefaultRules are what bench/edge shows
// to work; a site changes none of them but Disclosure and Strict.
type Rules struct {
	Honest  float64 // share of unknown recipients of honest senders, newsletters included
	Guesser float64 // share of unknown recipients of those who guess

	Unknown  float64 // evidence of a distinct unknown recipient, in nats
	Lenient  float64 // of one told to a sender with a name and SPF, while the disclosure budget is full, or after days of much wanted mail
	Again    float64 // of one that is not distinct, where who learns has made sure that it is new (logins)
	Wanted   float64 // of an accepted message, taken away
	Valid    float64 // of a deferred recipient that exists, taken away
	Named    float64 // a name that leads back, taken from the score
	Nameless float64 // none, added
	SPF      float64 // a pass, taken from the score
	Parole   float64 // a past penalty that no wanted mail has made good, added to the score

	Calm          float64 // evidence at which a penalty begins, in calm times
	Wary          float64 // the same while the prior is bad, and on parole
	Vouched       float64 // the same at least, for who has a name or SPF, while the disclosure budget is more than half full
	Shadow        float64 // the same at least, while deferred
	ShadowVouched float64 // the same for who has a name or SPF

	Penalty        float64 // seconds, the shortest
	PenaltyMax     float64 // seconds, the longest
	Repeated       float64 // by how much each further penalty of a source is longer than the one before, as a power of two; 0: not
	VouchedPenalty float64 // seconds, the longest for who has a name or SPF, times four for each strike

	Fade       float64 // half-life of evidence, seconds
	CreditFade float64 // half-life of credit, seconds
	LevelFade  float64 // half-life of what all unproven sources, and those of a realm, have done; seconds

	Retry        float64 // seconds after which a retry proves a mail server, at a score of 0; it doubles with each nat
	RetryMax     float64 // at most, for who has neither name nor SPF
	RetryVouched float64 // at most, for the others
	Doubt        float64 // added to the log odds that those who retry guess, in nats: the more, the sooner retrying proves less
	Proof        float64 // what having proved it is worth, in nats

	Disclosure float64 // unknown recipients an hour that unproven sources may be told of before the gate is shut
	Gate       float64 // score at which the gate stands while the budget is full, in nats
	Sunk       float64 // how far below 0 the gate sinks, as a share of Gate, while the budget is overdrawn
	Strict     bool    // nothing more is told once the budget is spent
	Rationed   float64 // retries an hour that count for who has neither name nor SPF, once retrying tells nothing

	// Evidence of what a dialogue shows, in nats: it counts once an hour each,
	// is bounded, and never decides alone (Engine.Misbehave).
	EarlyTalk float64
	Probe     float64
	Scan      float64
	BareProbe float64
	NullFlood float64

	NullMailbox float64 // null-sender messages to one mailbox and hour; 0: no limit
	NullRealm   float64 // the same to one protected domain

	CreditsPerRecipient int // accepted messages to one recipient and day that earn unproven sources credit
}

// DefaultRules are those that bench/edge shows to work.
func DefaultRules() Rules {
	return Rules{
		Honest: 0.10, Guesser: 0.95,
		Unknown: 2.2, Lenient: 1.15, Wanted: 1.5, Valid: 1.0, Named: 2.2, Nameless: 0.7, SPF: 0.7, Parole: 3,
		Calm: 6, Wary: 2, Vouched: 4, Shadow: 4, ShadowVouched: 6,
		Penalty: 900, PenaltyMax: 86400, VouchedPenalty: 3600,
		Fade: 86400, CreditFade: 14 * 86400, LevelFade: 900,
		Retry: 300, RetryMax: 4 * 3600, RetryVouched: 4200, Doubt: 2, Proof: 2,
		Disclosure: 1000, Gate: 2, Rationed: 200,
		EarlyTalk: 2.0, Probe: 0.3, Scan: 1.0, BareProbe: 0.2, NullFlood: 0.4,
		NullMailbox: 100, NullRealm: 2000,
		CreditsPerRecipient: 20,
	}
}

// What is not worth changing.
const (
	worst       = -12.0 // least evidence, in nats
	most        = 7.0   // most evidence
	shadowLeast = -6.0  // least evidence that deferred recipients may lead to

	provenMessages   = 2         // wanted messages that make a source proven …
	provenAge        = 2         // … once the first was in an hour so many before this one
	identityAge      = 25        // the same for an identity
	seasonedMessages = 32        // wanted messages that make either seasoned …
	seasonedAge      = 72        // … once the first was so many hours ago
	ownCredits       = 5         // accepted messages to one recipient and day that earn a proven source credit
	holdA            = 48 * 3600 // seconds a transaction is held in slot A
	renewB           = 2 * 3600  // seconds after its wait from which slot B takes another

	rootLimit                                          = 2000.0
	secondLife                                         = 3600.0
	wideLife                                           = 6 * 3600.0
	narrowLife                                         = 24 * 3600.0
	rootWeight, wideWeight, narrowWeight, secondWeight = 50.0, 8.0, 4.0, 20.0
	expected                                           = 0.05 // share of unproven sources with an unknown recipient in peace
	leastShare, mostShare                              = 0.01, 0.99
	rationShare                                        = 0.25 // share of unknown recipients among answers to who retried, from which such answers are rationed
	burst                                              = 0.25 // of an hour's disclosure
	realmWeight                                        = 50.0
)
