package edge

import (
	"net/netip"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// TestEventsTellTheWholeAttempt: what a visit decided is decided anew from its
// event. Otherwise a replay would judge somebody else.
func TestEventsTellTheWholeAttempt(t *testing.T) {
	zone, err := dns.ParseZone(`$ORIGIN .
7.2.0.192.in-addr.arpa. 60 IN PTR mail.good.test.
mail.good.test. 60 IN A 192.0.2.7
9.2.0.192.in-addr.arpa. 60 IN PTR 192-0-2-9.dyn.isp.test.
192-0-2-9.dyn.isp.test. 60 IN A 192.0.2.9
good.test. 60 IN TXT "v=spf1 ip4:192.0.2.7 -all"
`)
	if err != nil {
		t.Fatal(err)
	}
	e := newTest(t, Sizes{Sources: 4096})
	g := &Guard{Engine: e, Clock: startAt(future), Resolver: zone}
	for _, c := range []struct {
		ip, from string
		named    Finding
		spf      Finding
		proven   bool
	}{
		{"192.0.2.7", "Info@Good.test", Yes, Yes, true},
		{"192.0.2.7", "", Yes, Open, true},
		{"192.0.2.8", "", No, Open, false},
		{"192.0.2.9", "info@good.test", No, No, false},
		{"192.0.2.9", `"a at b"@other.test`, No, No, false},
		{"2001:db8::25", "info@other.test", No, No, false},
	} {
		client := Client{Role: "mx", Trace: "t", Remote: netip.AddrPortFrom(netip.MustParseAddr(c.ip), 4567)}
		client.Name = dns.Confirm(zone, client.Remote.Addr(), time.Second)
		<-client.Name.Done()
		v, _ := g.Open(client)
		v.Hello("mail.good.test")
		var from mail.Address
		if c.from != "" {
			if from, err = mail.ParseAddress(c.from); err != nil {
				t.Fatal(err)
			}
		}
		to, _ := mail.ParseAddress("User@Here.test")
		v.Mail(from, 0)
		if v.spf != nil {
			<-v.spf.done
		}
		r := v.Rcpt(t.Context(), to, false)
		ev := r.about
		ev.Kind, ev.From, ev.To, ev.Time = event.Rcpt, from.Path(), to.String(), time.Unix(int64(r.attempt.Time), 0)
		r.Describe(&ev)
		a, ok := e.Recorded(&ev)
		if !ok || a != r.attempt {
			t.Errorf("%s %q: recorded as %+v, was %+v; event %+v", c.ip, c.from, a, r.attempt, ev)
		}
		if a.Named != c.named || a.SPF != c.spf || a.Identity.Proven != c.proven {
			t.Errorf("%s %q: named %v, SPF %v, identity %+v", c.ip, c.from, a.Named, a.SPF, a.Identity)
		}
		v.Close()
	}
}
