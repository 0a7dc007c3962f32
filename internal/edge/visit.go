package edge

import (
	"context"
	"slices"
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
//	r := v.Rcpt(ctx, to, false)
//	if r.Reply != nil                // deferred: say it at r.At, then r.After()
//	else look the recipient up, answer, and v.Told(r, truth, mailbox)
//	reply = v.Held()                 // before DATA, VRFY and everything else
//	v.Brings()                       // a message comes
//	v.Accepted(size)                 // it was taken
//	v.Reset()                        // RSET, or a transaction ended otherwise
//	v.Close()
type Visit struct {
	guard  *Guard
	client Client
	source Source
	helo   string

	from   mail.Address
	spf    *spfCheck // of from
	waited bool      // a decision of this transaction has waited for DNS
	told   []*Ruling // recipients answered as existing in this transaction
	brings bool      // its message came, or began to
	held   string    // ref of the newest RCPT, where it was deferred and nobody accepted beside it

	trusted   bool // the source is proven
	session   Session
	suspicion Suspicion
	mails     int // transactions begun
	scans     int // RSET, VRFY and EXPN since the last message
}

// Ruling is what the guard says of one RCPT.
type Ruling struct {
	Reply *mail.Reply // nil: look the recipient up and tell the truth
	At    time.Time   // when Reply is to leave, not before: a grid that hides how it was found
	After func()      // to be called once Reply has left; may be nil
	// Tarpit is the time over which Reply is to be spread, 0 for at once.
	Tarpit time.Duration

	about    event.Event // what its events have in common; empty where nothing is judged
	from, to mail.Address
	ref      string
	identity string // in words
	spf      senderauth.SPFResult
	name     string
	attempt  Attempt
	decision Decision
	reached  uint64 // hash of the mailbox, as far as it was told
}

// Open begins a visit, or gives the reply with which the client is turned away.
func (g *Guard) Open(c Client) (*Visit, *mail.Reply) {
	if g == nil || c.Exempt {
		return nil, nil
	}
	g.open()
	v := &Visit{guard: g, client: c, source: SourceOf(c.Remote.Addr())}
	now := g.Clock.Now()
	v.suspicion = g.Engine.Suspect(now, v.source)
	v.trusted = v.suspicion != Tarpit && g.Engine.Knows(now, v.source)
	if g.Flow == nil {
		return v, nil
	}
	load := 0.0
	if g.Load != nil {
		load = g.Load()
	}
	limit := Stressed
	if load < g.Flow.rules.Stress || v.suspicion != Tarpit { // of who is turned away, those in penalty are the first
		v.session, limit = g.Flow.Connect(now, v.source, v.trusted, load)
	}
	if limit != Within {
		return nil, v.limited("CONNECT", tooManyConnections, limit)
	}
	return v, nil
}

// limited gives the reply of a limit. It is news, and an event, once an hour.
func (v *Visit) limited(verb string, reply mail.Reply, l Limit) *mail.Reply {
	g := v.guard
	if g.Flow.News(g.Clock.Now(), v.source, l) {
		e := v.event()
		e.Kind, e.Verb, e.From = event.Refuse, verb, v.from.Path()
		e.Code, e.Enhanced, e.Text, e.Reason = reply.Code, reply.Enhanced, reply.Text, g.Flow.Words(l, v.source, v.trusted)
		g.Events.Record(e)
	}
	return &reply
}

// GreetPause is how long the client is to wait for its greeting.
func (v *Visit) GreetPause() time.Duration {
	if v == nil || v.suspicion == Unsuspected {
		return 0
	}
	return v.guard.Clock.Span(v.guard.GreetPause)
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
	v.mails++
	if f := v.guard.Flow; f != nil {
		if l := f.Message(v.guard.Clock.Now(), v.source, v.trusted, size); l != Within {
			return v.limited("MAIL", tooManyMessages, l)
		}
	}
	v.from = from
	v.spf = v.checkSPF()
	return nil
}

// Rcpt judges one recipient, before anybody looks it up. One that bears a good
// tag of ours (signed) is a bounce of mail that we sent: it always gets through.
func (v *Visit) Rcpt(ctx context.Context, to mail.Address, signed bool) *Ruling {
	if v == nil {
		return &Ruling{}
	}
	start := time.Now()
	r := &Ruling{about: v.event(), from: v.from, to: to}
	if f := v.guard.Flow; f != nil {
		if l := f.Recipient(v.guard.Clock.Now(), v.source, v.trusted); l != Within {
			r.Reply = v.limited("RCPT", tooManyRecipients, l)
			return r
		}
	}
	if signed {
		v.attempt(r)
		r.decision.Why = Signed
		v.guard.Engine.counts[Signed].add(1)
		return r
	}
	v.decide(ctx, r)
	if !r.decision.Defer {
		return r
	}
	r.ref = newRef()
	r.Reply, r.At = deferral(r.ref), onGrid(time.Now())
	if r.decision.Why == Penalty {
		r.Tarpit = v.guard.Clock.Span(v.guard.Tarpit)
	}
	if len(v.told) == 0 {
		v.held = r.ref
	}
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
	if r.decision.Defer && !v.waited {
		v.await(ctx) // or it came a moment ago
		v.attempt(r)
		r.decision = e.consider(&r.attempt)
	}
	if a := &r.attempt; a.Null && !r.decision.Defer && !e.NullRoom(a.Time, a.Recipient, a.Realm) {
		r.decision.Defer, r.decision.Why = true, Flooded
	}
	e.counts[r.decision.Why].add(1)
}

// Told takes what an answered recipient turned out to be. mailbox names what it
// leads to, the same for all addresses of a mailbox, which earn credit together;
// "" where the address is all that is known.
func (v *Visit) Told(r *Ruling, t Truth, mailbox string) {
	if v == nil || r.Reply != nil {
		return
	}
	if t == Exists {
		v.told = append(v.told, r)
		v.held = ""
	} else if !v.waited {
		// Blame must go where credit goes (Accepted): to whom SPF proves, not
		// to the pair that stands in for it while the check runs.
		v.await(context.Background())
		v.attempt(r)
	}
	v.guard.learn(r, t, mailbox)
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
// where nothing is held. It has the reference of that RCPT, whose event says all
// there is to say: a client may ask thousands of times.
func (v *Visit) Held() *mail.Reply {
	if v == nil || v.held == "" {
		return nil
	}
	return deferral(v.held)
}

// Brings takes that the client sends a message. Whatever becomes of it, its
// recipients were not asked for to no end.
func (v *Visit) Brings() {
	if v != nil {
		v.brings = true
	}
}

// Accepted takes that the message of the open transaction was made durable, of
// so many octets, and ends the transaction.
func (v *Visit) Accepted(size int64) {
	if v == nil {
		return
	}
	if f := v.guard.Flow; f != nil {
		f.Octets(v.guard.Clock.Now(), v.source, v.trusted, size)
	}
	v.scans = 0
	for i, r := range v.told {
		v.attempt(r) // DNS may have answered since
		a := r.attempt
		if a.Null && r.decision.Why != Signed && !slices.ContainsFunc(v.told[:i], r.sameRecipient) {
			v.guard.Engine.NullSender(a.Time, a.Recipient, a.Realm)
		}
		if slices.ContainsFunc(v.told[:i], r.sameMailbox) {
			continue // earns one credit a message, by however many names
		}
		a.Recipient = r.reached
		v.guard.tell(r, v.guard.Engine.Credit(&a, &r.decision))
	}
	v.told = v.told[:0]
	v.Reset()
}

func (r *Ruling) sameRecipient(o *Ruling) bool { return r.attempt.Recipient == o.attempt.Recipient }

func (r *Ruling) sameMailbox(o *Ruling) bool { return r.reached == o.reached }

// Reset ends the open transaction without a message.
func (v *Visit) Reset() {
	if v == nil {
		return
	}
	if len(v.told) > 0 && !v.brings {
		v.Misbehaved(Probe)
	}
	v.told, v.brings, v.spf, v.waited, v.held = v.told[:0], false, nil, false, ""
	v.from = mail.Address{}
}

// Asked takes a command that asks for something, RSET, VRFY or EXPN: many of
// them without a message are a scan.
func (v *Visit) Asked() {
	if v == nil {
		return
	}
	if v.scans++; v.scans == scanAfter {
		v.Misbehaved(Scan)
	}
}

// scanAfter is from how many such commands on a client scans. Mail servers say
// RSET once a message, and some once more.
const scanAfter = 6

// Misbehaved takes what the dialogue shows of the client.
func (v *Visit) Misbehaved(b Behaviour) {
	if v == nil {
		return
	}
	g := v.guard
	r := &Ruling{about: v.event(), from: v.from, attempt: Attempt{Time: g.Clock.Now(), Source: v.source}}
	g.tell(r, g.Engine.Misbehave(r.attempt.Time, v.source, b))
}

// Close ends the visit.
func (v *Visit) Close() {
	if v == nil {
		return
	}
	v.Reset()
	if v.mails == 0 {
		v.Misbehaved(BareProbe)
	}
	if f := v.guard.Flow; f != nil {
		f.Disconnect(&v.session)
	}
}

// event gives what all events of the visit have in common.
func (v *Visit) event() event.Event {
	return event.Event{Role: v.client.Role, Trace: v.client.Trace, Helo: v.helo}.Peer(v.client.Remote)
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
