package mail

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseAddressList(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // group/name/wire
		bad  bool
	}{
		{"", nil, false},
		{" , ,", nil, false},
		{"a@b.jp", []string{"//a@b.jp"}, false},
		{"<a@b.jp>", []string{"//a@b.jp"}, false},
		{"Foo Bar <a@b.jp>, c@d.jp", []string{"/Foo Bar/a@b.jp", "//c@d.jp"}, false},
		{`"Bar, Foo" <a@b.jp>`, []string{"/Bar, Foo/a@b.jp"}, false},
		{`"a \"q\" b" <a@b.jp>`, []string{`/a "q" b/a@b.jp`}, false},
		{"a@b.jp (Foo (Bar))", []string{"/Foo (Bar)/a@b.jp"}, false},
		{"(x) Foo (y) <a@b.jp> (z)", []string{"/Foo/a@b.jp"}, false},
		{"J. Q. Doe <a@b.jp>", []string{"/J. Q. Doe/a@b.jp"}, false},
		{"me@x.jp <a@b.jp>", []string{"/me@x.jp/a@b.jp"}, false},
		{"=?utf-8?B?5rGA?= <a@b.jp>", []string{"/汀/a@b.jp"}, false},
		{`"=?utf-8?B?5rGA?=" <a@b.jp>`, []string{"/汀/a@b.jp"}, false},
		{"=?iso-2022-jp?B?GyRCRnw=?=\r\n =?iso-2022-jp?B?S1wbKEI=?= <a@b.jp>", []string{"/日本/a@b.jp"}, false},
		{"渚 <汀@例え.jp>", []string{"/渚/汀@例え.jp"}, false},
		{"Team: a@b.jp, X <c@d.jp>;, e@f.jp", []string{"Team//a@b.jp", "Team/X/c@d.jp", "//e@f.jp"}, false},
		{"undisclosed-recipients:;", nil, false},
		{"a@b.jp; c@d.jp", []string{"//a@b.jp", "//c@d.jp"}, false},
		{"<@x.jp,@y.jp:a@b.jp>, c@d.jp", []string{"//a@b.jp", "//c@d.jp"}, false},
		{"a . b @ c . jp", []string{"//a.b@c.jp"}, false},
		{"a(x)@(y)b.jp", []string{"/x/a@b.jp"}, false},
		{`"a b"@c.jp`, []string{`//"a b"@c.jp`}, false},
		{"foo..bar.@docomo.example", []string{`//"foo..bar."@docomo.example`}, false},
		{"a@[192.0.2.1]", []string{"//a@[192.0.2.1]"}, false},
		{"Foo\r\n\t<a@b.jp>,\r\n c@d.jp", []string{"/Foo/a@b.jp", "//c@d.jp"}, false},
		{"nobody, a@b.jp", []string{"//a@b.jp"}, true},
		{"<>, a@b.jp", []string{"//a@b.jp"}, true},
		{"a b@c.jp, d@e.jp", []string{"//d@e.jp"}, true},
		{"a@b@c.jp", nil, true},
		{`"open <a@b.jp>, c@d.jp`, []string{"/\"open/a@b.jp", "//c@d.jp"}, false},
		{"Foo (open <a@b.jp>", []string{"/Foo (open/a@b.jp"}, false},
		{"Foo <a@b.jp, c@d.jp", []string{"/Foo/a@b.jp", "//c@d.jp"}, false},
	} {
		list, err := ParseAddressList(c.in)
		var got []string
		for _, a := range list {
			got = append(got, a.Group+"/"+a.Name+"/"+a.Address.Wire)
		}
		if !slices.Equal(got, c.want) || (err != nil) != c.bad || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
}

