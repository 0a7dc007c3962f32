package edge

import (
	"math"
	"sync"
)

// sending is what is known of one account's sending. Its methods are called
// with mu held.
type sending struct {
	mu    sync.Mutex
	dirty bool // changed since it was saved

	sendingState
	Logins   loginNets
	Contacts contacts
}

// sendingState is the part of it that has a fixed size.
type sendingState struct {
	Last      Time   // newest activity
	Today     uint32 // day number
	Messages  meter  // an hour
	Hour, Day meter  // recipients
	Away      meter  // recipients in an hour never written to before, from networks new today
	Most      peak   // of today
	History   [outboundDays]peak
	Before    shares // of whole days
	Now       shares // of today

	At       Time // of the evidence below
	New      float32
	Unknown  float32
	Networks float32
	Stretch  stretch

	Held    Time // end of the hold; 0: none
	Began   Time // of the newest hold
	Strikes uint8
	Tainted bool // a hold today: the day teaches nothing
	Trusted bool // an administrator vouches for it: nothing is held against it
}

// stretch counts since the account was last above suspicion. It is what an
// alarm tells in words.
type stretch struct {
	Since                                            Time
	Recipients, New, Unknown, Known, Reached, Logins uint32
}

// reach brings the state to now, which it gives: evidence fades, days end.
func (s *sending) reach(r *OutboundRules, now Time) Time {
	s.dirty = true
	now = max(now, s.Last)
	if s.Last == 0 {
		s.Today, s.At = uint32(now)/daySpan, now
	}
	if d := uint32(now) / daySpan; d != s.Today {
		s.endDay(d)
	}
	if age := float64(now - s.At); age > 0 {
		k := float32(math.Exp2(-age / r.Fade))
		s.New, s.Unknown, s.Networks = s.New*k, s.Unknown*k, s.Networks*k
		s.At = now
	}
	s.Hour.roll(now, hourSpan)
	s.Day.roll(now, daySpan)
	s.Away.roll(now, hourSpan)
	s.Messages.roll(now, hourSpan)
	if s.New+s.Unknown+s.Networks <= 0.1 && s.Held == 0 && now > s.Last+hourSpan/2 {
		s.Stretch = stretch{Since: now}
	}
	s.Last = now
	return now
}

// endDay learns from the day that ended, unless a hold spoilt it.
func (s *sending) endDay(d uint32) {
	gone := min(d-s.Today, outboundDays)
	copy(s.History[gone:], s.History[:])
	for i := range gone {
		s.History[i] = peak{}
	}
	s.Before.fade(math.Exp2(-float64(gone) / outboundDays))
	if !s.Tainted && s.Held == 0 {
		s.History[gone-1] = s.Most
		s.Before.add(s.Now)
		s.Contacts.accept(d)
		s.Logins.keep(func(n *loginNet) bool { return uint32(n.Last)/daySpan+networkDays >= d })
	}
	s.Most, s.Now, s.Tainted, s.Today = peak{}, shares{}, s.Held != 0, d
}

// usual is the most of the last outboundDays days.
func (s *sending) usual() (p peak) {
	for i := range s.History {
		p.raise(s.History[i])
	}
	return p
}

// visit counts a login from a network.
func (s *sending) visit(r *OutboundRules, src Source, now Time) {
	first := len(s.Logins) == 0
	newNarrow, newWide, before := s.Logins.visit(src, now)
	if before < s.Stretch.Since || before == 0 {
		s.Stretch.Logins++
	}
	s.Most.Networks = max(s.Most.Networks, uint32(s.Logins.recent(now)))
	if first {
		return
	}
	// Who often comes from a new network tells less by it.
	weight := r.Network / 2 / (1 + float64(s.Logins.lately(s.Today))/4)
	if newNarrow {
		s.Networks += float32(weight)
	}
	if newWide {
		s.Networks += float32(weight)
	}
	s.Networks = min(s.Networks, float32(r.NetworkMost))
}

// write counts a recipient.
func (s *sending) write(r *OutboundRules, from Source, key uint64, fate Fate) {
	s.Hour.Cur++
	s.Day.Cur++
	s.Most.Hour, s.Most.Day = max(s.Most.Hour, s.Hour.Cur), max(s.Most.Day, s.Day.Cur)
	s.Stretch.Recipients++
	isNew, again := s.Contacts.touch(key, s.Today)
	if isNew && s.Logins.fresh(from) {
		s.Away.Cur++
	}
	p := share(s.Before.New, s.Before.Known, r.FirstNew, r.FirstWeight)
	if p >= r.NewLists {
		p = r.StolenNew // tells nothing
	}
	switch {
	case isNew:
		s.Now.New++
		s.Stretch.New++
		s.New = clamp(s.New+float32(r.NewWeight*math.Log(r.StolenNew/p)), r.NewLeast, r.NewMost)
	case !again:
		s.Now.Known++
		s.Stretch.Known++
		s.New = clamp(s.New+float32(r.NewWeight*math.Log((1-r.StolenNew)/(1-p))), r.NewLeast, r.NewMost)
	}
	if fate != Elsewhere && s.Contacts.settle(key) {
		s.learn(r, fate == Nobody)
	}
}

