package story

import (
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Own gives the function for Finder.See by which the owner of an account sees
// his own mail only: what he submitted, as far as a sender knows of it, and
// what was sent to his addresses, as far as it concerns him. mine tells his
// addresses. Of other recipients, other readers, and of what the edge knows, he
// sees nothing: what they do changes nothing in what is given.
func Own(account string, mine func(address string) bool) func([]event.Event) []event.Event {
	return func(events []event.Event) (seen []event.Event) {
		sent := submitted(account, events)
		for _, e := range events {
			var visible bool
			if sent[e.Trace] {
				visible = ofSender(&e, account)
			} else {
				visible = ofRecipient(&e, account, mine)
			}
			if visible {
				seen = append(seen, reduced(e, account))
			}
		}
		return withoutEmpty(seen)
	}
}

// submitted tells which traces are sessions in which the account sent mail.
func submitted(account string, events []event.Event) map[mail.TraceID]bool {
	sent := map[mail.TraceID]bool{}
	for _, e := range events {
		if e.Kind == event.Rcpt && e.Role == "submission" && strings.EqualFold(e.Account, account) {
			sent[e.Trace] = true
		}
	}
	return sent
}

// ofSender tells whether the sender may see an event: what he was told himself,
// and what other hosts said of recipients he named.
func ofSender(e *event.Event, account string) bool {
	switch e.Kind {
	case event.Connect, event.Login, event.Rcpt, event.Refuse, event.Accept:
		return e.Role == "submission"
	case event.Attempt, event.Settled:
		return true
	case event.Stored, event.Retrieve: // in his own mailbox only
		return strings.EqualFold(e.Account, account)
	}
	return false
}

// ofRecipient tells whether somebody may see an event of mail that others sent.
func ofRecipient(e *event.Event, account string, mine func(string) bool) bool {
	switch e.Kind {
	case event.Connect, event.Accept:
		return true // dropped again where nothing of his goes with it
	case event.Rcpt, event.Finding:
		return e.To != "" && mine(strings.Trim(e.To, "<>"))
	case event.Stored, event.Retrieve:
		return strings.EqualFold(e.Account, account)
	}
	return false
}

// reduced takes out of an event what tells of others, or how we judge
// strangers.
func reduced(e event.Event, account string) event.Event {
	if !strings.EqualFold(e.Account, account) {
		e.Account = ""
	}
	e.Score, e.Evidence, e.Identity, e.Why, e.Truth, e.Name, e.SPF = 0, "", "", "", "", "", ""
	e.Queue, e.Millis, e.Actor = 0, 0, ""
	if e.Kind == event.Accept {
		e.Count = 0
	}
	if e.Verdict == "" && e.Kind != event.Attempt && e.Kind != event.Settled { // our own reason is for the log
		e.Reason = ""
	}
	return e
}

// withoutEmpty leaves out sessions, and messages in them, in which nothing of
// the reader's own happened.
func withoutEmpty(events []event.Event) []event.Event {
	slices.SortStableFunc(events, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	own := map[mail.TraceID]bool{}
	for _, e := range events {
		if e.Kind != event.Connect && e.Kind != event.Accept && e.Kind != event.Login {
			own[e.Trace] = true
		}
	}
	pending := map[mail.TraceID]bool{} // a recipient of the reader's since the last message
	var kept []event.Event
	for _, e := range events {
		switch {
		case !own[e.Trace]:
			continue
		case e.Kind == event.Rcpt:
			pending[e.Trace] = pending[e.Trace] || e.Code/100 == 2
		case e.Kind == event.Accept && !pending[e.Trace]:
			continue
		case e.Kind == event.Accept:
			pending[e.Trace] = false
		}
		kept = append(kept, e)
	}
	return kept
}
