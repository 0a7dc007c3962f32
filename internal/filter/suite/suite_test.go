package suite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/filter/dnsbl"
	"github.com/migiwa/migiwa/internal/filter/milter"
	"github.com/migiwa/migiwa/internal/filter/reputation"
)

// With all that they need, all filters are there, in the order that users see.
func TestAllKnownAreMade(t *testing.T) {
	p, err := New(Options{Resolver: &dns.Zone{}, Access: &access.File{}, Channels: []byte("key"), Past: &reputation.Store{}, Confirm: &confirm.Filter{},
		Lists: []dnsbl.List{{Zone: "list.test", Kind: "address", Weight: 1}}, Reports: &digest.Memory{}, Milters: []milter.Server{{Name: "m", Address: "inet:1@localhost"}}})
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, f := range p.Filters {
		made = append(made, f.Name())
	}
	if got, want := strings.Join(made, " "), strings.Join(Names(), " "); got != want {
		t.Errorf("made %s\nknown %s", got, want)
	}
}

// BenchmarkPipeline runs all filters that ask nobody on a letter of 5 KB with
// as much HTML.
func BenchmarkPipeline(b *testing.B) {
	p, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	var text, page strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "Line %d of a letter about the meeting on Tuesday, with words as people write.\r\n", i)
		fmt.Fprintf(&page, "<p>Line %d with <a href=\"https://www.example.com/page%d?x=1\">a link</a>.</p>\r\n", i, i)
	}
	raw := []byte("From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Tuesday\r\nMessage-ID: <1@example.com>\r\n" +
		"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\n" + text.String() + "--b\r\nContent-Type: text/html\r\n\r\n" + page.String() + "--b--\r\n")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := filter.FromBytes(filter.Envelope{}, raw)
		if err != nil {
			b.Fatal(err)
		}
		p.Run(b.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	}
}
