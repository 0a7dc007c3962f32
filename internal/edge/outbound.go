package edge

import (
	"fmt"
	"net/netip"
	"sync"
)

// Outbound judges what the installation's own accounts send: whether it is the
// account's owner who is at work, or somebody with a stolen password. It keeps,
// for each account, how much it writes, to whom, what comes of it and where
// from, learns what is usual, and adds up evidence of the contrary.
//
// Evidence is in nats, as the engine's, and comes of five things: more
// recipients than the account's own history allows for; recipients it never
// wrote to before, against its own share of such; unknown ones among these,
// against its own share; networks it never logged in from; more networks in an
// hour than one person is in. Each is bounded, so that no one of them holds an
// account alone. Everything fades, and an honest day teaches.
//
// Like the engine it has no clock and no disk: times are arguments, Save and
// Restore are called by whoever keeps the state. Its methods may be called from
// any number of goroutines, but for Forget.
type Outbound struct {
	rules  OutboundRules
	secret [2]uint64

	mu       sync.RWMutex
	accounts map[int64]*sending
}

// NewOutbound makes one that knows nothing of any account. secret keys the
// hashes of recipients; saved states can be used only with the same.
func NewOutbound(rules OutboundRules, secret [2]uint64) *Outbound {
	return &Outbound{rules: rules, secret: secret, accounts: map[int64]*sending{}}
}

// Fate is what a recipient is found to be when it is named.
type Fate uint8

// The fates.
const (
	Elsewhere Fate = iota // on another host: Outcome will tell
	Here                  // a mailbox here
	Nobody                // a domain here, and no such address
)

// Alarm says that an account is to be held, and why.
type Alarm struct {
	Account    int64
	Now        Time
	Until      Time // end of the hold
	Since      Time // when what led to it began, about
	Score      float64
	Recipients int // since then …
	New        int // … never written to before
	Known      int // … written to before, once a day
	Unknown    int // … unknown, of those new ones
	Reached    int // … existing, of those new ones
	Networks   int // … logged in from
}

// SuspectSince gives the time from which on the account's mail is suspect.
func (a *Alarm) SuspectSince() Time { return min(a.Since, a.Now-suspectTime) }

// String says it in words.
func (a *Alarm) String() string {
	text := fmt.Sprintf("%s in %s", count(a.Recipients, "recipient", "recipients"), (a.Now - a.Since).span())
	if n := a.New + a.Known; n > 0 {
		text += fmt.Sprintf(", %d %% never written to before", 100*a.New/n)
	}
	if n := a.Unknown + a.Reached; n > 0 {
		text += fmt.Sprintf(", %d %% of the new ones unknown", 100*a.Unknown/n)
	}
	return text + ", from " + count(max(a.Networks, 1), "network", "networks")
}

// on runs fn with the state of an account, brought to now. A time before the
// newest that the account knows counts as that one.
func (o *Outbound) on(account int64, now Time, fn func(s *sending, now Time)) {
	o.mu.RLock()
	s := o.accounts[account]
	o.mu.RUnlock()
	if s == nil {
		o.Begin(account)
		o.mu.RLock()
		s = o.accounts[account]
		o.mu.RUnlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s, s.reach(&o.rules, now))
}

// judge begins a hold when there is enough evidence.
func (o *Outbound) judge(account int64, s *sending, now Time) *Alarm {
	if s.Held != 0 || s.Trusted {
		return nil
	}
	score := s.score(&o.rules, now)
	if score < o.rules.Hold {
		return nil
	}
	t := s.Stretch
	return &Alarm{
		Account: account, Now: now, Until: s.hold(&o.rules, now), Since: t.Since, Score: score,
		Recipients: int(t.Recipients), New: int(t.New), Known: int(t.Known), Unknown: int(t.Unknown), Reached: int(t.Reached),
		Networks: int(t.Logins),
	}
}

// Leave says whether an account may send what it is about to.
type Leave uint8

// The leaves.
const (
	Granted Leave = iota
	TooMany       // one of its limits is reached: later
	Stopped       // it is held
)

// Login notes that the account has logged in from an address. It holds nobody:
// who only logs in does no harm.
func (o *Outbound) Login(account int64, from netip.Addr, now Time) {
	o.on(account, now, func(s *sending, now Time) { s.visit(&o.rules, SourceOf(from), now) })
}

// Message asks leave for a message and counts it.
func (o *Outbound) Message(account int64, now Time) (l Leave) {
	o.on(account, now, func(s *sending, now Time) {
		most := max(float64(o.rules.MessagesPerHour), o.rules.Growth*float64(s.usual().Messages))
		switch {
		case s.Held != 0:
			l = Stopped
		case !s.Trusted && s.Messages.within(now, hourSpan) >= most:
			l = TooMany
		default:
			s.Messages.Cur++
			s.Most.Messages = max(s.Most.Messages, s.Messages.Cur)
		}
	})
	return l
}

// Recipient asks leave for a recipient, known by the canonical form of its
// address, which a client at from named, and counts it. With an alarm the
// account is to be held.
func (o *Outbound) Recipient(account int64, from netip.Addr, to string, fate Fate, now Time) (l Leave, alarm *Alarm) {
	o.on(account, now, func(s *sending, now Time) {
		usual, r := s.usual(), &o.rules
		switch {
		case s.Held != 0:
			l = Stopped
		case !s.Trusted && (s.Hour.within(now, hourSpan) >= max(float64(r.RecipientsPerHour), r.Growth*float64(usual.Hour)) ||
			s.Day.within(now, daySpan) >= max(float64(r.RecipientsPerDay), r.Growth*float64(usual.Day))):
			l = TooMany
		default:
			s.write(r, SourceOf(from), contactKey(o.secret, to), fate)
			if alarm = o.judge(account, s, now); alarm != nil {
				l = Stopped
			}
		}
	})
	return l, alarm
}

// Outcome tells what became of a recipient elsewhere: unknown there, or
// reached. Only the first mail to a recipient counts.
func (o *Outbound) Outcome(account int64, to string, unknown bool, now Time) (alarm *Alarm) {
	o.on(account, now, func(s *sending, now Time) {
		if s.Contacts.settle(contactKey(o.secret, to)) {
			s.learn(&o.rules, unknown)
			alarm = o.judge(account, s, now)
		}
	})
	return alarm
}

// Standing takes from whoever keeps the holds whether the account is held until
// a time (0: it is not), and whether somebody vouches for it.
func (o *Outbound) Standing(account int64, held Time, vouched bool, now Time) {
	o.on(account, now, func(s *sending, now Time) {
		s.Trusted = vouched
		switch {
		case held != 0:
			s.Held, s.Tainted = held, true
		case s.Held != 0:
			s.release(vouched, now)
		}
	})
}
