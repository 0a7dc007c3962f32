package edge

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Logins judges those who log in, by the same test as those who ask for
// recipients: an engine of its own, in which a guess is a pair of account and
// password. It is asked before a password is looked at. Whoever is held hears
// that it is for the moment, whatever account and password were, and nobody
// has looked.
//
//	r := logins.Allow(attempt)
//	if r.Held() … // a temporary failure, at the time of any other failure
//	r.Done(LoginRight, LoginWrong or LoginOpen) // on every path
//
// What the words of the engine mean here:
//
//   - The source is the client's address. Evidence is wrong passwords, each
//     pair once: the first of an account weighs more than a second one of the
//     same account, so that many accounts convict sooner than a bad memory does.
//     What was right or wrong before, from the same place, is no news: a mail
//     program with an old stored password is never convicted by repeating it.
//   - The identity is a place: an account and the network (/24, /56) it logs in
//     from. One success makes it known, and then neither the source's penalty
//     nor the gate holds it; an (account, password) that was right there passes
//     even where the place itself is in penalty (see place.go).
//   - The realm is the account, whether it exists or not: many sources that
//     guess at one account make it harder for newcomers to that account. Only
//     failures count there: an account that somebody uses looks like one that
//     is not there.
//   - The disclosure budget is wrong passwords an hour that unknown places may
//     be told of. While it is full everybody is answered; as it empties, first
//     those are held that networks, times and account speak against, and in the
//     end all unknown places.
//   - Proof is the same pair again, from the same source or place, after
//     minutes: mail programs do that by themselves, and guessers have no reason
//     to. When they begin to, such proofs are rationed. Those who share their
//     address with a guesser get in by proof, too, always rationed.
//
// Nobody is judged by what nobody knows yet: of attempts that are being looked
// at a source has a few at a time, and more are held. A password that was right
// at its place is not among them.
//
// A deferred attempt has no outcome. It counts, once a source and hour, among
// the failures by which all unknown places are judged, and a little against
// the budget, so that a wave of guesses shuts the gate instead of having every
// bit of it told.
type Logins struct {
	Engine *Engine
	Clock  *Clock
	Events *event.Recorder // nil: nothing is recorded
	Domain mail.Domain     // of names without one; so that all ways to write an account are one account

	counts    [loginCounters]counter
	gated     counter   // Time of the newest deferral by the gate
	undecided undecided // attempts that are being looked at
}

// LoginRules are the rules for logins, with so many wrong passwords an hour
// that unknown places may be told of.
//
// A quarter of the unknown places of honest users begin with a wrong password.
// Three accounts, or five passwords of one, convict in bad times, four or
// seven in calm ones. Evidence halves in two weeks, so that a guess a day adds
// up; a known place stays so for months. The gate is open to everybody at a
// full budget, even where all unknown places guess, as on most days, and sinks
// below the best score when it is overdrawn. Mail programs that try again every
// five or ten minutes pass at the second or third try.
func LoginRules(disclosure float64) Rules {
	return Rules{
		Honest: 0.25, Guesser: 0.98,
		Unknown: 1.9, Again: 0.7, Wanted: 1.5, Named: 2.2,
		Calm: 6, Wary: 4.5, Vouched: 4, Shadow: 6, ShadowVouched: 6,
		Penalty: 900, PenaltyMax: 86400, Repeated: 2, VouchedPenalty: 3600,
		Fade: 14 * 86400, CreditFade: 60 * 86400, LevelFade: 6 * 3600,
		Retry: 75, RetryMax: 600, RetryVouched: 300, Proof: 1,
		Disclosure: disclosure, Gate: 5, Sunk: 1, Rationed: disclosure / 2,
		CreditsPerRecipient: 20,
	}
}

// LoginSizes are enough for 100,000 accounts of some places each; what is not
// used takes no memory, all of it takes 55 MB.
func LoginSizes() Sizes {
	return Sizes{Sources: 1 << 19, Identities: 1 << 19, Networks: 1 << 17, Realms: 1 << 15}
}

// demand is what an attempt held at the gate takes from the disclosure budget.
const demand = 0.1

// LoginAttempt is one try to log in.
type LoginAttempt struct {
	Client   Client
	Account  string // as the client named it, prepared by the protocol
	Password string
	Hidden   bool // the mechanism does not show the password (SCRAM)
}

// LoginOutcome is what became of a login that was not held.
type LoginOutcome uint8

