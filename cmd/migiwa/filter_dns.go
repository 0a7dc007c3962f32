package main

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
)

// errNoDNS is the answer once DNS has failed to answer.
var errNoDNS = &dns.Error{Kind: dns.ErrTemporary, Cause: errors.New("DNS has not answered before, and is not asked again")}

// patience asks DNS until it fails to answer once: thousands of files must not
// wait for a server that is not there.
type patience struct {
	of   dns.Resolver
	over atomic.Bool
}

// newPatience gives DNS as this machine is configured for.
func newPatience() (*patience, error) {
	c, err := dns.NewClient(dns.Config{Timeout: 500 * time.Millisecond, Total: time.Second})
	if err != nil {
		return nil, err
	}
	return &patience{of: c}, nil
}

func ask[T any](p *patience, question func() (T, error)) (T, error) {
	if p.over.Load() {
		var none T
		return none, errNoDNS
	}
	answer, err := question()
	if err != nil && !dns.IsNotFound(err) {
		p.over.Store(true)
	}
	return answer, err
}

func (p *patience) MX(ctx context.Context, domain string) (dns.MXResult, error) {
	return ask(p, func() (dns.MXResult, error) { return p.of.MX(ctx, domain) })
}

func (p *patience) Addrs(ctx context.Context, host string) (dns.AddrsResult, error) {
	return ask(p, func() (dns.AddrsResult, error) { return p.of.Addrs(ctx, host) })
}

func (p *patience) TXT(ctx context.Context, name string) (dns.TXTResult, error) {
	return ask(p, func() (dns.TXTResult, error) { return p.of.TXT(ctx, name) })
}

func (p *patience) PTR(ctx context.Context, addr netip.Addr) (dns.PTRResult, error) {
	return ask(p, func() (dns.PTRResult, error) { return p.of.PTR(ctx, addr) })
}

func (p *patience) TLSA(ctx context.Context, name string) (dns.TLSAResult, error) {
	return ask(p, func() (dns.TLSAResult, error) { return p.of.TLSA(ctx, name) })
}