// learn counts what a recipient never written to before turned out to be.
func (s *sending) learn(r *OutboundRules, unknown bool) {
	p := max(share(s.Before.Unknown, s.Before.Reached, r.FirstUnknown, r.UnknownWeight), r.LeastUnknown)
	if p >= r.BadLists {
		p = r.StolenUnknown // tells nothing
	}
	var e float64
	if unknown {
		s.Now.Unknown++
		s.Stretch.Unknown++
		e = math.Log(r.StolenUnknown / p)
	} else {
		s.Now.Reached++
		s.Stretch.Reached++
		e = math.Log((1 - r.StolenUnknown) / (1 - p))
	}
	s.Unknown = clamp(s.Unknown+float32(e), r.UnknownMin, r.UnknownMax)
}

func clamp(x float32, least, most float64) float32 {
	return min(max(x, float32(least)), float32(most))
}

// score gives the evidence that somebody else is at work, in nats.
func (s *sending) score(r *OutboundRules, now Time) float64 {
	usual := s.usual()
	volume := s.volume(r, usual, now)
	fresh := float64(s.New)
	// One or two unknown recipients of a few are typing errors.
	n := float64(s.Stretch.New)
	unknown := max(float64(s.Unknown), r.UnknownCredit) * n / (n + r.Few)
	if volume <= 0 && unknown < r.NewAlone {
		fresh = min(fresh, r.NewAlone)
	}
	if volume <= 0 && (s.young(r) || s.bulk(r)) {
		fresh, unknown = fresh*r.Bulk, unknown*r.Bulk
	}
	logins := float64(s.Networks)
	if float64(s.Logins.recent(now)) > max(r.Networks, 2*float64(usual.Networks)) {
		logins += r.Crowd
	}
	return volume + fresh + unknown + min(logins, r.LoginsMost)
}

// bulk tells that the account writes to many at once, again and again.
func (s *sending) bulk(r *OutboundRules) bool {
	days := 0
	for i := range s.History {
		if float64(s.History[i].Hour) >= r.PlainHour {
			days++
		}
	}
	return days >= r.BulkDays
}

// young tells that the account has no history to be compared with. The limits
// bound what it does.
func (s *sending) young(r *OutboundRules) bool {
	return float64(s.Before.New+s.Before.Known) < r.FirstWeight
}

// volume gives the evidence of how much more than usual the account writes.
func (s *sending) volume(r *OutboundRules, usual peak, now Time) float64 {
	// What it does from its own networks says nothing of what strangers get from a new one.
	over := s.Away.within(now, hourSpan) / r.PlainHour
	if !s.young(r) {
		inHour := s.Hour.within(now, hourSpan) / max(r.PlainHour, r.Growth*float64(usual.Hour))
		inDay := s.Day.within(now, daySpan) / max(r.PlainDay, r.Growth*float64(usual.Day))
		over = max(over, inHour, inDay)
	}
	return min(r.Volume*max(math.Log2(over), 0), r.VolumeMost)
}

// hold begins a hold and gives its end.
func (s *sending) hold(r *OutboundRules, now Time) Time {
	if now > s.Began+strikeTime {
		s.Strikes = 0
	}
	long := min(r.HoldTime*math.Pow(4, float64(s.Strikes)), max(r.HoldMost, r.HoldTime))
	s.Strikes = min(s.Strikes+1, 10)
	s.Began, s.Held, s.Tainted = now, now+Time(long), true
	return s.Held
}

// release ends a hold. What began the hold is the account's own when somebody
// vouches for it, and is forgotten otherwise: the recipients and the networks
// of a thief do not become the owner's.
func (s *sending) release(vouched bool, now Time) {
	s.Held, s.New, s.Unknown, s.Networks = 0, 0, 0, 0
	s.Stretch = stretch{Since: now}
	if s.Tainted = !vouched; vouched {
		s.Strikes = 0
		return
	}
	s.Contacts.forget()
	s.Logins.keep(func(n *loginNet) bool { return !n.Fresh })
	s.Now, s.Most = shares{}, peak{}
	s.Hour, s.Day, s.Away, s.Messages = meter{}, meter{}, meter{}, meter{}
}