// The outcomes.
const (
	LoginOpen  LoginOutcome = iota // broken off, or trouble of ours: it tells nothing
	LoginRight                     // the password was right
	LoginWrong                     // account or password were wrong, or the account may not log in
)

// LoginRuling is what was decided on a LoginAttempt. A nil one lets it pass and
// learns nothing.
type LoginRuling struct {
	logins   *Logins
	try      LoginAttempt
	attempt  Attempt
	decision Decision
	keys     placeKeys
	seat     *atomic.Int32 // taken among the undecided; nil: none
	crowded  bool          // held because there was none
	done     bool
}

// Allow judges an attempt. It takes the same time whether the account exists
// or not. Clients on this machine, and a nil Logins, get a nil ruling. Whoever
// asks must call Done, or the source is held in the end.
func (l *Logins) Allow(t LoginAttempt) *LoginRuling {
	if l == nil || t.Client.Exempt || !t.Client.Remote.IsValid() {
		return nil
	}
	return l.allow(t, l.Clock.Now())
}

func (l *Logins) allow(t LoginAttempt, now Time) *LoginRuling {
	r := &LoginRuling{logins: l, try: t}
	l.describe(r, now)
	e, a := l.Engine, &r.attempt
	familiar := e.familiar(&r.keys, now)
	// Before the evidence is looked at: or what was decided in the meantime
	// would be missed.
	r.crowded = !l.sit(r, familiar)
	switch {
	case r.crowded:
		r.decision = Decision{Defer: true, Why: Rationed}
	case familiar:
		known := float32(math.Log(leastShare / mostShare))
		r.decision = Decision{Why: Proven, Score: known, Prior: known, proven: true}
	default:
		if e.knows(r.keys.wide, now) {
			a.Named = Yes
		}
		r.decision = e.Decide(a)
		if r.decision.Why == Penalty && e.excused(a, &r.keys) {
			r.decision = Decision{Why: Retried, Score: r.decision.Score, Prior: r.decision.Prior, gated: true}
		}
		l.turnedAway(r)
	}
	if r.Held() {
		r.Pause()
		l.count(LoginsHeld)
		e.spend(r.keys.place, now)
	}
	return r
}

// describe turns what a client said into what the engine knows.
func (l *Logins) describe(r *LoginRuling, now Time) {
	name, e := l.canonical(r.try.Account), l.Engine
	source := SourceOf(r.try.Client.Remote.Addr())
	account := e.Hash(name)
	secret := "\x00p" + r.try.Password
	if r.try.Hidden {
		secret = "\x00s"
	}
	pair := e.Hash(name + secret)
	r.keys = e.keysOf(source, account, pair)
	r.attempt = Attempt{
		Time: now, Source: source, Identity: Identity{Key: r.keys.place, Proven: true},
		Realm: account, Sender: account,
		// Attempt.bit, of which a source has 64, then stands for the account,
		// and its print for the pair.
		Recipient: account>>58<<58 | pair>>6,
	}
}

// canonical gives the one name of all ways to write an account.
func (l *Logins) canonical(name string) string {
	if !strings.Contains(name, "@") {
		name += "@" + string(l.Domain)
	}
	if a, err := mail.ParseAddress(name); err == nil {
		return a.Key()
	}
	return name
}

// Held tells whether the password must not be looked at.
func (r *LoginRuling) Held() bool { return r != nil && r.decision.Defer }

// Why tells the reason of the ruling in words, for events; strangers must not
// hear it.
func (r *LoginRuling) Why() string {
	d := &r.decision
	if r.crowded {
		return fmt.Sprintf("%d attempts of this source are being looked at", undecidedMost)
	}
	if d.Until != 0 {
		return fmt.Sprintf("%s until %s", d.Why, r.logins.Clock.Wall(d.Until).UTC().Format(time.RFC3339))
	}
	if d.Defer {
		return fmt.Sprintf("%s: unknown place; the same password is looked at after %d s", d.Why, d.Wait)
	}
	return d.Why.String()
}

