package link

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter"
)

func TestTricks(t *testing.T) {
	for raw, want := range map[string]Trick{
		"https://www.example.com/a?b=c#d":                    0,
		"http://example.com:8080/":                           0,
		"http://日本語.jp/":                                     0,
		"http://example.com%2eevil.example/":                 EscapedHost,
		"http://www.paypal.com@evil.example/":                UserInfo,
		"http://3232235777/":                                 OddAddress,
		"http://0xC0.0250.1.1/":                              OddAddress,
		"http://192.0.2.1/":                                  0,
		"http://[2001:db8::1]/":                              0,
		`http:\\evil.example\x`:                              Backslash,
		"ht\ntp://evil.example/":                             HiddenSpace,
		"http://ｅｖｉｌ.example/":                               WideLetters,
		"http://pаypal.com/":                                 MixedScripts,
		"http://a.example/?u=https%3A%2F%2Fevil.example%2F":  Redirect,
		"http://a.example/?u=https%3A%2F%2Fwww.a.example%2F": 0,
		"javascript:alert(1)":                                Program,
		"http://evil.example:4711/":                          OddPort,
		"http://evil.example/%6c%6F%67in":                    EscapedLetter,
	} {
		u, ok := Parse(raw)
		if !ok || u.Tricks != want {
			t.Errorf("%q: %v, %q; want %q", raw, ok, u.Tricks, want)
		}
	}
}

func TestRegistrable(t *testing.T) {
	for host, want := range map[string]struct {
		domain string
		shared bool
	}{
		"www.example.co.uk":    {"example.co.uk", false},
		"login.evil.pages.dev": {"evil.pages.dev", true},
		"me.weebly.com":        {"me.weebly.com", true},
		"192.0.2.1":            {"192.0.2.1", false},
		"com":                  {"", false},
	} {
		domain, shared := Registrable(host)
		if domain != want.domain || shared != want.shared {
			t.Errorf("%s: %q %v, want %+v", host, domain, shared, want)
		}
	}
}

func TestImitations(t *testing.T) {
	for host, want := range map[string]string{
		"www.paypal.com":            "",
		"paypal.com.evil.example":   "paypal",
		"paypa1-login.example":      "paypal",
		"paypall.example":           "paypal",
		"xn--pypal-4ve.com":         "paypal",
		"secure-chase.example":      "chase",
		"chase.example":             "",
		"ups.example":               "",
		"groups.example":            "",
		"microsoftsupport.example":  "microsoft",
		"rnicrosoft.com":            "microsoft",
		"www.example.org":           "",
		"orange-county.example.gov": "",
		"sreamcommnunlty.com":       "steamcommunity",
		"streamingcommunity.test":   "",
		"steamcommunity.com":        "",
		"wellsfarggo-x.example":     "",
		"bankofamerrica.example":    "bankofamerica",
	} {
		domain, _ := Registrable(host)
		im, _ := ImitatedBy(host, domain)
		if im.Brand != want {
			t.Errorf("%s (%s) imitates %q, want %q", host, domain, im.Brand, want)
		}
	}
	for name, want := range map[string]string{
		"Ann Chase": "", "Chase Online Security": "chase", "PayPal": "paypal", "Wells Fargo": "wellsfargo",
		"Apple Tree Farm": "", "Аmazon.co.jp": "amazon", "Netfl\u200bix": "netflix", "Orange County Register": "",
	} {
		im, _ := NamedBy(name, "example.com")
		if im.Brand != want {
			t.Errorf("%s: %q, want %q", name, im.Brand, want)
		}
	}
}

func check(t *testing.T, text string) map[string]string {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := filter.Pipeline{Filters: []filter.Filter{Filter{}}}
	result := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	found := map[string]string{}
	for _, f := range result.Findings[0] {
		found[f.Symbol] = f.Evidence
	}
	return found
}

func TestFilter(t *testing.T) {
	html := func(from, body string) string {
		return "From: " + from + "\r\nContent-Type: text/html\r\n\r\n" + body
	}
	for _, test := range []struct{ name, text, want string }{
		{"honest", html("Shop <news@shop.example>", `<a href=https://www.shop.example/a>www.shop.example</a>`), ""},
		{"counts clicks", html("Shop <news@shop.example>", `<a href=https://click.esp.example/a?x=1>www.shop.example</a>`), ""},
		{"tracking image", html("Shop <news@shop.example>", `<img src=https://open.esp.example/1.gif width=1 height=1>`), ""},
		{"brand's own", html("PayPal <service@paypal.com>", `<a href=https://epl.paypal-communication.com/x>paypal.com</a>`), ""},
		{"poses as a brand", html("PayPal <a@evil.example>", "x"), "FROM_NAMES_BRAND"},
		{"shows a brand", html("a@evil.example", `<a href=http://evil.example/>https://www.paypal.com/login</a>`), "LINK_SHOWS_BRAND"},
		{"free page", html("a@b.example", `<a href=https://x.pages.dev/>here</a>`), "LINK_SHARED_HOST"},
		{"asks", html("a@b.example", `<form action=//b.example><input type=password></form>`), "HTML_ASKS_PASSWORD HTML_FORM"},
		{"cheap name", html("a@b.example", `<a href=https://go.prize.top/>here</a>`), "LINK_CHEAP_NAME"},
		{"cheap author", html("a@b.icu", `<a href=https://b.icu/>here</a>`), "FROM_CHEAP_NAME"},
		{"no name one could say", html("a@b.example", `<a href=https://dmrpqpnycjeg.com/>here</a>`), "LINK_RANDOM_NAME"},
		{"name of consonants", html("a@b.example", `<a href=https://rhythmandblues.com/ ><a href=https://www.freshrpms.net/>x</a>`), ""},
		{"made for its victim", html("a@b.example", `<a href="https://b.test/x/$YWxleEBpaGlyZS5leGFtcGxl">here</a>`), "LINK_CARRIES_ADDRESS"},
		{"made for its victim, open", html("a@b.example", `<a href="https://b.test/x#alex@c.example">here</a>`), "LINK_CARRIES_ADDRESS"},
		{"counts its reader", html("a@b.example", `<a href="https://b.test/unsubscribe?u=alex@c.example">here</a>`), ""},
		{"blogs of any country", html("a@b.example", `<a href="https://x.blogspot.com.co/">here</a>`), "LINK_SHARED_HOST"},
		{"numeric", html("a@b.example", `<a href=http://192.0.2.1/>here</a>`), "LINK_NUMERIC"},
		{"redirector", html("a@b.example", `<a href="https://www.google.com/url?q=https://x.web.app/">here</a>`), "LINK_REDIRECT LINK_SHARED_HOST"},
	} {
		found := check(t, test.text)
		for _, symbol := range strings.Fields(test.want) {
			if found[symbol] == "" {
				t.Errorf("%s: no %s in %v", test.name, symbol, found)
			}
			delete(found, symbol)
		}
		if len(found) > 0 {
			t.Errorf("%s: also %v", test.name, found)
		}
	}
}

func FuzzInText(f *testing.F) {
	f.Add("see http://a.example/x, www.b.example or c@d.example.")
	f.Fuzz(func(t *testing.T, text string) {
		for _, raw := range InText(text) {
			if u, ok := Parse(raw); ok {
				ImitatedBy(u.Host, u.Domain)
			}
		}
	})
}
