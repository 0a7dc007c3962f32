// Package story tells what happened to one message, in plain sentences.
package story

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Story is what happened to one message, or to an attempt to send one.
type Story struct {
	Trace      mail.TraceID `json:"trace"`            // of the session in which it came
	Number     int          `json:"number,omitempty"` // of the message among those of the session, from 1; 0: it was not accepted
	Of         int          `json:"of,omitempty"`     // messages of the session
	MessageID  string       `json:"message_id,omitempty"`
	Subject    string       `json:"subject,omitempty"`
	Size       int64        `json:"size,omitempty"`
	From       string       `json:"from"`
	Recipients []Recipient  `json:"recipients"`
	Sentences  []Told       `json:"sentences"`
	Left       int          `json:"left,omitempty"` // sentences left out in the middle of a very long story
}

// Recipient is what became of one recipient.
type Recipient struct {
	Address string `json:"address"`
	State   State  `json:"state"`
	Text    string `json:"text"` // in words
}

// State is where a recipient's mail is.
type State string

// The states. Later ones of this order stand for what came later.
const (
	Refused   State = "refused"   // the client was told that it is not taken
	Deferred  State = "deferred"  // the client was told to come back
	Taken     State = "taken"     // accepted, nothing more is known
	Waiting   State = "waiting"   // in the queue
	Passed    State = "passed"    // another host has it
	InMailbox State = "mailbox"   // in the mailbox
	Retrieved State = "retrieved" // the reader has fetched it
	Failed    State = "failed"    // given up
)

// Told is a sentence and the event it tells of.
type Told struct {
	Time  time.Time   `json:"time"`
	Node  string      `json:"node"`
	Text  string      `json:"text"`
	Event event.Event `json:"event"`
}

// maxTold bounds the sentences of a story.
const maxTold = 400

// transaction is what of a session belongs to one message.
type transaction struct {
	accept *event.Event // nil: not accepted
	events []event.Event
}

// Stories gives the stories of a trace's messages, from its events. Recipients
// that were refused or put off without a message make one of their own.
func Stories(events []event.Event) []*Story {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b event.Event) int { return cmp.Or(a.Time.Compare(b.Time), order(&a)-order(&b)) })
	opening, transactions, rest := split(events)
	for _, e := range rest {
		if t := belongs(&e, transactions); t != nil {
			t.events = append(t.events, e)
		}
	}
	var stories []*Story
	accepted := 0
	for _, t := range transactions {
		s := tell(append(slices.Clone(opening), t.events...))
		if t.accept != nil {
			accepted++
			s.Number = accepted
		}
		stories = append(stories, s)
	}
	if len(stories) == 0 && len(opening) > 0 {
		stories = []*Story{tell(opening)}
	}
	for _, s := range stories {
		s.Of = accepted
	}
	return stories
}

// order puts events of the same moment into the order of a message's way.
func order(e *event.Event) int {
	return slices.IndexFunc(event.Kinds, func(k struct {
		Kind event.Kind
		Doc  string
	}) bool {
		return k.Kind == e.Kind
	})
}

// split divides a session: what opens it, its transactions, and what came
// later.
func split(events []event.Event) (opening []event.Event, transactions []*transaction, rest []event.Event) {
	open := &transaction{}
	for i := range events {
		e := events[i]
		switch e.Kind {
		case event.Connect, event.Login:
			opening = append(opening, e)
		case event.Close:
		case event.Rcpt, event.Refuse, event.Finding:
			open.events = append(open.events, e)
		case event.Accept:
			open.accept, open.events = &events[i], append(open.events, e)
			transactions, open = append(transactions, open), &transaction{}
		default:
			rest = append(rest, e)
		}
	}
	if len(open.events) > 0 {
		transactions = append(transactions, open)
	}
	return opening, transactions, rest
}

// belongs finds the message of a session that a later event tells of: by the
// queue number, the recipient, or what was stored for the account.
func belongs(e *event.Event, all []*transaction) *transaction {
	var best *transaction
	points := -1
	for _, t := range all {
		if t.accept == nil || e.Time.Before(t.accept.Time) {
			continue
		}
		if p := affinity(e, t); p >= points { // among equals the latest before the event
			best, points = t, p
		}
	}
	return best
}

// affinity says how well an event fits to a message.
func affinity(e *event.Event, t *transaction) (points int) {
	if e.Queue != 0 && e.Queue == t.accept.Queue {
		points += 100
	}
	if e.Kind == event.Stored && e.Time.Equal(t.accept.Time) {
		points += 100
	}
	for i := range t.events {
		o := &t.events[i]
		switch {
		case e.Queue != 0 && o.Queue == e.Queue:
			points += 10
		case o.Kind == event.Stored && o.Account != "" && o.Account == e.Account && o.Size == e.Size:
			points += 10
		case e.To != "" && sameAddress(o.To, e.To):
			points++
		}
	}
	return points
}

