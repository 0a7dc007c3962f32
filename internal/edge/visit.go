package edge

import (
	"context"

	"github.com/migiwa/migiwa/internal/mail"
)

type guardState struct{}

type visitState struct{}

// Open begins a visit, or gives the reply with which the client is turned away.
func (g *Guard) Open(c Client) (*Visit, *mail.Reply) {
	return &Visit{guard: g, client: c, source: SourceOf(c.Remote.Addr())}, nil
}

// Hello tells the name of HELO or EHLO.
func (v *Visit) Hello(name string) {}

// Mail begins a transaction; size is what SIZE says, 0 when nothing. The reply,
// if any, refuses it for now.
func (v *Visit) Mail(ctx context.Context, from mail.Address, size int64) *mail.Reply { return nil }

// Rcpt judges one recipient.
func (v *Visit) Rcpt(ctx context.Context, to mail.Address) *Ruling { return &Ruling{to: to} }

// Told takes what an answered recipient turned out to be.
func (v *Visit) Told(r *Ruling, t Truth) {}

// Held gives the neutral reply for every command behind a deferred RCPT, nil
// where nothing is held.
func (v *Visit) Held() *mail.Reply { return nil }

// Accepted takes that the message of the open transaction was made durable, of
// so many octets, and ends the transaction.
func (v *Visit) Accepted(size int64) {}

// Reset ends the open transaction without a message.
func (v *Visit) Reset() {}

// Misbehaved takes what the dialogue shows of the client.
func (v *Visit) Misbehaved(b Behaviour) {}

// Close ends the visit.
func (v *Visit) Close() {}

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
