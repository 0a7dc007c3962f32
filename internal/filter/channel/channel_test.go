package channel

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

var secret = []byte("a secret of the installation")

func TestAddress(t *testing.T) {
	ann := mail.MakeAddress("ann", "a.test")
	a, err := Address(secret, ann, "+", "Shop.Example")
	if err != nil || !strings.HasPrefix(a.String(), "ann+shop.example.") || !strings.HasSuffix(a.String(), "@a.test") {
		t.Fatalf("%v, %v", a, err)
	}
	_, detail, _ := strings.Cut(a.Local, "+")
	if name, ok := correspondent(secret, ann.Key(), strings.ToUpper(detail)); !ok || name != "shop.example" {
		t.Errorf("%q, %v", name, ok)
	}
	for _, wrong := range []string{detail[:len(detail)-1] + "?", "other.example" + detail[strings.LastIndexByte(detail, '.'):], "shop.example", "", "lists"} {
		if _, ok := correspondent(secret, ann.Key(), wrong); ok {
			t.Errorf("%q is taken for ours", wrong)
		}
	}
	if _, ok := correspondent(secret, "bob@a.test", detail); ok {
		t.Error("the tag of one account is good for another")
	}
	if _, err := Address(secret, ann, "+", mail.Domain(strings.Repeat("long.", 12)+"example")); !errors.Is(err, ErrNoRoom) {
		t.Errorf("too long: %v", err)
	}
	if _, err := Address(secret, ann, "", "shop.example"); err == nil {
		t.Error("no separator, and no error")
	}
}

func TestFilter(t *testing.T) {
	ann := mail.MakeAddress("ann", "a.test")
	a, _ := Address(secret, ann, "+", "shop.example")
	_, detail, _ := strings.Cut(a.Local, "+")
	proven := func(_ context.Context, m *filter.Message) []string { return m.Header.Values("X-Proven") }
	for _, test := range []struct{ name, header, detail, want string }{
		{"from the shop", "From: x@shop.example\r\nX-Proven: shop.example\r\n", detail, ""},
		{"from below it", "From: x@news.shop.example\r\nX-Proven: mail.shop.example\r\n", detail, ""},
		{"from another", "From: x@spam.example\r\nX-Proven: spam.example\r\n", detail, Foreign},
		{"one who only says so", "From: x@shop.example\r\nX-Proven: spam.example\r\n", detail, Unproven},
		{"no channel", "From: x@spam.example\r\n", "lists", ""},
		{"plain address", "From: x@spam.example\r\n", "", ""},
		{"a tag somebody made up", "From: x@spam.example\r\n", "shop.example.aaaaaaaa", ""},
	} {
		m, err := filter.FromBytes(filter.Envelope{}, []byte(test.header+"\r\nHello.\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		p := filter.Pipeline{Filters: []filter.Filter{&Filter{Secret: secret, Proven: proven}}}
		result := p.Run(t.Context(), m, []filter.Recipient{{Account: ann.Key(), Detail: test.detail}}, func(int, string) bool { return true })
		got := ""
		for _, f := range result.Findings[0] {
			got += f.Symbol
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
