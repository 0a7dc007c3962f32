package senderauth

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

const spfZone = `
good.test.      TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
mx.test.        TXT "v=spf1 mx ~all"
mx.test.        MX 10 m.mx.test.
m.mx.test.      A 198.51.100.1
names.test.     TXT "v=spf1 ptr:names.test -all"
1.113.0.203.in-addr.arpa. PTR a.names.test.
a.names.test.   A 203.0.113.1
twice.test.     TXT "v=spf1 -all"
twice.test.     TXT "v=spf1 +all"
slow.test.      TXT "v=spf1 include:failing.test -all"
failing.test.   TXT "v=spf1 +all"
none.test.      A 192.0.2.1
helo.test.      TXT "v=spf1 ip4:192.0.2.9 -all"
`

func TestCheckSPF(t *testing.T) {
	zone, err := dns.ParseZone(spfZone)
	if err != nil {
		t.Fatal(err)
	}
	zone.Failing = []string{"failing.test"}
	for _, c := range []struct {
		client, helo, from string
		want               SPFResult
	}{
		{"192.0.2.7", "h.test", "a@good.test", SPFPass},
		{"::ffff:192.0.2.7", "h.test", "a@good.test", SPFPass},
		{"2001:db8::5", "h.test", "a@good.test", SPFPass},
		{"198.51.100.7", "h.test", "a@good.test", SPFFail},
		{"198.51.100.1", "h.test", "a@mx.test", SPFPass},
		{"198.51.100.2", "h.test", "a@mx.test", SPFSoftFail},
		{"203.0.113.1", "h.test", "a@names.test", SPFPass},
		{"203.0.113.2", "h.test", "a@names.test", SPFFail},
		{"192.0.2.1", "h.test", "a@twice.test", SPFPermError},
		{"192.0.2.1", "h.test", "a@slow.test", SPFTempError},
		{"192.0.2.1", "h.test", "a@none.test", SPFNone},
		{"192.0.2.1", "h.test", "a@gone.test", SPFNone},
		{"192.0.2.9", "helo.test", "", SPFPass},
		{"192.0.2.8", "helo.test", "", SPFFail},
	} {
		var from mail.Address
		if c.from != "" {
			if from, err = mail.ParseAddress(c.from); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if got := CheckSPF(ctx, zone, netip.MustParseAddr(c.client), c.helo, from); got != c.want {
			t.Errorf("%s from %s, HELO %s: %s, want %s", c.from, c.client, c.helo, got, c.want)
		}
		cancel()
	}
}
