package edge

import (
	"cmp"
	"slices"
	"time"
)

// Report is what a replay found. "Then" is what was recorded, "now" what the
// rules would have done.
type Report struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Events   int       `json:"events"`
	Torn     int       `json:"torn"`     // lines that are no events
	Misdated int       `json:"misdated"` // events left out for their time

	Classes   string         `json:"classes"` // who counts as a sender, who as an attacker
	Attackers GroupReport    `json:"attackers"`
	Found     Count          `json:"found"` // distinct valid addresses that attackers were told of
	Unclear   GroupReport    `json:"unclear"`
	Senders   SendersReport  `json:"senders"`
	Delayed   []SenderReport `json:"delayed"` // senders with mail that was deferred, then or now; the longest delay first
}

// Count is a number then and now.
type Count struct {
	Then int `json:"then"`
	Now  int `json:"now"`
}

func (c *Count) count(then, now bool) {
	if then {
		c.Then++
	}
	if now {
		c.Now++
	}
}

// GroupReport is about the sources of one class together.
type GroupReport struct {
	Sources  int   `json:"sources"`
	Attempts int   `json:"attempts"` // RCPTs, retries included
	Answered Count `json:"answered"` // of them, truthfully
}

// SendersReport is about all senders. What they send is counted by recipients,
// each once however often it is tried.
type SendersReport struct {
	Sources    int   `json:"sources"`
	Recipients int   `json:"recipients"`
	Delayed    Count `json:"delayed"`
	Assumed    int   `json:"assumed"`  // of those now: the retry that ends it is not in the log, the delay the least there can be
	GivenUp    int   `json:"given_up"` // of those now: not let in within five days
	Open       int   `json:"open"`     // of those now: never tried again in the log, or not late enough
	Unknown    int   `json:"unknown"`  // recipients that do not exist
	Told       Count `json:"told"`     // of them, at the first attempt
	SpansThen  Spans `json:"spans_then"`
	SpansNow   Spans `json:"spans_now"`

	then, now []uint32 // delays in seconds
}

// Spans says how long delays were, in seconds.
type Spans struct {
	Median  Seconds `json:"median"`
	P95     Seconds `json:"p95"`
	Longest Seconds `json:"longest"`
}

// Seconds is a time span that is shown as one.
type Seconds int64

// String writes the span.
func (s Seconds) String() string { return span(time.Duration(s) * time.Second) }

// SenderReport is about one sender.
type SenderReport struct {
	Source   string `json:"source"`
	Name     string `json:"name,omitempty"`     // forward-confirmed; "-" for none
	Identity string `json:"identity,omitempty"` // if proven
	Delayed  Count  `json:"delayed"`            // recipients
	Longest  struct {
		Then Seconds `json:"then"`
		Now  Seconds `json:"now"`
	} `json:"longest"` // delay in seconds
	Assumed int `json:"assumed,omitempty"` // as in SendersReport
	GivenUp int `json:"given_up,omitempty"`
	Open    int `json:"open,omitempty"`
}

func (s *SendersReport) unknown(is, then, now bool) {
	if is {
		s.Unknown++
		s.Told.count(then, now)
	}
}

// span widens the time of the report.
func (r *Report) span(t time.Time) {
	if r.From.IsZero() {
		r.From = t
	}
	r.To = t
}

func (r *Report) log(l *eventLog) { r.Events, r.Torn, r.Misdated = l.read, l.torn, l.misdated }

// sum ends the report.
func (r *Report) sum(senders map[string]*SenderReport) {
	r.Classes = classRule
	r.Senders.SpansThen, r.Senders.SpansNow = spansOf(r.Senders.then), spansOf(r.Senders.now)
	r.Delayed = []SenderReport{}
	for _, s := range senders {
		r.Delayed = append(r.Delayed, *s)
	}
	slices.SortFunc(r.Delayed, func(a, b SenderReport) int {
		return cmp.Or(cmp.Compare(b.GivenUp, a.GivenUp), cmp.Compare(b.Longest.Now, a.Longest.Now),
			cmp.Compare(b.Delayed.Now, a.Delayed.Now), cmp.Compare(a.Source+a.Identity, b.Source+b.Identity))
	})
}

func spansOf(delays []uint32) Spans {
	if len(delays) == 0 {
		return Spans{}
	}
	slices.Sort(delays)
	at := func(share float64) Seconds { return Seconds(delays[int(share*float64(len(delays)-1))]) }
	return Spans{at(0.5), at(0.95), at(1)}
}
