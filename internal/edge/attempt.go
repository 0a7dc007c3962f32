package edge

// Time is seconds since 1970 on the engine's clock, which a test may let run
// faster than the world's (Clock).
type Time uint32

// Attempt is one RCPT of a client, as far as it is known before anybody asks
// whether the recipient exists. There is no place for that here: a decision
// that could see it would tell it.
type Attempt struct {
	Time      Time
	Source    Source
	Identity  Identity
	Named     Finding // the address has a name that leads back to it (FCrDNS)
	SPF       Finding // the envelope sender's domain lists the address (RFC 7208)
	Null      bool    // the null sender: a bounce, or what pretends to be one
	Realm     uint64  // hash of the protected domain (Engine.Hash)
	Recipient uint64  // hash of the recipient's canonical form
	Sender    uint64  // hash of the envelope sender
}

// proofed tells whether anything outside the client vouches for it.
func (a *Attempt) proofed() bool { return a.Named == Yes || a.SPF == Yes }

// mayLean tells whether good neighbours speak for the client. Honest servers
// stand among bots, and bots among honest servers: so only for who lacks nothing
// that honest servers have.
func (a *Attempt) mayLean() bool { return a.Named != No && a.SPF != No }

// print is the fingerprint of the transaction, by which a retry is known.
func (a *Attempt) print() uint16 {
	x := (a.Sender ^ a.Recipient*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93
	return uint16(x>>48) | 1 // 0 is an empty slot
}

// bit is the place of the recipient among the distinct ones of an entry.
func (a *Attempt) bit() uint64 { return 1 << (a.Recipient >> 58) }

// Finding is the outcome of a look-up that may not have ended in time.
type Finding uint8

// The findings. A look-up that timed out, or was not made, is Open: it neither
// helps nor harms.
const (
	Open Finding = iota
	Yes
	No
)

// Identity is whom a message comes from, apart from the address it comes by.
// The zero Identity is nobody.
type Identity struct {
	Key    uint64 // Engine.Hash of the name, or of source and name
	Proven bool   // by SPF, so that it holds whatever the address; otherwise a pair of source and domain
}

// Reason is why an Attempt was answered or deferred.
type Reason uint8

// The reasons. The first group answers, the second defers.
const (
	Calm     Reason = iota // nothing speaks against it
	Proven                 // source or identity has sent wanted mail before
	Admitted               // has proved to be a mail server, earlier
	Retried                // has just proved it, by this retry
	Signed                 // the recipient bears our own tag: who has it knows that it exists

	Penalty         // the source's own evidence
	IdentityPenalty // the identity's evidence
	Gate            // unproven, in bad times
	Rationed        // has retried, but so do the attackers
	Flooded         // the null sender has brought enough for this mailbox or domain

	reasons = iota
)

// String names the reason as events and metrics do.
func (r Reason) String() string {
	return [...]string{"calm", "proven", "admitted", "retried", "signed", "penalty", "identity-penalty", "gate", "rationed", "flooded"}[r]
}

// Defers tells to which group a reason belongs.
func (r Reason) Defers() bool { return r >= Penalty }

// Decision is what Decide found. Learn and Credit need it again.
type Decision struct {
	Defer    bool
	Why      Reason
	Score    float32 // S0: prior and findings, in nats; above Gate the source is gated
	Prior    float32 // what networks and times say, in nats
	Gate     float32 // where the gate stands: 2 in calm times, 0 when the disclosure budget is spent
	Evidence float32 // of the source before this attempt, in nats
	Wait     uint32  // seconds after which a retry would be answered, while gated
	Until    Time    // end of the penalty that held it, or 0

	proven   bool // source or identity
	seasoned bool // one of them, for days and with much mail
	slotted  bool // waits in a slot for its own retry: its outcome must not change when that is answered
	gated    bool // came to the gate, and perhaps through it
}

// Truth is what a recipient turned out to be.
type Truth uint8

// The truths.
const (
	Exists  Truth = iota
	Unknown       // nobody's address
	Former        // was somebody's, or proven senders have written to it for long: tells nothing about who asks
)

// Change is what an outcome changed, worth an event. The zero Change is
// nothing.
type Change struct {
	Kind     ChangeKind
	Identity bool // of the identity, not of the source
	Until    Time // end of the penalty
	Evidence float32
	Unknown  int  // distinct unknown recipients counted for it
	Distinct int  // about how many there are by Attempt.bit: for logins, accounts
	Since    Time // about when the first of them was
}

// ChangeKind says what changed.
type ChangeKind uint8

// The changes.
const (
	None      ChangeKind = iota
	Penalised            // a penalty began
	Extended             // a penalty grew by more than an hour
	Absolved             // wanted mail ended parole
	Trusted              // the source became proven
)
