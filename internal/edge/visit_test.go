package edge

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// slowZone is a resolver that takes as long as real ones do.
type slowZone struct{ *dns.Zone }

func (z slowZone) TXT(ctx context.Context, name string) (dns.TXTResult, error) {
	time.Sleep(50 * time.Millisecond)
	return z.Zone.TXT(ctx, name)
}

// TestBlameGoesWhereCreditGoes has a newsletter with SPF and 20 % dead addresses
// come while nobody waits for DNS: its unknown recipients must not be counted
// against another identity than its accepted mail speaks for.
func TestBlameGoesWhereCreditGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone, err := dns.ParseZone("list.test. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n")
		if err != nil {
			t.Fatal(err)
		}
		e := newTest(t, Sizes{Sources: 4096, Identities: 4096})
		g := &Guard{Engine: e, Clock: NewClock(1, 0), Resolver: slowZone{zone}}
		address := func(s string) mail.Address {
			a, err := mail.ParseAddress(s)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		from := address("bounce@list.test")
		for i := range 200 {
			v, _ := g.Open(Client{Remote: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:40000", 1+i%2)), Role: "mx", Looked: true})
			v.Mail(from, 0)
			r := v.Rcpt(t.Context(), address(fmt.Sprintf("u%d@example.test", i)), false)
			switch {
			case r.Reply != nil:
				t.Fatalf("%d was deferred: %+v", i, r.decision)
			case i%10 > 7:
				v.Told(r, Unknown, "")
			default:
				v.Told(r, Exists, "")
				time.Sleep(time.Second)
				v.Accepted(1000)
			}
			v.Close()
			time.Sleep(10 * time.Second)
		}
		for i := range 2 {
			pair := e.Pair(SourceOf(netip.MustParseAddr(fmt.Sprint("192.0.2.", 1+i))), "list.test")
			if s := e.identities.place(pair.Key).find(pair.Key); s != nil && s.bad > 0 {
				t.Errorf("%d unknown recipients are held against %s at the %dth address, evidence %.1f", s.bad, from.Domain, i+1, s.evidence())
			}
		}
	})
}

// slow is a resolver whose answers do not come.
type slow struct {
	dns.Resolver
	asked atomic.Int64
}

func (s *slow) TXT(ctx context.Context, _ string) (dns.TXTResult, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return dns.TXTResult{}, ctx.Err()
}

// TestSPFChecksAreBounded begins transactions without end, each with a sender
// whose zone answers nothing.
func TestSPFChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r := newGuard(t), &slow{}
		g.Resolver = r
		v := visit(t, g, "192.0.2.1")
		for i := range 5 * spfMost {
			v.Mail(mail.MakeAddress("a", mail.Domain(fmt.Sprint("d", i, ".test"))), 0)
			v.Reset()
		}
		synctest.Wait()
		if n := r.asked.Load(); n != spfMost {
			t.Errorf("%d questions at a time", n)
		}
		time.Sleep(spfLimit)
		synctest.Wait()
		v.Mail(mail.MakeAddress("a", "d.test"), 0)
		synctest.Wait()
		if n := r.asked.Load(); n != spfMost+1 {
			t.Errorf("later: %d questions, want one more", n)
		}
		time.Sleep(spfLimit)
	})
}

// TestPassForEverybodyIsNone has domains list the whole address space, in ways
// that leave out what nobody sends from.
func TestPassForEverybodyIsNone(t *testing.T) {
	zone, err := dns.ParseZone(`all.test. TXT "v=spf1 +all"
mute.test. TXT "v=spf1 -ip4:192.0.2.0/24 -ip6:2001:db8::/32 ip4:0.0.0.0/1 ip4:128.0.0.0/1 ip6:::/0"
by.test. TXT "v=spf1 include:all.test -all"
own.test. TXT "v=spf1 ip4:198.51.100.0/24 ip6:2a00:1:2::/48 -all"
`)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(t)
	g.Resolver = zone
	for _, c := range []struct {
		domain mail.Domain
		want   senderauth.SPFResult
		found  Finding
	}{
		{"all.test", senderauth.SPFNone, No},
		{"mute.test", senderauth.SPFNone, No},
		{"by.test", senderauth.SPFNone, No},
		{"own.test", senderauth.SPFPass, Yes},
	} {
		for _, ip := range []string{"198.51.100.7", "::ffff:198.51.100.7", "2a00:1:2::25"} {
			for range 20 {
				v, _ := g.Open(Client{Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 40000), Role: "mx", Looked: true})
				v.Mail(mail.MakeAddress("a", c.domain), 0)
				<-v.spf.done
				r := &Ruling{from: v.from, to: mail.MakeAddress("b", "example.test")}
				v.attempt(r)
				if r.spf != c.want || r.attempt.SPF != c.found || r.attempt.Identity.Proven != (c.found == Yes) {
					t.Fatalf("%s from %s: %q, %v, %q", c.domain, ip, r.spf, r.attempt.SPF, r.identity)
				}
				v.Close()
			}
		}
	}
}

func TestGeneric(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		want       bool
	}{
		{"mx1.example.org", "203.1.1.1", false},
		{"mail2.dc2.example.org", "10.2.2.2", false},
		{"mail-203-0-113-7.isp.test", "203.0.113.7", true},
		{"7.113.0.203.isp.test", "203.0.113.7", true},
		{"p1-1-1.isp.test", "203.1.1.1", true},
		{"host007.113.0.isp.test", "203.0.113.7", true},
		{"99999999999999999999-1-1.isp.test", "203.0.1.1", false},
		{"adsl-pool9.isp.test", "203.0.113.7", true},
		{"", "203.0.113.7", false},
		{"reverb.example.org", "203.0.113.7", false},
		{"liverpool.example.org", "203.0.113.7", false},
		{"dynamics.example.org", "203.0.113.7", false},
		{"web.carpool.example.org", "203.0.113.7", false},
		{"clientele3.example.org", "203.0.113.7", false},
		{"vip-1.example.org", "203.0.113.7", false},
		{"localhost-2.example.org", "203.0.113.7", false},
		{"pool.isp.test", "203.0.113.7", true},
		{"x7.rev.isp.test", "203.0.113.7", true},
		{"cust-a.isp.test", "203.0.113.7", true},
		{"7dyn9.isp.test", "203.0.113.7", true},
		{"b.vdsl2.isp.test", "203.0.113.7", true},
		{"host-9.isp.test", "203.0.113.7", true},
		{"ip-9.isp.test", "203.0.113.7", true},
		{"a-static-ip.isp.test", "203.0.113.7", true},
		{"a.ipv6.isp.test", "2001:db8::1", true},
		{"dialup-a.customers.isp.test", "203.0.113.7", true},
		{"x", "2001:db8::1", false},
	} {
		if got := generic(c.name, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s of %s: %v", c.name, c.addr, got)
		}
	}
}
