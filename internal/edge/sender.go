package edge

import (
	"context"
	"encoding/binary"
	"math/bits"
	mrand "math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// What bounds SPF checks, in which a stranger's zone decides how much is asked
// and how long it takes.
const (
	spfLimit = 5 * time.Second
	spfMost  = 1024 // at a time; who comes then has none
)

// spfCheck is an SPF check that goes on beside the dialogue. It goes on to its
// end when the dialogue does not wait for it: its questions would, too, and
// while they do they must count.
type spfCheck struct {
	done   chan struct{}
	result senderauth.SPFResult
}

func (v *Visit) checkSPF() *spfCheck {
	g := v.guard
	if g.Resolver == nil || v.from.IsNull() || strings.HasPrefix(string(v.from.Domain), "[") {
		return nil
	}
	select {
	case g.checks <- struct{}{}:
	default:
		return nil
	}
	c := &spfCheck{done: make(chan struct{})}
	client, helo, from := v.client.Remote.Addr(), v.helo, v.from
	go func() {
		defer func() { <-g.checks }()
		defer close(c.done)
		ctx, cancel := context.WithTimeout(context.Background(), spfLimit)
		defer cancel()
		c.result = g.listed(ctx, client, helo, from)
	}()
	return c
}

// listed is CheckSPF, but that a domain which lists everybody ("+all") lists
// nobody: a pass that an address taken by chance has, too, says what no record
// at all says, and is none. Its questions are the same, and mostly answered
// from the cache. Taken by chance, since whoever publishes such a record would
// leave out an address that is known beforehand.
func (g *Guard) listed(ctx context.Context, client netip.Addr, helo string, from mail.Address) senderauth.SPFResult {
	result := senderauth.CheckSPF(ctx, g.Resolver, client, helo, from)
	if result == senderauth.SPFPass && senderauth.CheckSPF(ctx, g.Resolver, anybody(client.Unmap().Is4()), helo, from) == senderauth.SPFPass {
		return senderauth.SPFNone
	}
	return result
}

// anybody gives a unicast address by chance: 11.0.0.0 to 223.255.255.255 without
// 127.0.0.0/8, for networks of one's own list all of that or of 10.0.0.0/8; or
// one of 2000::/3.
func anybody(is4 bool) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], mrand.Uint64()>>3|1<<61)
	binary.BigEndian.PutUint64(b[8:], mrand.Uint64())
	if is4 {
		first := byte(11 + mrand.N(212))
		if first >= 127 {
			first++
		}
		return netip.AddrFrom4([4]byte{first, b[13], b[14], b[15]})
	}
	return netip.AddrFrom16(b)
}

// now gives the result, "" while there is none.
func (c *spfCheck) now() senderauth.SPFResult {
	if c == nil {
		return ""
	}
	select {
	case <-c.done:
		return c.result
	default:
		return ""
	}
}

