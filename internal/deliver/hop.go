package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// maxHops bounds the addresses tried for one connection.
const maxHops = 20

// hop is one address to connect to.
type hop struct {
	host    string // the name its certificate must have
	network string
	address string
}

// hops gives where mail for domain goes, best first. The error is a
// *mail.Reply that fits a report; permanent when trying again is vain.
func (r *Runner) hops(ctx context.Context, domain mail.Domain, route *Route) ([]hop, error) {
	switch {
	case route != nil && route.Network == "unix":
		return []hop{{host: route.Address, network: "unix", address: route.Address}}, nil
	case route != nil:
		host, port, _ := net.SplitHostPort(route.Address)
		return r.routeHops(ctx, host, port)
	case strings.HasPrefix(string(domain), "["):
		ip, err := netip.ParseAddr(strings.TrimPrefix(strings.Trim(string(domain), "[]"), "IPv6:"))
		if err != nil {
			return nil, &mail.Reply{Code: 553, Enhanced: "5.1.3", Text: "Bad address literal"}
		}
		if r.own(ip) {
			return nil, loops(domain)
		}
		return []hop{r.hop(ip.String(), ip, r.port())}, nil
	case domain == "":
		return nil, &mail.Reply{Code: 553, Enhanced: "5.1.3", Text: "The address has no domain"}
	}
	return r.mxHops(ctx, domain)
}

func loops(domain mail.Domain) *mail.Reply {
	return &mail.Reply{Code: 554, Enhanced: "5.4.6", Text: fmt.Sprintf("Mail for %s loops back to myself", domain)}
}

func (r *Runner) port() string {
	if r.Port == 0 {
		return "25"
	}
	return strconv.Itoa(int(r.Port))
}

func (r *Runner) hop(host string, ip netip.Addr, port string) hop {
	return hop{host: host, network: "tcp", address: net.JoinHostPort(ip.String(), port)}
}

func (r *Runner) own(ip netip.Addr) bool { return slices.Contains(r.Own, ip.Unmap()) }

// routeHops gives the addresses of a route's host, which needs no MX.
func (r *Runner) routeHops(ctx context.Context, host, port string) ([]hop, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []hop{r.hop(host, ip, port)}, nil
	}
	res, err := r.Resolver.Addrs(ctx, host)
	ips := res.Addrs
	switch {
	case err != nil && host == "localhost":
		ips = []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	case err != nil:
		// The operator named this host: its absence is a fault here, not of the recipient.
		return nil, mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "The route's host " + host + " has no address"}.Because(err)
	}
	var out []hop
	for _, ip := range order(ips) {
		out = append(out, r.hop(host, ip, port))
	}
	return out, nil
}

// mxHops follows RFC 5321 section 5.1: the MX hosts by preference, those of
// the same one in random order; the domain's own addresses only when it has
// no MX at all. RFC 7505: "." alone takes no mail.
func (r *Runner) mxHops(ctx context.Context, domain mail.Domain) ([]hop, error) {
	res, err := r.Resolver.MX(ctx, string(domain))
	mxs, implicit := res.Shuffled(), false
	switch {
	case res.Null:
		return nil, &mail.Reply{Code: 556, Enhanced: "5.1.10", Text: fmt.Sprintf("%s takes no mail (null MX)", domain)}
	case errors.Is(err, dns.ErrNoRecord), err == nil && len(mxs) == 0:
		mxs, implicit = []dns.MX{{Host: string(domain)}}, true
	case err != nil:
		return nil, dnsReply(domain, err)
	}
	out, looped, failed := r.expand(ctx, mxs)
	switch {
	case len(out) > 0:
		return out[:min(len(out), maxHops)], nil
	case looped:
		return nil, loops(domain)
	case !dns.IsNotFound(failed):
		return nil, dnsReply(domain, failed)
	case implicit:
		return nil, &mail.Reply{Code: 550, Enhanced: "5.1.2", Text: fmt.Sprintf("%s has neither MX nor address", domain)}
	}
	// The zone is wrong, and may be put right (RFC 5321 section 5.1).
	return nil, &mail.Reply{Code: 451, Enhanced: "4.4.4", Text: fmt.Sprintf("No mail exchanger of %s has an address", domain)}
}

// expand gives the addresses of mxs in order, up to the one that is this host
// itself: mail must not go to a host of the same or a worse preference.
func (r *Runner) expand(ctx context.Context, mxs []dns.MX) (out []hop, looped bool, failed error) {
	limit := -1
	for _, mx := range mxs {
		if limit >= 0 && int(mx.Preference) >= limit || len(out) >= maxHops {
			break
		}
		name := strings.TrimSuffix(mx.Host, ".")
		if strings.EqualFold(name, r.Hostname) {
			limit, looped = int(mx.Preference), true
			out = slices.DeleteFunc(out, func(h hop) bool { return h.preference(mxs) >= limit })
			continue
		}
		res, err := r.Resolver.Addrs(ctx, name)
		if err != nil {
			if failed == nil || dns.IsNotFound(failed) {
				failed = err
			}
			continue
		}
		if slices.ContainsFunc(res.Addrs, r.own) {
			limit, looped = int(mx.Preference), true
			out = slices.DeleteFunc(out, func(h hop) bool { return h.preference(mxs) >= limit })
			continue
		}
		for _, ip := range order(res.Addrs) {
			out = append(out, r.hop(name, ip, r.port()))
		}
	}
	return out, looped, failed
}

// preference finds the preference of the MX that h comes from.
func (h hop) preference(mxs []dns.MX) int {
	for _, mx := range mxs {
		if strings.TrimSuffix(mx.Host, ".") == h.host {
			return int(mx.Preference)
		}
	}
	return 0
}

// order puts IPv6 in front and takes turns between the families, so that one
// that does not work costs one attempt (RFC 8305 section 4).
func order(ips []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			four = append(four, ip)
		} else {
			six = append(six, ip)
		}
	}
	for len(six)+len(four) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}

func dnsReply(domain mail.Domain, err error) *mail.Reply {
	if errors.Is(err, dns.ErrNoName) {
		return mail.Reply{Code: 550, Enhanced: "5.1.2", Text: fmt.Sprintf("Domain %s does not exist", domain)}.Because(err)
	}
	return mail.Reply{Code: 451, Enhanced: "4.4.3", Text: fmt.Sprintf("The DNS of %s does not answer", domain)}.Because(err)
}
