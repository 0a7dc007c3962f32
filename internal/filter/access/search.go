package access

import (
	"net/netip"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Match is the entry that a search ended at, and what was held against it.
type Match struct {
	Entry
	Subject string
}

// Client searches for a client by its confirmed name, "" when it has none, and
// its address.
func (l *List) Client(name string, addr netip.Addr) (Match, bool) {
	if d, err := mail.ParseDomain(name); err == nil {
		if e, ok := l.domain(Connect, string(d)); ok {
			return Match{e, name}, true
		}
	}
	if addr = addr.Unmap().WithZone(""); l == nil || !addr.IsValid() {
		return Match{}, false
	}
	for _, bits := range l.lengths[family(addr)] {
		p, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if e, ok := l.step(key{tag: Connect, net: p}); ok {
			return Match{e, addr.String()}, true
		}
	}
	return Match{}, false
}

// Sender searches for a sender; the null sender is never found.
func (l *List) Sender(a mail.Address) (Match, bool) { return l.address(From, a) }

// Recipient searches for a recipient.
func (l *List) Recipient(a mail.Address) (Match, bool) { return l.address(To, a) }

func (l *List) address(tag Tag, a mail.Address) (Match, bool) {
	if l == nil || len(l.entries) == 0 || a.IsNull() {
		return Match{}, false
	}
	local, domain := mail.NormalLocal(a.Local), string(a.Domain)
	for _, at := range []string{domain, ""} {
		for _, user := range variants(local) {
			if e, ok := l.step(key{tag: tag, name: user + "@" + at}); ok {
				return Match{e, a.String()}, true
			}
		}
		if domain == "" {
			break
		}
	}
	e, ok := l.domain(tag, domain)
	return Match{e, a.String()}, ok
}

// variants gives a local part and what sendmail tries for one with a detail:
// user+detail, user+*, user.
func variants(local string) []string {
	if user, _, ok := strings.Cut(local, "+"); ok && user != "" {
		return []string{local, user + "+*", user}
	}
	return []string{local}
}

// domain walks from d upwards.
func (l *List) domain(tag Tag, d string) (Entry, bool) {
	if l == nil || len(l.entries) == 0 {
		return Entry{}, false
	}
	for d != "" {
		if e, ok := l.step(key{tag: tag, name: d}); ok {
			return e, true
		}
		if strings.HasPrefix(d, "[") { // an address literal has nothing above it
			break
		}
		_, d, _ = strings.Cut(d, ".")
	}
	return Entry{}, false
}

// step looks with the tag, then without.
func (l *List) step(k key) (Entry, bool) {
	if e, ok := l.entries[k]; ok {
		return e, true
	}
	tag := k.tag
	k.tag = Any
	e, ok := l.entries[k]
	if ok && tag == To && e.Action == Allow {
		return Entry{}, false
	}
	return e, ok
}