// await waits for the look-ups that are under way, no longer than the guard
// allows.
func (v *Visit) await(ctx context.Context) {
	v.waited = true
	deadline := time.NewTimer(v.guard.LookupWait)
	defer deadline.Stop()
	var spf <-chan struct{}
	if v.spf != nil {
		spf = v.spf.done
	}
	for _, done := range [2]<-chan struct{}{v.client.Name.Done(), spf} {
		if done == nil {
			continue
		}
		select {
		case <-done:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// attempt fills in what is known of an attempt now.
func (v *Visit) attempt(r *Ruling) {
	e := v.guard.Engine
	if r.attempt.Recipient == 0 {
		r.attempt.Recipient = e.Hash(recipientName(r.to))
		r.attempt.Realm = e.Hash(string(r.to.Domain))
		r.attempt.Source, r.attempt.Sender, r.attempt.Null = v.source, e.Hash(r.from.Key()), r.from.IsNull()
	}
	r.attempt.Time = v.guard.Clock.Now()
	name, none := v.name()
	switch {
	case name != "" && generic(name, v.client.Remote.Addr()):
		r.name, r.attempt.Named = name, No
	case name != "":
		r.name, r.attempt.Named = name, Yes
	case none:
		r.name, r.attempt.Named = "-", No
	}
	if result := v.spf.now(); result != "" {
		r.spf, r.attempt.SPF = result, No
		switch result {
		case senderauth.SPFPass:
			r.attempt.SPF = Yes
		case senderauth.SPFTempError:
			r.attempt.SPF = Open
		}
	}
	v.identify(r)
}

// recipientName names the mailbox of a recipient, as far as that is to be seen
// without looking: one address with details, or with tags of signed senders,
// must not pass for a thousand recipients.
func recipientName(to mail.Address) string {
	local := to.Local
	if len(local) > len(tagged) && strings.EqualFold(local[:len(tagged)], tagged) {
		if _, rest, _ := strings.Cut(local[len(tagged):], "="); rest != "" {
			local = rest
		}
	}
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	return mail.MakeAddress(local, to.Domain).Key()
}

// tagged is how the local part of a signed sender begins (BATV).
const tagged = "prvs="

// name gives the client's confirmed name as far as it is known.
func (v *Visit) name() (name string, none bool) {
	if v.client.Name == nil && v.client.Looked {
		return v.client.MTAName, v.client.MTAName == ""
	}
	return v.client.Name.Name()
}

// identify finds whom the message comes from. A domain that many people share
// is no one's identity: there it is the whole address.
func (v *Visit) identify(r *Ruling) {
	e := v.guard.Engine
	from := r.from
	switch {
	case from.IsNull() && r.attempt.Named == Yes:
		r.identity = registrable(r.name)
		r.attempt.Identity = e.named(r.identity)
	case from.IsNull():
		// Or a proven source, whose bounces are no evidence against it, could
		// guess as the null sender.
		r.identity = nullName + pairMark + r.attempt.Source.Prefix().Addr().String()
		r.attempt.Identity = e.Pair(r.attempt.Source, nullName)
	case r.attempt.SPF == Yes:
		r.identity = string(from.Domain)
		if e.shared(from, r.attempt.Time) {
			r.identity = from.Key()
		}
		r.attempt.Identity = e.vouched(r.identity)
	default:
		r.identity = string(from.Domain) + pairMark + r.attempt.Source.Prefix().Addr().String()
		r.attempt.Identity = e.Pair(r.attempt.Source, string(from.Domain))
	}
}

// pairMark stands between the two of a pair in events, nullName for the domain
// of the null sender.
const (
	pairMark = " at "
	nullName = "<>"
)

// vouched is the identity of a domain, or an address, that SPF proves.
func (e *Engine) vouched(name string) Identity {
	return Identity{Key: e.Hash("spf " + name), Proven: true}
}

// named is the identity of a domain whose client sends bounces under a name of
// it that leads back to the client.
func (e *Engine) named(domain string) Identity {
	return Identity{Key: e.Hash("name " + domain), Proven: true}
}

// registrable gives the part of a name that somebody has registered.
func registrable(name string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return d
	}
	return name
}

// sharedBits is how many of 64 bits are set by about 50 different local parts,
// sharedFor for how many seconds they are counted together.
const (
	sharedBits = 35
	sharedFor  = 30 * 86400
)

// shared tells whether a sender domain has many senders, as those of free mail
// have or had the month before, and counts this one. An entry among the
// identities keeps a bit for each local part seen since timeA, and in ham whether
// there were many before that: who writes under a new name now and then would
// have many in the end.
func (e *Engine) shared(from mail.Address, now Time) bool {
	key := e.Hash("senders of " + string(from.Domain))
	s, l, _ := e.identities.entry(key, now)
	defer l.Unlock()
	s.last = now
	many := func() bool { return bits.OnesCount64(s.bits) >= sharedBits }
	if age := now - s.timeA; now > s.timeA && age >= sharedFor {
		s.ham = 0
		if many() && age < 2*sharedFor {
			s.ham = 1
		}
		s.bits, s.timeA = 0, now
	}
	s.bits |= 1 << (e.Hash(senderName(from.Local)) >> 58)
	return many() || s.ham != 0
}

// senderName brings a local part to what names its sender: bounce addresses
// that are different for each message or recipient become one.
func senderName(local string) string {
	local = mail.NormalLocal(local)
	if i := strings.IndexAny(local, "+="); i > 0 {
		local = local[:i]
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, local)
}

// genericWords stand in the names that access providers give to the lines of
// their customers: alone between hyphens, dots and digits, for they stand in
// other words, too (liverpool, reverb, dynamics).
var genericWords = regexp.MustCompile(`(?:^|[^a-z])(?:` +
	`dyn|dynip|dynamic|[asvx]?dsl|dial|dialin|dialup|dhcp|ppp|pppoe|pools?|cable|cablemodem|broadband|clients?|` +
	`customers?|cust|catv|fib(?:er|re)|ftth|mobile|wireless|wifi|users?|static-ip|unassigned|rev|reverse|ipv4|ipv6` +
	`)(?:[^a-z]|$)|(?:^|[^a-z])(?:host|ip)-`)

// generic tells whether a name was made from the address, as access lines have
// it, rather than given to a server.
func generic(name string, addr netip.Addr) bool {
	host, _, _ := strings.Cut(name, ".")
	sub := strings.TrimSuffix(name, registrable(name))
	if addr = addr.Unmap(); addr.Is4() && sharedNumbers(sub, addr.As4()) >= 3 {
		return true
	}
	for _, p := range []string{"mail", "mx", "smtp", "mta", "out", "relay", "mout"} {
		if strings.HasPrefix(host, p) {
			return false
		}
	}
	return genericWords.MatchString(sub)
}

// sharedNumbers gives how many of the numbers that stand in s between other
// characters are parts of an address, each part taken once: mx1 is no 1.1.1.
func sharedNumbers(s string, parts [4]byte) (n int) {
	taken := [4]bool{}
	for _, number := range strings.FieldsFunc(s, func(c rune) bool { return c < '0' || c > '9' }) {
		v, err := strconv.Atoi(number)
		for i, p := range parts {
			if err == nil && int(p) == v && !taken[i] {
				taken[i] = true
				n++
				break
			}
		}
	}
	return n
}
