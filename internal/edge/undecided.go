package edge

import "sync/atomic"

// undecided counts the logins of each source that are being looked at: those
// begun before the first failure would otherwise all be judged by what was
// known before. Sources share a count by a keyed hash, so that it needs no
// memory that somebody can fill, and nobody can aim at another's.
type undecided [1 << 16]atomic.Int32

// undecidedMost is how many may be looked at for a source at a time. A check
// takes a tenth of a second: it is enough for ten newcomers a second.
const undecidedMost = 4

// sit takes a seat for an attempt, and tells whether it has one or needs none.
// It needs none with the password that was right there. Where the password is
// hidden that is not known, and the account has seats of its own.
func (l *Logins) sit(r *LoginRuling, familiar bool) bool {
	e, key := l.Engine, uint64(0)
	switch {
	case !familiar:
		key = e.sourceKey(&r.attempt)
	case r.try.Hidden:
		key = r.keys.pair
	default:
		return true
	}
	seat := &l.undecided[mix(key, e.secret[1])%uint64(len(l.undecided))]
	if seat.Add(1) > undecidedMost {
		seat.Add(-1)
		return false
	}
	r.seat = seat
	return true
}

// Pause gives the attempt's seat among the undecided back, where nothing will
// be decided on this ruling for as long as the client likes.
func (r *LoginRuling) Pause() {
	if r != nil && r.seat != nil {
		r.seat.Add(-1)
		r.seat = nil
	}
}