func TestRewriteAddresses(t *testing.T) {
	masquerade := func(a Address) (Address, bool) {
		if a.Domain != "host.example.jp" {
			return a, false
		}
		return MakeAddress(a.Local, "example.jp"), true
	}
	for in, want := range map[string]string{
		"a@host.example.jp": "a@example.jp",
		" =?utf-8?B?5rGA?= <Au@HOST.example.jp> (c),\r\n\t\"x, y\" <b@other.jp>, c@host.example.jp (a@host.example.jp)\r\n": " =?utf-8?B?5rGA?= <Au@example.jp> (c),\r\n\t\"x, y\" <b@other.jp>, c@example.jp (a@host.example.jp)\r\n",
		"G: \"q q\"@host.example.jp;":     "G: \"q q\"@example.jp;",
		"garbage <<>,, a@host.example.jp": "garbage <<>,, a@example.jp",
		"":                                "",
	} {
		if got := RewriteAddresses(in, masquerade); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	whole := func(a Address) (Address, bool) { return MakeAddress("x y", "z.jp"), true }
	if got := RewriteAddresses("N <a@b.jp>, c@d.jp", whole); got != `N <"x y"@z.jp>, "x y"@z.jp` {
		t.Error(got)
	}
}

func TestHeaderAddressString(t *testing.T) {
	a, _ := ParseAddress("a@b.jp")
	for name, want := range map[string]string{
		"": "a@b.jp", "Foo": "Foo <a@b.jp>", "Foo, Bar": `"Foo, Bar" <a@b.jp>`, "汀": "=?utf-8?B?5rGA?= <a@b.jp>", "x\r\nBcc: y": `"x  Bcc: y" <a@b.jp>`,
	} {
		if got := (HeaderAddress{Name: name, Address: a}).String(); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func TestAddressListIsLinear(t *testing.T) {
	for _, unit := range []string{"(", "\"", "[", "\\\"", "<", ":", "a@b.jp,", "@:", "(\\", ";", "a ", ".", "<@x,", "=?utf-8?Q?x?= "} {
		start := time.Now()
		ParseAddressList(strings.Repeat(unit, 1<<16/len(unit)))
		ParseAddressList("a@" + strings.Repeat(unit, 1<<16/len(unit)))
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%q: %v", unit, d)
		}
	}
}

func TestAddressListBounds(t *testing.T) {
	list, err := ParseAddressList(strings.Repeat("a@b.jp,", maxAddresses+5))
	if len(list) != maxAddresses || !errors.Is(err, ErrAddress) {
		t.Error(len(list), err)
	}
	list, err = ParseAddressList(strings.Repeat("a ", maxElement+5) + "<a@b.jp>, c@d.jp")
	if len(list) != 1 || list[0].Address.Wire != "c@d.jp" || !errors.Is(err, ErrAddress) {
		t.Error(list, err)
	}
}

func FuzzAddressList(f *testing.F) {
	for _, s := range []string{"Foo <a@b.jp>, (x) c@d (y)", `G: "a b"@c, =?utf-8?B?5rGA?= <@r:d@e>;`, "\"(<[", "a . b @ [1.2.3.4]", "汀@例え.jp", strings.Repeat("0", 251) + "@0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, _ := ParseAddressList(s)
		last := 0
		for _, a := range list {
			if a.Start < last || a.Host <= a.Start || a.End <= a.Host || a.End > len(s) {
				t.Fatalf("%q: positions %+v", s, a)
			}
			last = a.End
			if _, err := ParseAddress(a.Address.Wire); err != nil {
				t.Errorf("%q: %v", s, err)
			}
			again, err := ParseAddressList(a.String())
			if err != nil || len(again) != 1 || again[0].Address != a.Address {
				t.Errorf("%q: wrote %q, read %+v %v", s, a.String(), again, err)
			}
		}
		if got := RewriteAddresses(s, func(a Address) (Address, bool) { return a, true }); got != s {
			t.Errorf("%q: %q", s, got)
		}
		if slices.ContainsFunc(list, func(a HeaderAddress) bool { return len(MakeAddress(a.Address.Local, "x.jp").Wire) > MaxPath }) {
			return
		}
		now, _ := ParseAddressList(RewriteAddresses(s, func(a Address) (Address, bool) { return MakeAddress(a.Local, "x.jp"), true }))
		if len(now) != len(list) {
			t.Errorf("%q: %d addresses, then %d", s, len(list), len(now))
		}
	})
}
