package senderauth

import (
	"context"
	"net"
	"net/netip"

	"blitiri.com.ar/go/spf"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// SPFResult is the outcome of an SPF check (RFC 7208 section 2.6).
type SPFResult string

// The outcomes.
const (
	SPFNone      = SPFResult(spf.None)
	SPFNeutral   = SPFResult(spf.Neutral)
	SPFPass      = SPFResult(spf.Pass)
	SPFFail      = SPFResult(spf.Fail)
	SPFSoftFail  = SPFResult(spf.SoftFail)
	SPFTempError = SPFResult(spf.TempError)
	SPFPermError = SPFResult(spf.PermError)
)

// CheckSPF tells whether the domain of an envelope sender lets a client send
// for it; for the null sender the name of HELO is asked (RFC 7208 section 2.4).
// The cause of an error is not told; ctx bounds how long DNS may take.
func CheckSPF(ctx context.Context, r dns.Resolver, client netip.Addr, helo string, from mail.Address) SPFResult {
	sender := from.Wire
	if from.IsNull() {
		sender = "postmaster@" + helo
	}
	client = client.Unmap().WithZone("")
	result, _ := spf.CheckHostWithSender(net.IP(client.AsSlice()), helo, sender,
		spf.WithContext(ctx), spf.WithResolver(spfResolver{r}))
	return SPFResult(result)
}

// spfResolver asks our resolver in the words of package net.
type spfResolver struct{ dns.Resolver }

// failure gives err as package net would.
func failure(name string, err error) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Err: err.Error(), Name: name, IsNotFound: dns.IsNotFound(err), IsTemporary: dns.IsTemporary(err)}
}

func (r spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	res, err := r.TXT(ctx, name)
	return res.Texts, failure(name, err)
}

func (r spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	res, err := r.MX(ctx, name)
	out := make([]*net.MX, len(res.Hosts))
	for i, h := range res.Hosts {
		out[i] = &net.MX{Host: h.Host, Pref: h.Preference}
	}
	return out, failure(name, err)
}

func (r spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	res, err := r.Addrs(ctx, host)
	out := make([]net.IPAddr, len(res.Addrs))
	for i, a := range res.Addrs {
		out[i] = net.IPAddr{IP: a.AsSlice()}
	}
	return out, failure(host, err)
}

func (r spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "not an address", Name: addr, IsNotFound: true}
	}
	res, err := r.PTR(ctx, a)
	return res.Names, failure(addr, err)
}