func sameAddress(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, "<>"), strings.Trim(b, "<>"))
}

// tell makes the story of events in their order.
func tell(events []event.Event) *Story {
	s := &Story{}
	for i := range events {
		s.note(&events[i])
	}
	for i := range events {
		s.add(&events[i])
	}
	if cut := len(s.Sentences) - maxTold; cut > 0 {
		s.Left = cut
		s.Sentences = slices.Delete(s.Sentences, maxTold/2, maxTold/2+cut)
	}
	return s
}

// note takes what an event says of the message as a whole.
func (s *Story) note(e *event.Event) {
	s.Trace = cmp.Or(s.Trace, e.Trace)
	s.From = cmp.Or(s.From, clean(e.From))
	s.MessageID = cmp.Or(s.MessageID, clean(e.MessageID))
	s.Subject = cmp.Or(s.Subject, clean(e.Subject))
	if e.Kind == event.Accept {
		s.Size = e.Size
	}
	if e.To == "" || e.Kind == event.Bounce || e.Kind == event.Finding {
		if e.Kind == event.Retrieve {
			s.retrieved(e)
		}
		return
	}
	if state := stateOf(e); state != "" {
		s.recipient(e.To).become(state, e)
	}
}

func (s *Story) recipient(address string) *Recipient {
	address = strings.Trim(clean(address), "<>")
	for i := range s.Recipients {
		if strings.EqualFold(s.Recipients[i].Address, address) {
			return &s.Recipients[i]
		}
	}
	s.Recipients = append(s.Recipients, Recipient{Address: address})
	return &s.Recipients[len(s.Recipients)-1]
}

// retrieved notes that a reader fetched the message.
func (s *Story) retrieved(e *event.Event) {
	for i := range s.Recipients {
		if s.Recipients[i].State == InMailbox {
			s.Recipients[i].become(Retrieved, e)
		}
	}
}

// stateOf tells to which state of its recipient an event leads; "": to none.
func stateOf(e *event.Event) State {
	switch {
	case e.Kind == event.Rcpt && (e.Code/100 == 2 || e.Code == 0):
		return Taken
	case e.Kind == event.Rcpt && e.Code/100 == 4:
		return Deferred
	case e.Kind == event.Rcpt:
		return Refused
	case e.Kind == event.Stored:
		return InMailbox
	case e.Kind == event.Attempt && e.Verb == "waiting":
		return Waiting
	case (e.Kind == event.Attempt || e.Kind == event.Settled) && e.Verb == "delivered":
		return Passed
	case e.Kind == event.Settled:
		return Failed
	}
	return ""
}

// become notes a new state; a recipient that is in a mailbox stays there.
func (r *Recipient) become(state State, e *event.Event) {
	if r.State == InMailbox && state == Passed { // forwarded, too
		return
	}
	r.State = state
	switch state {
	case Refused, Deferred:
		r.Text = words(string(state)+" with", reply(e))
	case Taken:
		r.Text = "taken"
	case Waiting:
		r.Text = words("waiting:", cmp.Or(e.Reason, "it is tried again")+",", "because", cmp.Or(e.Host, "the host"), "said", reply(e))
	case Passed:
		r.Text = words("delivered to", cmp.Or(e.Host, "another host"), "which said", reply(e))
	case InMailbox:
		r.Text = words("in the mailbox", e.Mailbox, "of", cmp.Or(e.Account, "an account"))
	case Retrieved:
		r.Text = words("fetched by", cmp.Or(e.Account, "its reader"))
	case Failed:
		r.Text = words("given up:", cmp.Or(reply(e), e.Reason))
	}
	r.Text = clean(r.Text)
}

// add adds the sentence of an event, or folds it into the last ones where it
// says the same again.
func (s *Story) add(e *event.Event) {
	if e.Kind == event.Settled && e.Verb == "delivered" { // the attempt said it
		return
	}
	text := Sentence(e)
	if n := len(s.Sentences); n > 0 {
		last := &s.Sentences[n-1]
		if again(&last.Event, e) {
			last.Text = strings.TrimSuffix(last.Text, againText) + againText
			last.Event, last.Time = *e, e.Time
			return
		}
	}
	s.Sentences = append(s.Sentences, Told{Time: e.Time, Node: e.Node, Text: text, Event: *e})
}

const againText = " Tried again since, with the same answer."

// again tells whether an attempt went as the one before it.
func again(a, b *event.Event) bool {
	return a.Kind == event.Attempt && b.Kind == event.Attempt && a.Verb == "waiting" && b.Verb == a.Verb && a.Host == b.Host && a.IP == b.IP &&
		a.To == b.To && a.Code == b.Code && a.Text == b.Text
}
