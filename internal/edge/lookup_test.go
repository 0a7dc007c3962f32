package edge

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// deaf is a resolver whose servers are gone: it answers when it is told to stop.
type deaf struct{}

func (deaf) MX(ctx context.Context, _ string) (dns.MXResult, error) {
	<-ctx.Done()
	return dns.MXResult{}, ctx.Err()
}

func (deaf) Addrs(ctx context.Context, _ string) (dns.AddrsResult, error) {
	<-ctx.Done()
	return dns.AddrsResult{}, ctx.Err()
}

func (deaf) TXT(ctx context.Context, _ string) (dns.TXTResult, error) {
	<-ctx.Done()
	return dns.TXTResult{}, ctx.Err()
}

func (deaf) PTR(ctx context.Context, _ netip.Addr) (dns.PTRResult, error) {
	<-ctx.Done()
	return dns.PTRResult{}, ctx.Err()
}

func (deaf) TLSA(ctx context.Context, _ string) (dns.TLSAResult, error) {
	<-ctx.Done()
	return dns.TLSAResult{}, ctx.Err()
}

// TestWithoutDNS has clients come while nobody answers questions. In calm times
// no decision waits; where an answer could help the client, the first one of a
// transaction waits for LookupWait; and who guesses is held all the same.
func TestWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 700 * time.Millisecond
		e := newTest(t, Sizes{Sources: 1 << 14})
		g := &Guard{Engine: e, Clock: NewClock(1, 0), Resolver: deaf{}, LookupWait: wait}
		// rcpt asks for one recipient and gives the time that took.
		rcpt := func(v *Visit, name string) (*Ruling, time.Duration) {
			start := time.Now()
			r := v.Rcpt(t.Context(), mail.MakeAddress(name, "here.test"), false)
			return r, time.Since(start)
		}
		visit := func(ip string) *Visit {
			addr := netip.MustParseAddr(ip)
			v, reply := g.Open(Client{Remote: netip.AddrPortFrom(addr, 4000), Role: "mx", Name: dns.Confirm(deaf{}, addr, 5*time.Second)})
			if reply != nil {
				t.Fatal(reply)
			}
			v.Mail(mail.MakeAddress("a", "sender.test"), 0)
			return v
		}

		v := visit("198.51.100.1")
		if r, took := rcpt(v, "alice"); r.Reply != nil || took != 0 {
			t.Errorf("in calm times: %v after %v", r.decision.Why, took)
		}
		v.Close()

		answered := 0
		for i := range 30 {
			v := visit("203.0.113.9")
			r, _ := rcpt(v, fmt.Sprint("guess", i))
			if r.Reply == nil {
				answered++
				v.Told(r, Unknown, "")
			}
			v.Close()
		}
		if answered == 0 || answered > 6 {
			t.Errorf("%d of 30 guesses were answered", answered)
		}

		stormy(e, 10, g.Clock.Now())
		v = visit("192.0.2.7")
		for i, want := range []time.Duration{wait, 0, 0} {
			if r, took := rcpt(v, fmt.Sprint("r", i)); r.Reply == nil || took != want {
				t.Errorf("recipient %d in a storm: %v after %v, want %v", i, r.decision.Why, took, want)
			}
		}
		v.Close()
		time.Sleep(10 * time.Second) // look-ups end by their own limits
	})
}
