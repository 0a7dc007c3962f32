package edge

// OutboundRules are the constants of Outbound. DefaultOutboundRules are what
// the simulation in outbound_test.go shows to work; a site changes the limits
// and the time of a hold.
type OutboundRules struct {
	Hold     float64 // evidence at which an account is held, in nats
	Fade     float64 // half-life of evidence, seconds
	HoldTime float64 // seconds of the first hold; four times that for each further one within a week
	HoldMost float64 // seconds of the longest hold

	// The limits hold for accounts that have no larger history: nobody is held
	// for reaching them, more is only put off.
	MessagesPerHour   int
	RecipientsPerHour int
	RecipientsPerDay  int
	Growth            float64 // what an account may do, and is usual, as a multiple of the most it did in 28 days
	PlainHour         float64 // recipients an hour that are usual for anybody
	PlainDay          float64 // recipients a day that are

	StolenNew     float64 // share of recipients never written to before, of whoever uses a stolen password
	StolenUnknown float64 // share of unknown recipients among these
	FirstNew      float64 // share of new recipients of an account without history …
	FirstWeight   float64 // … which counts as so many recipients
	FirstUnknown  float64 // share of unknown ones among these …
	UnknownWeight float64 // … which counts as so many
	LeastUnknown  float64 // the same share at least, however clean the account's lists are

	NewWeight     float64 // how much of the likelihood ratio of new recipients counts: they come in groups
	NewMost       float64 // most evidence of new recipients
	NewAlone      float64 // the same, while volume is usual and the evidence of unknown recipients below this, too
	NewLeast      float64 // least evidence of new recipients: credit is not saved up
	UnknownMax    float64 // most evidence of unknown recipients
	UnknownMin    float64 // least evidence of unknown recipients …
	UnknownCredit float64 // … of which no more than this speaks against evidence of another kind
	Few           float64 // new recipients of which their unknown ones count half
	NewLists      float64 // share of new recipients of an account from which on they tell nothing
	BadLists      float64 // share of unknown recipients among an account's new ones from which on they tell nothing

	Network     float64 // a network that the account never logged in from; half of it for the narrow one, half for the wide one
	NetworkMost float64 // most evidence of these
	Crowd       float64 // more wide networks in an hour than Networks, and than twice the usual
	Networks    float64 // wide networks in an hour that nobody finds unusual
	LoginsMost  float64 // most evidence of logins alone; below Hold

	Volume     float64 // each doubling over the usual volume
	VolumeMost float64 // most evidence of volume
	BulkDays   int     // days with more than PlainHour recipients in an hour that make an account one that writes to many
	Bulk       float64 // what new and unknown recipients count for an account that writes to many, and does no more than usual
}

// DefaultOutboundRules are the rules of Outbound.
func DefaultOutboundRules() OutboundRules {
	return OutboundRules{
		Hold: 6, Fade: 12 * 3600, HoldTime: 1800, HoldMost: 86400,
		MessagesPerHour: 500, RecipientsPerHour: 500, RecipientsPerDay: 2000,
		Growth: 4, PlainHour: 100, PlainDay: 300,
		StolenNew: 0.95, StolenUnknown: 0.35, FirstNew: 0.8, FirstWeight: 20, FirstUnknown: 0.08, UnknownWeight: 30, LeastUnknown: 0.05,
		NewWeight: 0.15, NewMost: 3.5, NewAlone: 2.5, NewLeast: -1, UnknownMax: 5.5, UnknownMin: -4, UnknownCredit: -1, Few: 4, NewLists: 0.6, BadLists: 0.1,
		Network: 3, NetworkMost: 3, Crowd: 3, Networks: 4, LoginsMost: 5.5,
		Volume: 2, VolumeMost: 5, BulkDays: 3, Bulk: 0.5,
	}
}

// What is not worth changing.
const (
	outboundDays    = 28           // of history
	contactDays     = 200          // after which a recipient not written to is forgotten
	networkDays     = 60           // after which a network not used is forgotten
	strikeTime      = 7 * daySpan  // after which a hold counts no more
	forgetTime      = 1 * daySpan  // after which the state of an idle account is on disk only
	suspectTime     = 1 * hourSpan // before a hold, whose mail is suspect at least
	contactsMost    = 49152        // recipients an account's memory holds
	networksMost    = 64           // networks it holds
	outboundVersion = 1            // of the saved state

	hourSpan = 3600
	daySpan  = 24 * hourSpan
)
