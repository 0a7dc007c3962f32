package senderauth

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// SPFResult is the outcome of an SPF check (RFC 7208 section 2.6).
type SPFResult string

// The outcomes.
const (
	SPFNone      SPFResult = "none"
	SPFNeutral   SPFResult = "neutral"
	SPFPass      SPFResult = "pass"
	SPFFail      SPFResult = "fail"
	SPFSoftFail  SPFResult = "softfail"
	SPFTempError SPFResult = "temperror"
	SPFPermError SPFResult = "permerror"
)

// Limits of one check (RFC 7208 section 4.6.4).
const (
	spfLookups = 10 // terms that ask DNS
	spfVoids   = 2  // answers that there is nothing
	spfHosts   = 10 // of one mx or ptr
)

// CheckSPF tells whether the domain of an envelope sender lets a client send
// for it; for the null sender the name of HELO is asked (RFC 7208 section 2.4).
// The cause of an error is not told; ctx bounds how long DNS may take.
func CheckSPF(ctx context.Context, r dns.Resolver, client netip.Addr, helo string, from mail.Address) SPFResult {
	c := newSPFCheck(ctx, r, client, helo)
	if from.IsNull() {
		c.local, c.sender = "postmaster", helo
		return c.host(helo)
	}
	return c.address(from)
}

func newSPFCheck(ctx context.Context, r dns.Resolver, client netip.Addr, helo string) *spfCheck {
	return &spfCheck{ctx: ctx, dns: r, client: client.Unmap().WithZone(""), helo: helo}
}

// address checks for the domain of an address.
func (c *spfCheck) address(a mail.Address) SPFResult {
	local, domain, found := cutAt(a.Wire)
	if !found {
		return SPFNone
	}
	if local == "" {
		local = "postmaster"
	}
	if a.Domain != "" {
		domain = string(a.Domain) // ASCII
	}
	c.local, c.sender = strings.Trim(local, `"`), domain
	return c.host(domain)
}

// spfCheck is one check at work.
type spfCheck struct {
	ctx    context.Context
	dns    dns.Resolver
	client netip.Addr
	helo   string
	local  string // of the sender
	sender string // its domain
	scope  string // of Sender ID; "" is SPF

	lookups, voids int
	ended          SPFResult // by a limit or an error; "" before
	names          []string  // of the client, confirmed
	named          bool
}

// stop ends the check with an error.
func (c *spfCheck) stop(r SPFResult) bool {
	if c.ended == "" {
		c.ended = r
	}
	return false
}

// host is check_host() of RFC 7208 section 4.
func (c *spfCheck) host(domain string) SPFResult {
	domain = strings.TrimSuffix(domain, ".")
	if !spfDomain(domain) || !strings.Contains(domain, ".") {
		return SPFNone
	}
	res, err := c.dns.TXT(c.ctx, domain)
	if err != nil && !dns.IsNotFound(err) {
		return SPFTempError
	}
	records := selectSPF(res.Texts, c.scope)
	switch len(records) {
	case 0:
		return SPFNone
	case 1:
	default:
		return SPFPermError
	}
	record, err := parseSPF(records[0])
	if err != nil {
		return SPFPermError
	}
	return c.evaluate(record, domain)
}

func (c *spfCheck) evaluate(r *spfRecord, domain string) SPFResult {
	all := false
	for _, t := range r.terms {
		all = all || t.name == "all"
		matches := c.matches(t, domain)
		if c.ended != "" {
			return c.ended
		}
		if matches {
			return t.result
		}
	}
	if r.redirect == "" || all {
		return SPFNeutral
	}
	if !c.count() {
		return c.ended
	}
	result := c.host(c.expand(r.redirect, domain))
	if c.ended != "" {
		return c.ended
	}
	if result == SPFNone {
		return SPFPermError
	}
	return result
}

// count counts a term that asks DNS.
func (c *spfCheck) count() bool {
	if c.lookups++; c.lookups > spfLookups {
		return c.stop(SPFPermError)
	}
	return true
}

// answered handles the error of a question; true means that there is an answer.
func (c *spfCheck) answered(err error) bool {
	switch {
	case err == nil:
		return true
	case !dns.IsNotFound(err):
		return c.stop(SPFTempError)
	}
	if c.voids++; c.voids > spfVoids {
		return c.stop(SPFPermError)
	}
	return false
}

func (c *spfCheck) matches(t spfTerm, domain string) bool {
	switch t.name {
	case "all":
		return true
	case "ip4", "ip6":
		return t.net.Contains(c.client)
	}
	if !c.count() {
		return false
	}
	target := domain
	if t.domain != "" {
		target = c.expand(t.domain, domain)
	}
	if c.ended != "" {
		return false
	}
	if t.name == "include" {
		return c.include(target)
	}
	if !spfDomain(strings.TrimSuffix(target, ".")) {
		return false // there can be no such name
	}
	switch t.name {
	case "a":
		return c.hostAddress(target, t)
	case "mx":
		return c.exchanger(target, t)
	case "ptr":
		return slices.ContainsFunc(c.confirmed(), func(name string) bool { return below(name, target) })
	}
	return c.exists(target)
}

func (c *spfCheck) include(target string) bool {
	switch r := c.host(target); {
	case c.ended != "":
		return false
	case r == SPFPass:
		return true
	case r == SPFTempError:
		return c.stop(SPFTempError)
	case r == SPFPermError, r == SPFNone:
		return c.stop(SPFPermError)
	}
	return false
}

// hostAddress tells whether the client is one of a host's addresses.
func (c *spfCheck) hostAddress(host string, t spfTerm) bool {
	res, err := c.dns.Addrs(c.ctx, host)
	return c.answered(err) && c.among(res.Addrs, t)
}

func (c *spfCheck) among(addrs []netip.Addr, t spfTerm) bool {
	bits := t.bits6
	if c.client.Is4() {
		bits = t.bits4
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a.Is4() == c.client.Is4() && netip.PrefixFrom(a, bits).Contains(c.client)
	})
}

func (c *spfCheck) exchanger(target string, t spfTerm) bool {
	res, err := c.dns.MX(c.ctx, target)
	if !c.answered(err) {
		return false
	}
	if len(res.Hosts) > spfHosts {
		return c.stop(SPFPermError)
	}
	for _, h := range res.Hosts {
		addrs, err := c.dns.Addrs(c.ctx, h.Host)
		if err != nil && !dns.IsNotFound(err) {
			return c.stop(SPFTempError)
		}
		if c.among(addrs.Addrs, t) {
			return true
		}
	}
	return false
}

// exists asks for IPv4 addresses, whatever the client's is.
func (c *spfCheck) exists(target string) bool {
	res, err := c.dns.Addrs(c.ctx, target)
	return c.answered(err) && slices.ContainsFunc(res.Addrs, netip.Addr.Is4)
}

// confirmed gives the client's names that lead back to it (RFC 7208 section
// 5.5). Errors only mean that there are fewer.
func (c *spfCheck) confirmed() []string {
	if c.named {
		return c.names
	}
	c.named = true
	res, err := c.dns.PTR(c.ctx, c.client)
	if err != nil {
		return nil
	}
	for _, name := range res.Names[:min(len(res.Names), spfHosts)] {
		addrs, err := c.dns.Addrs(c.ctx, name)
		if err == nil && slices.Contains(addrs.Addrs, c.client) {
			c.names = append(c.names, strings.TrimSuffix(name, "."))
		}
	}
	return c.names
}

// below tells whether a name is a domain or in it.
func below(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(strings.TrimSuffix(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// spfDomain tells whether DNS could have a name.
func spfDomain(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}
