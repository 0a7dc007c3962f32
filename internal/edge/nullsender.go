package edge

// NullSender counts a recipient of null-sender mail, before anybody looks it
// up, and tells whether one more may be let on: each mailbox gets only so many
// an hour, and so does each protected domain (Rules.NullMailbox, NullRealm).
// Where it may not, that RCPT alone is refused for now. rcpt and realm are
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

// budgets are budgets by hash, in little memory: two rows, of which one must
// have a token. So two hashes get in each other's way only where they meet in
// both.
type budgets [2][budgetsSize]budget

const budgetsSize = 1 << 15

func (b *budgets) spend(hash uint64, now Time, perHour float64) bool {
	first := b[0][mix(hash, 0x9fb21c651e98df25)%budgetsSize].spend(now, perHour)
	second := b[1][mix(hash, 0xd6e8feb86659fd93)%budgetsSize].spend(now, perHour)
	return first || second
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