// turnedAway counts a deferral by the gate where strangers are judged, and
// tells the world when that begins and ends. A penalty is no news.
func (l *Logins) turnedAway(r *LoginRuling) {
	a, d := &r.attempt, &r.decision
	last := Time(l.gated.Load())
	shut := last != 0 && a.Time < last+calmAfter
	if !d.Defer || d.Why != Gate {
		if last != 0 && !shut && l.gated.CompareAndSwap(int64(last), 0) {
			l.record(r, "gate-opened", "no login from an unknown place was held for an hour")
		}
		return
	}
	l.gated.Store(int64(a.Time))
	if !shut {
		l.record(r, "gate-closed", fmt.Sprintf("of the %.0f wrong passwords an hour that unknown places may be told of, %.0f %% are left; "+
			"such a place must show the same password again before it is looked at",
			l.Engine.rules.Disclosure, 100*max(l.Engine.fill(a.Time), 0)))
	}
	l.Engine.demanded(a)
}

const calmAfter = 3600 // seconds without a deferral by the gate

// demanded counts an attempt that nobody looked at, once a source and hour.
func (e *Engine) demanded(a *Attempt) {
	key := e.sourceKey(a)
	p := e.sources.place(key)
	p.lock.Lock()
	s := p.find(key)
	voted := s != nil && s.vote(a.Time, votedBad)
	p.lock.Unlock()
	if !voted {
		return
	}
	e.countRoot(a, &Decision{}, true, false)
	if e.fill(a.Time) > 0 {
		e.disclosure.take(a.Time, demand, e.rules.Disclosure, e.rules.Disclosure*burst)
	}
}

// Done takes what became of an attempt that was not held. What is said first
// counts, so that LoginOpen may be deferred.
func (r *LoginRuling) Done(o LoginOutcome) {
	if r == nil || r.Held() || r.done {
		return
	}
	r.done = true
	defer r.Pause() // learnt by then: the next one is judged by it
	switch o {
	case LoginRight:
		r.right()
	case LoginWrong:
		r.wrong()
	}
}

// right makes the place known. The source earns credit once a day and account:
// with a login of his own nobody can buy guesses at the accounts of others.
func (r *LoginRuling) right() {
	e, a := r.logins.Engine, r.attempt
	r.logins.count(LoginsRight)
	a.Realm = 0
	first := e.remember(&r.keys, a.Time)
	e.Learn(&a, &r.decision, Exists)
	if first {
		a.Identity = Identity{}
		e.Credit(&a, &r.decision)
	}
}

// wrong counts a guess, unless it is known to be none.
func (r *LoginRuling) wrong() {
	e, a := r.logins.Engine, &r.attempt
	if !e.mark(&r.keys, a.Time, r.try.Hidden) {
		r.logins.count(LoginsStale)
		return
	}
	r.logins.count(LoginsWrong)
	c := e.Learn(a, &r.decision, Unknown)
	if r.decision.gated {
		e.unproved(a)
	}
	if c.Kind == Penalised {
		r.logins.count(LoginPenalties)
		r.logins.record(r, "penalty", r.words(c))
	}
}

// words tells what led to a penalty.
func (r *LoginRuling) words(c Change) string {
	from := r.try.Client.Remote.Addr().Unmap().String()
	if c.Identity {
		from = r.attempt.Source.Narrow().String()
	}
	count := func(n int, one string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %ss", n, one)
	}
	hours := max(int(r.attempt.Time-c.Since+3599)/3600, 1)
	return fmt.Sprintf("%s of %s tried from %s in %d h; held for %v",
		count(c.Unknown, "password"), count(min(max(c.Distinct, 1), c.Unknown), "account"), from, hours,
		(time.Duration(c.Until-r.attempt.Time) * time.Second).Round(time.Minute))
}

func (l *Logins) record(r *LoginRuling, verb, words string) {
	c := &r.try.Client
	l.Events.Record(event.Event{Kind: event.Edge, Trace: c.Trace, Role: c.Role, Account: r.try.Account,
		Verb: verb, Why: r.decision.Why.String(), Score: r.decision.Score, Evidence: words}.Peer(c.Remote))
}

// LoginCount names a number that a Logins keeps.
type LoginCount int

// The counts, since the start.
const (
	LoginsHeld     LoginCount = iota // attempts whose password nobody looked at
	LoginsRight                      // right passwords
	LoginsWrong                      // wrong ones
	LoginsStale                      // wrong ones that were tried before from the same place
	LoginPenalties                   // penalties begun
	loginCounters
)

func (l *Logins) count(c LoginCount) { l.counts[c].add(1) }

// Count gives one of the counts.
func (l *Logins) Count(c LoginCount) int64 { return l.counts[c].Load() }
