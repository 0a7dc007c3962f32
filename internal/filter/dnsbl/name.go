package dnsbl

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/migiwa/migiwa/internal/mail"
)

// reversed gives the name under which lists hold an address: RFC 5782, 2.1 for
// IPv4 and 2.4 for IPv6.
func reversed(a netip.Addr) string {
	var b strings.Builder
	if a = a.Unmap().WithZone(""); a.Is4() {
		o := a.As4()
		for i := 3; i >= 0; i-- {
			b.WriteString(strconv.Itoa(int(o[i])))
			if i > 0 {
				b.WriteByte('.')
			}
		}
		return b.String()
	}
	const hex = "0123456789abcdef"
	o := a.As16()
	for i := 15; i >= 0; i-- {
		b.WriteByte(hex[o[i]&15])
		b.WriteByte('.')
		b.WriteByte(hex[o[i]>>4])
		if i > 0 {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// public tells whether an address is one that a list can know.
func public(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a.Unmap())
}

// shared is the space behind the translation of providers: RFC 6598.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// subject is what a list is asked about: shown to people, asked as name.
type subject struct {
	shown, name string
}

// hostSubject gives what to ask a list for a host, an A-label name or an address,
// with or without brackets and a port; ok is false when there is nothing to ask.
func (l *List) hostSubject(host string) (subject, bool) {
	if a, ok := hostAddr(host); ok {
		if !l.Addrs || !public(a) {
			return subject{}, false
		}
		return subject{a.Unmap().String(), reversed(a)}, true
	}
	if name, port, ok := strings.Cut(host, ":"); ok && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	d, err := mail.ParseDomain(host)
	if err != nil || !strings.Contains(string(d), ".") || strings.HasPrefix(string(d), "[") {
		return subject{}, false
	}
	name := string(d)
	registered, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil { // a public suffix itself: nobody's
		return subject{}, false
	}
	if !l.Full {
		name = registered
	}
	return subject{mail.Domain(name).Unicode(), name}, true
}

func hostAddr(host string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(host); err == nil {
		return ap.Addr(), true
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if len(host) > 5 && strings.EqualFold(host[:5], "IPv6:") {
		host = host[5:]
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// under tells whether name is one of domains or below one.
func under(name string, domains []string) bool {
	return slices.ContainsFunc(domains, func(d string) bool {
		return name == d || strings.HasSuffix(name, "."+d)
	})
}

func (z *zone) sortAnswers() {
	slices.SortFunc(z.ranges, func(a, b rangeAnswer) int { return b.net.Bits() - a.net.Bits() })
	slices.SortFunc(z.bits, func(a, b bitAnswer) int { return int(a.bit) - int(b.bit) })
}
