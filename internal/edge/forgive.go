package edge

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Forgive brings whatever is named back to the initial state: a client address,
// a network with all clients in it and what is known of the networks in it, or
// an identity, which is a domain or an address. It gives the number of entries
// that were forgotten.
func (e *Engine) Forgive(what string) (int, error) {
	if addr, err := netip.ParseAddr(what); err == nil {
		return e.forgiveSource(SourceOf(addr)), nil
	}
	if p, err := netip.ParsePrefix(what); err == nil {
		return e.forgiveNetwork(p.Masked()), nil
	}
	name, err := identityName(what)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range [2]Identity{e.vouched(name), e.named(name)} {
		if e.identities.remove(id.Key) {
			n++
		}
	}
	return n, nil
}

// identityName gives the name of an identity as Hash wants it.
func identityName(s string) (string, error) {
	if strings.Contains(s, "@") {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return "", fmt.Errorf("%q: %w", s, err)
		}
		return a.Key(), nil
	}
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", fmt.Errorf("%q is neither an address, a network nor a domain", s)
	}
	return string(d), nil
}

// forgiveSource forgets the entry of a source, and those it shares with others
// around it where too many came.
func (e *Engine) forgiveSource(s Source) int {
	keys := []uint64{s.key}
	if !s.isIPv4() {
		keys = append(keys, s.narrow, s.wide)
	}
	n := 0
	for _, k := range keys {
		if e.sources.remove(k) {
			n++
		}
	}
	return n
}

func (e *Engine) forgiveNetwork(p netip.Prefix) int {
	inside := func(key uint64) bool {
		q := prefixOf(key)
		return q.Bits() >= p.Bits() && p.Contains(q.Addr())
	}
	return e.sources.removeAll(inside) + e.networks.removeAll(inside)
}

// removeAll forgets the keys for which match holds, and gives their number.
func (t *table) removeAll(match func(key uint64) bool) (n int) {
	for g := range t.groups {
		l := &t.locks[g%len(t.locks)]
		l.Lock()
		for b := range t.groups[g] {
			bk := &t.groups[g][b]
			for i, k := range bk.key {
				if k != 0 && match(k) {
					bk.key[i], bk.body[i] = 0, state{}
					n++
				}
			}
		}
		l.Unlock()
	}
	t.live.add(-int64(n))
	return n
}

func (t *netTable) removeAll(match func(key uint64) bool) (n int) {
	for i := range t.sets {
		l := &t.locks[i%len(t.locks)]
		l.Lock()
		for j := range t.sets[i] {
			if x := &t.sets[i][j]; x.key != 0 && match(x.key) {
				*x = network{}
				n++
			}
		}
		l.Unlock()
	}
	t.live.add(-int64(n))
	return n
}
