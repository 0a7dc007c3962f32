package edge

import (
	"context"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Visit is one connection as the guard sees it. It belongs to the goroutine of
// the connection. A nil Visit judges nothing.
//
//	v, reply := guard.Open(client)   // reply: turn it away
//	v.Hello(name)
//	reply = v.Mail(from, size)       // reply: over a limit
//	r := v.Rcpt(ctx, to)
//	if r.Reply != nil                // deferred: say it at r.At, then r.After()
//	else look the recipient up, answer, and v.Told(r, truth)
//	reply = v.Held()                 // before DATA, VRFY and everything else
//	v.Accepted(size)                 // the message was taken
//	v.Reset()                        // RSET, or a transaction ended otherwise
//	v.Close()
type Visit struct {
	guard  *Guard
	client Client
	source Source
	helo   string

	from    mail.Address
	sender  uint64    // hash of from
	spf     *spfCheck // of from
	waited  bool      // a decision of this transaction has waited for DNS
	told    []*Ruling // recipients answered as existing in this transaction
	held    bool      // the newest RCPT was deferred, and nobody accepted beside it
	traffic traffic
}

// traffic is what the dialogue was used for, as far as it is evidence.
type traffic struct {
	mails, messages, scans int
}

// Ruling is what the guard says of one RCPT.
type Ruling struct {
	Reply *mail.Reply // nil: look the recipient up and tell the truth
	At    time.Time   // when Reply is to leave, not before: a grid that hides how it was found
	After func()      // to be called once Reply has left

	about    event.Event // what its events have in common; empty where nothing is judged
	from, to mail.Address
	ref      string
	identity string // in words
	spf      senderauth.SPFResult
	name     string
	attempt  Attempt
	decision Decision
}

// Open begins a visit, or gives the reply with which the client is turned away.
func (g *Guard) Open(c Client) (*Visit, *mail.Reply) {
	if g == nil || c.Exempt {
		return nil, nil
	}
	g.open()
	return &Visit{guard: g, client: c, source: SourceOf(c.Remote.Addr())}, nil
}

// Hello tells the name of HELO or EHLO.
func (v *Visit) Hello(name string) {
	if v != nil {
		v.Reset()
		v.helo = name
	}
}

// Mail begins a transaction; size is what SIZE says, 0 when nothing. The reply,
// if any, refuses it for now.
func (v *Visit) Mail(from mail.Address, size int64) *mail.Reply {
	if v == nil {
		return nil
	}
	v.Reset()
	v.traffic.mails++
	v.from, v.sender = from, v.guard.Engine.Hash(from.Key())
	v.spf = v.checkSPF()
	return nil
}

// Rcpt judges one recipient, before anybody looks it up.
func (v *Visit) Rcpt(ctx context.Context, to mail.Address) *Ruling {
	if v == nil {
		return &Ruling{}
	}
	start := time.Now()
	r := &Ruling{about: v.event(), from: v.from, to: to}
	v.decide(ctx, r)
	if !r.decision.Defer {
		return r
	}
	r.ref = newRef()
	r.Reply, r.At = deferral(r.ref), onGrid(time.Now())
	v.held = len(v.told) == 0
	e := r.about
	e.Time = start.UTC()
	e.Kind, e.From, e.To, e.Code, e.Enhanced, e.Text = event.Rcpt, r.from.Path(), to.String(), r.Reply.Code, r.Reply.Enhanced, r.Reply.Text
	r.Describe(&e)
	r.After = func() { v.guard.later(shadow{r, e}) }
	return r
}

// decide asks the engine; where it would defer and DNS may still speak for the
// client, a second time after waiting for that, once a transaction.
func (v *Visit) decide(ctx context.Context, r *Ruling) {
	e := v.guard.Engine
	v.attempt(r)
	r.decision = e.consider(&r.attempt)
	if r.decision.Defer && !v.waited && v.await(ctx) {
		v.attempt(r)
		r.decision = e.consider(&r.attempt)
	}
	e.counts[r.decision.Why].add(1)
}

// Told takes what an answered recipient turned out to be.
func (v *Visit) Told(r *Ruling, t Truth) {
	if v == nil || r.Reply != nil {
		return
	}
	if t == Exists || t == Trap {
		v.told = append(v.told, r)
		v.held = false
	}
	v.guard.tell(r, v.guard.Engine.Learn(&r.attempt, &r.decision, t))
}

// Describe adds to an event what was judged, and by what.
func (r *Ruling) Describe(e *event.Event) {
	if r.about.Role == "" {
		return
	}
	e.Verdict, e.Why, e.Ref = "answer", r.decision.Why.String(), r.ref
	if r.decision.Defer {
		e.Verdict = "defer"
	}
	e.Name, e.SPF, e.Identity, e.Score = r.name, string(r.spf), r.identity, r.decision.Score
}

// Held gives the neutral reply for every command behind a deferred RCPT, nil
// where nothing is held.
func (v *Visit) Held() *mail.Reply {
	if v == nil || !v.held {
		return nil
	}
	return deferral(newRef())
}

// Accepted takes that the message of the open transaction was made durable, of
// so many octets, and ends the transaction.
func (v *Visit) Accepted(size int64) {
	if v == nil {
		return
	}
	v.traffic.messages++
	for _, r := range v.told {
		v.attempt(r) // DNS may have answered since
		v.guard.tell(r, v.guard.Engine.Credit(&r.attempt, &r.decision))
	}
	v.told = v.told[:0]
	v.Reset()
}

// Reset ends the open transaction without a message.
func (v *Visit) Reset() {
	if v == nil {
		return
	}
	if v.spf != nil {
		v.spf.cancel()
	}
	v.told, v.spf, v.waited, v.held = v.told[:0], nil, false, false
	v.from, v.sender = mail.Address{}, 0
}

// Misbehaved takes what the dialogue shows of the client.
func (v *Visit) Misbehaved(b Behaviour) {}

// Close ends the visit.
func (v *Visit) Close() { v.Reset() }

// event gives what all events of the visit have in common.
func (v *Visit) event() event.Event {
	return event.Event{Role: v.client.Role, Trace: v.client.Trace, Remote: v.client.Remote.String(), Helo: v.helo}
}

// Behaviour is what a dialogue shows of a client, apart from its recipients.
type Behaviour uint8

// The behaviours that are evidence.
const (
	EarlyTalk Behaviour = iota // spoke before the greeting
	Probe                      // asked for recipients and brought no message
	Scan                       // RSET, VRFY or EXPN again and again
	BareProbe                  // connected and left, again and again
	NullFlood                  // null-sender mail to addresses that never sent
)
