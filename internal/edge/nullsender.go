package edge

// NullSender counts a message of the null sender for a recipient, and tells
// whether there was room for it: each mailbox gets only so many an hour, and so
// does each protected domain (Rules.NullMailbox, NullRealm). rcpt and realm are
// Engine.Hash of the recipient and of its domain.
//
// Honest bounces come one by one. Thousands for one mailbox are the echo of
// mail that somebody sent in its name.
func (e *Engine) NullSender(now Time, rcpt, realm uint64) bool {
	if !e.nulls.spend(rcpt, now, e.rules.NullMailbox) {
		return false
	}
	r := e.realm(realm, now)
	return r == nil || r.nulls.spend(now, e.rules.NullRealm)
}

// NullRoom tells whether NullSender would have room, before anybody looks the
// recipient up. Where there is none, that RCPT alone is refused for now. It
// counts nothing: whoever just names a mailbox a hundred times, and brings no
// message, must not keep the bounces of others from it.
func (e *Engine) NullRoom(now Time, rcpt, realm uint64) bool {
	if !e.nulls.room(rcpt, now, e.rules.NullMailbox) {
		return false
	}
	r := e.realm(realm, now)
	return r == nil || r.nulls.room(now, e.rules.NullRealm)
}

// budgets are budgets by hash, in little memory: two rows, of which one must
// have a token. So two hashes get in each other's way only where they meet in
// both.
type budgets [2][budgetsSize]budget

const budgetsSize = 1 << 15

// of gives the two budgets of a hash.
func (b *budgets) of(hash uint64) (first, second *budget) {
	return &b[0][mix(hash, 0x9fb21c651e98df25)%budgetsSize], &b[1][mix(hash, 0xd6e8feb86659fd93)%budgetsSize]
}

func (b *budgets) spend(hash uint64, now Time, perHour float64) bool {
	x, y := b.of(hash)
	first, second := x.spend(now, perHour), y.spend(now, perHour)
	return first || second
}

func (b *budgets) room(hash uint64, now Time, perHour float64) bool {
	x, y := b.of(hash)
	return x.room(now, perHour) || y.room(now, perHour)
}

// room tells whether spend would find a token.
func (b *budget) room(now Time, perHour float64) bool {
	at := int64(now) * parts
	return perHour <= 0 || max(b.full.Load(), at)+int64(3600/perHour*parts) <= at+3600*parts
}

// spend takes a token where there is one, and tells whether there was. The
// burst is an hour's; 0 an hour is no limit.
func (b *budget) spend(now Time, perHour float64) bool {
	if perHour <= 0 {
		return true
	}
	at := int64(now) * parts
	cost := int64(3600 / perHour * parts)
	for {
		old := b.full.Load()
		next := max(old, at) + cost
		if next > at+3600*parts {
			return false
		}
		if b.full.CompareAndSwap(old, next) {
			return true
		}
	}
}
