package aggregate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

func TestDestinations(t *testing.T) {
	for rua, want := range map[string]string{
		"mailto:d@a.test": "d@a.test",
		" mailto:d@a.test!10m|MAILTO:e%2Bx@b.test!20":                                            "d@a.test e+x@b.test",
		"https://a.test/report|mailto:|mailto:x|d@a.test|mailto:x@[192.0.2.1]|mailto:%zz@a.test": "",
		"mailto:d%21e@a.test":                "d!e@a.test",
		"mailto:d@a.test|mailto:d@A.test!1m": "d@a.test",
		"mailto:1@a.test|mailto:2@a.test|mailto:3@a.test|mailto:4@a.test|mailto:5@a.test|mailto:6@a.test": "1@a.test 2@a.test 3@a.test 4@a.test 5@a.test",
	} {
		got := strings.Trim(fmt.Sprint(Destinations(strings.Split(rua, "|"))), "[]")
		if got != want {
			t.Errorf("%s: %q, want %q", rua, got, want)
		}
	}
}

func TestAgreed(t *testing.T) {
	zone, err := dns.ParseZone(`
a.example.com._report._dmarc.reports.test. IN TXT "v=DMARC1;"
b.example.com._report._dmarc.reports.test. IN TXT "v=spf1 -all"
d.example.com._report._dmarc.reports.test. IN TXT " v = DMARC1 ; rua=mailto:y@reports.test,mailto:z@evil.test"
e.example.com._report._dmarc.reports.test. IN TXT "v=DMARC1; rua=mailto:z@evil.test"
`)
	if err != nil {
		t.Fatal(err)
	}
	zone.Failing = []string{"late.example.com._report._dmarc.reports.test"}
	for _, c := range []struct{ domain, to, want string }{
		{"a.example.com", "x@reports.test", "x@reports.test"},
		{"b.example.com", "x@reports.test", ""},
		{"c.example.com", "x@reports.test", ""},
		{"c.example.com", "x@other.example.com", "x@other.example.com"},
		{"d.example.com", "x@reports.test", "y@reports.test"},
		{"e.example.com", "x@reports.test", ""},
	} {
		to, err := mail.ParseAddress(c.to)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Agreed(t.Context(), zone, c.domain, to)
		if s := strings.Trim(fmt.Sprint(got), "[]"); s != c.want || err != nil {
			t.Errorf("%s about %s: %v %v", c.to, c.domain, got, err)
		}
	}
	to, _ := mail.ParseAddress("x@reports.test")
	if got, err := Agreed(t.Context(), zone, "late.example.com", to); len(got) > 0 || err == nil {
		t.Errorf("without an answer: %v %v", got, err)
	}
}
