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
		"mailto:d%21e@a.test": "d!e@a.test",
		"mailto:1@a.test|mailto:2@a.test|mailto:3@a.test|mailto:4@a.test|mailto:5@a.test|mailto:6@a.test": "1@a.test 2@a.test 3@a.test 4@a.test 5@a.test",
	} {
		got := strings.Trim(fmt.Sprint(Destinations(strings.Split(rua, "|"))), "[]")
		if got != want {
			t.Errorf("%s: %q, want %q", rua, got, want)
		}
	}
}

func TestAgrees(t *testing.T) {
	zone, err := dns.ParseZone(`
a.example.com._report._dmarc.reports.test. IN TXT "v=DMARC1;"
b.example.com._report._dmarc.reports.test. IN TXT "v=spf1 -all"
*._report._dmarc.all.test. IN TXT " v = DMARC1 "
`)
	if err != nil {
		t.Fatal(err)
	}
	zone.Failing = []string{"late.example.com._report._dmarc.reports.test"}
	for _, c := range []struct {
		domain, to string
		want       bool
	}{
		{"a.example.com", "x@reports.test", true},
		{"b.example.com", "x@reports.test", false},
		{"c.example.com", "x@reports.test", false},
		{"c.example.com", "x@other.example.com", true},
	} {
		to, err := mail.ParseAddress(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Agrees(t.Context(), zone, c.domain, to); got != c.want || err != nil {
			t.Errorf("%s about %s: %v %v", c.to, c.domain, got, err)
		}
	}
	to, _ := mail.ParseAddress("x@reports.test")
	if ok, err := Agrees(t.Context(), zone, "late.example.com", to); ok || err == nil {
		t.Errorf("without an answer: %v %v", ok, err)
	}
}
