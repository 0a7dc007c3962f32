package authentic

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

const zone = `
a.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.a.test. IN TXT "v=DMARC1; p=reject"
b.test. IN TXT "v=spf1 ip4:192.0.2.1 ~all"
`

// run gives the symbols found and the header field.
func run(t *testing.T, client, from, header string) (symbols, field string) {
	t.Helper()
	z, err := dns.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	z.Failing = []string{"_dmarc.late.test", "late.test"}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		t.Fatal(err)
	}
	m, err := filter.FromBytes(filter.Envelope{Client: netip.MustParseAddr(client), Hello: "x.test", From: sender, Hostname: "mx.here.test"},
		[]byte(header+"\r\n\r\nHello.\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := filter.Pipeline{Filters: []filter.Filter{&Filter{z}}}
	result := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	if len(result.Failures) > 0 {
		t.Fatal(result.Failures)
	}
	var found []string
	for _, f := range result.Findings[0] {
		found = append(found, f.Symbol)
	}
	return strings.Join(found, " "), result.Fields[0][0].Text
}

func TestFilter(t *testing.T) {
	for _, test := range []struct{ name, client, from, header, want, field string }{
		{"proven", "192.0.2.1", "x@a.test", "From: x@a.test", "", "spf=pass smtp.helo=x.test smtp.mailfrom=x@a.test"},
		{"forged envelope and author", "198.51.100.1", "x@a.test", "From: x@a.test", "SPF_FAIL DMARC_FAIL_REJECT", "dmarc=fail header.from=a.test"},
		{"forged author only", "198.51.100.1", "x@none.test", "From: x@a.test", "DMARC_FAIL_REJECT", "sender-id=fail header.from=x@a.test"},
		{"doubtful", "198.51.100.1", "x@b.test", "From: x@b.test", "SPF_SOFTFAIL", "spf=softfail"},
		{"two authors", "192.0.2.1", "x@a.test", "From: x@a.test\r\nFrom: y@b.test", "DMARC_NO_AUTHOR", "dmarc=permerror"},
		{"DNS is silent", "192.0.2.1", "x@late.test", "From: x@late.test", "", "dmarc=temperror"},
		{"broken signature", "192.0.2.1", "x@a.test", "DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AAAA; b=AAAA\r\nFrom: x@a.test", "", "dkim=permerror"},
	} {
		symbols, field := run(t, test.client, test.from, test.header)
		if symbols != test.want {
			t.Errorf("%s: %q, want %q", test.name, symbols, test.want)
		}
		if !strings.HasPrefix(field, "Authentication-Results: mx.here.test;\r\n\t") || !strings.Contains(field, test.field) || !strings.HasSuffix(field, "\r\n") {
			t.Errorf("%s: %q", test.name, field)
		}
	}
}

// What a stranger writes cannot add a result or a field.
func TestFieldCannotBeBrokenOutOf(t *testing.T) {
	_, field := run(t, "192.0.2.1", `"x; dmarc=pass"@none.test`, "From: x@none.test\r\nDKIM-Signature: v=1; a=rsa-sha256; d=a.test; dmarc=pass; s=s; i=\"; dmarc=pass\"@a.test; h=from; bh=AAAA; b=AAAA")
	if strings.Contains(field, "dmarc=pass") && strings.Count(field, "\r\n") > 4 {
		t.Errorf("%q", field)
	}
	for line := range strings.Lines(field) {
		if strings.HasPrefix(strings.TrimSpace(line), "dmarc=pass") {
			t.Errorf("%q", field)
		}
	}
}
