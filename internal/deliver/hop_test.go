package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

const zoneText = `
plain.test.      MX 10 mx1.plain.test.
plain.test.      MX 20 mx2.plain.test.
mx1.plain.test.  A 192.0.2.1
mx1.plain.test.  AAAA 2001:db8::1
mx1.plain.test.  A 192.0.2.2
mx2.plain.test.  A 192.0.2.3
a-only.test.     A 192.0.2.4
null.test.       MX 0 .
txt.test.        TXT "no mail"
dead-mx.test.    MX 10 nowhere.test.
down-host.test.  MX 10 mx.down-host.test.
half.test.       MX 10 nowhere.test.
half.test.       MX 20 mx2.plain.test.
self.test.       MX 10 mx.here.test.
self.test.       MX 20 mx2.plain.test.
self-ip.test.    MX 10 other.name.test.
other.name.test. A 198.51.100.9
backup.test.     MX 10 mx1.plain.test.
backup.test.     MX 20 mx.here.test.
backup.test.     MX 20 mx2.plain.test.
backup.test.     MX 30 mx2.plain.test.
mx.here.test.    A 198.51.100.9
`

func TestHops(t *testing.T) {
	z := parseZone(t, zoneText)
	z.Failing = []string{"down.test", "mx.down-host.test"}
	r := &Runner{Resolver: z, Hostname: "mx.here.test", Own: []netip.Addr{netip.MustParseAddr("198.51.100.9")}}
	for _, c := range []struct{ domain, want string }{
		{"plain.test", "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25 192.0.2.3:25"},
		{"a-only.test", "192.0.2.4:25"},
		{"null.test", "556 5.1.10"},
		{"txt.test", "550 5.1.2"},
		{"missing.test", "550 5.1.2"},
		{"dead-mx.test", "451 4.4.4"},
		{"down.test", "451 4.4.3"},
		{"down-host.test", "451 4.4.3"},
		{"half.test", "192.0.2.3:25"},
		{"self.test", "554 5.4.6"},
		{"self-ip.test", "554 5.4.6"},
		{"backup.test", "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25"},
		{"[192.0.2.7]", "192.0.2.7:25"},
		{"[IPv6:2001:db8::7]", "[2001:db8::7]:25"},
		{"[198.51.100.9]", "554 5.4.6"},
	} {
		t.Run(c.domain, func(t *testing.T) {
			hops, err := r.hops(context.Background(), mail.Domain(c.domain), nil)
			var got []string
			for _, h := range hops {
				got = append(got, h.address)
			}
			var reply *mail.Reply
			if errors.As(err, &reply) {
				got = append(got, fmt.Sprintf("%d %s", reply.Code, reply.Enhanced))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: %v, %v; want %s", c.domain, got, err, c.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	var table Table
	err := table.Set([]Route{
		{Pattern: "Example.jp", Address: "a:25"}, {Pattern: ".example.jp", Address: "b:25"},
		{Pattern: ".deep.example.jp", Address: "/run/lmtp", Network: "unix", LMTP: true}, {Pattern: "*", Address: "c:587", TLS: Required, User: "u"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[mail.Domain]string{
		"example.jp": "smtp:@a:25", "x.example.jp": "smtp:@b:25", "deep.example.jp": "smtp:@b:25", "a.b.example.jp": "smtp:@b:25",
		"x.deep.example.jp": "lmtp:@/run/lmtp", "other.jp": "smtp:u@c:587", "[192.0.2.1]": "smtp:u@c:587",
	} {
		if got := table.Name(domain); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	for _, bad := range []Route{
		{Pattern: "x", Address: "nohost"}, {Pattern: "x", Address: "h:99999"}, {Pattern: "x", Address: "h:25", TLS: "maybe"},
		{Pattern: "x", Address: "h:25", Verify: true}, {Pattern: "x", Address: "h:25", User: "u"},
		{Pattern: "x", Address: "/sock", Network: "unix"},
	} {
		if err := table.Set([]Route{bad}); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if table.Name("example.jp") != "smtp:@a:25" {
		t.Error("a bad table replaced the good one")
	}
}
