package edge

import (
	"net/netip"
	"strings"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Recorded gives the attempt that an event of kind rcpt tells of, as far as it
// was judged, and whether it does. Its time is that of the event.
func (e *Engine) Recorded(ev *event.Event) (a Attempt, ok bool) {
	if !judged(ev) || !ev.IP.IsValid() {
		return a, false
	}
	from, rest, err := mail.ParsePath(ev.From)
	if err != nil || rest != "" {
		return a, false
	}
	to, err := mail.ParseAddress(ev.To)
	if err != nil {
		return a, false
	}
	a = Attempt{
		Time: Time(ev.Time.Unix()), Source: SourceOf(ev.IP), Null: from.IsNull(), Named: recordedName(ev.Name, ev.IP),
		Realm: e.Hash(string(to.Domain)), Recipient: e.Hash(recipientName(to)), Sender: e.Hash(from.Key()),
	}
	switch senderauth.SPFResult(ev.SPF) {
	case "", senderauth.SPFTempError:
	case senderauth.SPFPass:
		a.SPF = Yes
	default:
		a.SPF = No
	}
	a.Identity = e.recordedIdentity(ev.Identity, &a)
	return a, true
}

// judged tells whether an event is of an attempt that the engine decided:
// bounces with our tag and floods of bounces are decided beside it.
func judged(ev *event.Event) bool {
	return ev.Kind == event.Rcpt && ev.Verdict != "" && ev.Why != Signed.String() && ev.Why != Flooded.String()
}

func recordedName(name string, addr netip.Addr) Finding {
	switch {
	case name == "":
		return Open
	case name == "-" || generic(name, addr):
		return No
	}
	return Yes
}

func (e *Engine) recordedIdentity(text string, a *Attempt) Identity {
	at := strings.LastIndex(text, pairMark)
	switch {
	case text == "":
		return Identity{}
	case a.SPF == Yes:
		return e.vouched(text)
	case at >= 0:
		return e.Pair(a.Source, text[:at])
	case a.Null:
		return e.named(text)
	}
	return Identity{}
}

// Identified gives the attempt of an identity of which nothing else is known: a
// domain, or an address where many people share the domain.
func (e *Engine) Identified(name string) (Attempt, error) {
	name, err := identityName(name)
	if err != nil {
		return Attempt{}, err
	}
	if _, known := e.identities.peek(e.named(name).Key); known {
		if _, better := e.identities.peek(e.vouched(name).Key); !better {
			return Attempt{Identity: e.named(name)}, nil
		}
	}
	return Attempt{Identity: e.vouched(name)}, nil
}

// truthOf reads the name of a truth.
func truthOf(s string) (Truth, bool) {
	for t := Exists; t <= Former; t++ {
		if t.String() == s {
			return t, true
		}
	}
	return 0, false
}
