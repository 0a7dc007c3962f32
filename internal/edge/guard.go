package edge

import (
	"context"
	"net/netip"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Guard stands at the edge of a node: the engine, and what it must be told of
// the world. The receiving role asks it at every step of a dialogue (Visit);
// so do the milter and the policy service. Its fields are set before use.
type Guard struct {
	Engine   *Engine
	Clock    *Clock
	Resolver dns.Resolver // nil: nothing is looked up
	Events   *event.Recorder
	// Exists tells what a recipient is. It is asked after the reply, for
	// recipients that were deferred; answered ones the caller looks up itself.
	Exists func(ctx context.Context, rcpt mail.Address) (Truth, error)
	// LookupWait is the longest that a decision waits for DNS, default 1 s.
	LookupWait time.Duration

	state guardState
}

// Client is who connected.
type Client struct {
	Trace  mail.TraceID
	Role   string // of the events
	Remote netip.AddrPort
	Exempt bool // on this machine: not judged
}

// Visit is one connection as the guard sees it. It belongs to the goroutine of
// the connection. A nil Visit judges nothing.
//
//	v, reply := guard.Open(client)   // reply: turn it away
//	v.Hello(name)
//	reply = v.Mail(ctx, from)        // reply: over a limit
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

	visitState
}

// Ruling is what the guard says of one RCPT.
type Ruling struct {
	Reply *mail.Reply // nil: look the recipient up and tell the truth
	At    time.Time   // when Reply is to leave, not before: a grid that hides how it was found
	After func()      // to be called once Reply has left

	attempt  Attempt
	decision Decision
	to       mail.Address
}
