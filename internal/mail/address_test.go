package mail

import (
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("b", 61)+".", 3) + "jpn"
	for _, c := range []struct{ in, local, domain string }{
		{"User@Example.JP", "User", "example.jp"},
		{`"a b"@example.jp`, "a b", "example.jp"},
		{`"a\"b\\"@example.jp`, `a"b\`, "example.jp"},
		{`"a@b"@example.jp`, "a@b", "example.jp"},
		{`"\a"@example.jp`, "a", "example.jp"},
		{"postmaster", "postmaster", ""},
		{"PostMaster", "PostMaster", ""},
		{"u@[192.0.2.1]", "u", "[192.0.2.1]"},
		{"u@[IPv6:2001:DB8::1]", "u", "[IPv6:2001:db8::1]"},
		{"u@[ipv6:::ffff:192.0.2.1]", "u", "[IPv6:::ffff:192.0.2.1]"},
		{"u@_dmarc.example.jp", "u", "_dmarc.example.jp"},
		{"u@r3---sn-abc.example.jp", "u", "r3---sn-abc.example.jp"},
		{"u@ab--cd.example", "u", "ab--cd.example"},
		{"u@1and1.example", "u", "1and1.example"},
		{"u@日本語.jp", "u", "xn--wgv71a119e.jp"},
		{"u@XN--WGV71A119E.jp", "u", "xn--wgv71a119e.jp"},
		{"u@ｅｘａｍｐｌｅ．ｊｐ", "u", "example.jp"},
		{"u@日本語。jp", "u", "xn--wgv71a119e.jp"},
		{"u@faß.de", "u", "xn--fa-hia.de"},
		{"汀@example.jp", "汀", "example.jp"},
		{`"汀 "@example.jp`, "汀 ", "example.jp"},
		{strings.Repeat("v", 100) + "@example.jp", strings.Repeat("v", 100), "example.jp"},
		{long, long[:64], long[65:]},
	} {
		a, err := ParseAddress(c.in)
		if err != nil || a.Local != c.local || string(a.Domain) != c.domain || a.Wire != c.in {
			t.Errorf("%q: %+v, %v", c.in, a, err)
		}
	}
	for _, in := range []string{
		"", "@", "a@", "@b", "a", "a@b@c", ".a@b", "a.@b", "a..b@c", "a b@c", `"a@b`, `""@b`, `"a"b@c`, "a@b.", "a@b。", "a@.b", "a@b..c",
		"a@。b", "a@-b.jp", "a@b-.jp", "a@b c", "a@b!c", "a@[1.2.3]", "a@[1.2.3.4", "a@[IPv6:1.2.3.4]", "a@[IPv6:fe80::1%eth0]",
		"a@[01.2.3.4]", "a@[x:y]", "a\x00@b", "a\r\n@b", "\"a\r\n\"@b", "\"a\x7f\"@b", "a\xff@b", "a\u0085@b", "a@xn--a.jp", "a@xn--.jp",
		"a@xn--example-.jp", "a@" + strings.Repeat("b", 64) + ".jp", long + "x", "a＠b.jp", "<a@b>", "a@b/c", "a@b\u200d.jp", "a@日本\u0000語.jp",
	} {
		if a, err := ParseAddress(in); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: taken as %+v, %v", in, a, err)
		}
	}
	if len(long) != MaxPath {
		t.Error("the long address is not at the limit:", len(long))
	}
}

func TestParseDomain(t *testing.T) {
	for in, want := range map[string]Domain{"Example.JP.": "example.jp", "localhost": "localhost", "[192.0.2.1]": "[192.0.2.1]"} {
		if d, err := ParseDomain(in); err != nil || d != want {
			t.Errorf("%q: %q, %v", in, d, err)
		}
	}
	for _, in := range []string{"", ".", "..", "a..", "a b"} {
		if d, err := ParseDomain(in); err == nil {
			t.Errorf("%q: %q", in, d)
		}
	}
	if u := Domain("xn--wgv71a119e.jp").Unicode(); u != "日本語.jp" {
		t.Error(u)
	}
}

func TestAddressKey(t *testing.T) {
	for _, same := range [][]string{
		{"User@Example.jp", `"user"@EXAMPLE.JP`, "ｕｓｅｒ@example.jp", "user@ｅｘａｍｐｌｅ.jp", `"us\er"@example。jp`},
		{"u@日本語.jp", "U@xn--wgv71a119e.JP", "u@日本語。ＪＰ"},
		{"がぎ@example.jp", "か\u3099き\u3099@example.jp", "ｶﾞｷﾞ@example.jp"},
		{"É@example.jp", "e\u0301@example.jp"},
	} {
		if strings.HasPrefix(same[0], "が") {
			same = same[:2] // kana and katakana are different letters
		}
		for _, in := range same {
			a, err := ParseAddress(in)
			b, _ := ParseAddress(same[0])
			if err != nil || a.Key() != b.Key() {
				t.Errorf("%q: %q is not %q (%v)", in, a.Key(), b.Key(), err)
			}
		}
	}
	if (Address{}).Key() != "" || (Address{}).Path() != "<>" {
		t.Error("null sender")
	}
}

type departure struct {
	accept bool
	why    string
}

// departures are isemail cases where migiwa departs from the grammar of
// RFC 5321, with the reason.
var departures = map[string]departure{
	`""@iana.org`:  {false, "an empty local part names nobody, and its key would be that of a whole domain"},
	`""@[1.2.3.4]`: {false, "as before"},
	// By diagnosis:
	"ISEMAIL_RFC5322_LOCAL_TOOLONG":  {true, "bounce addresses are longer than 64 octets in practice; see MaxLocal"},
	"ISEMAIL_RFC5321_IPV6DEPRECATED": {true, "\"::\" for one group is unusual but clear (RFC 4291)"},
	"test@[RFC-5322-domain-literal]": {false, "no standardised tag: nothing could be delivered there"},
}

// TestIsemail runs the isemail cases. The SMTP grammar is met by addresses of
// the categories that isemail calls valid, valid with a DNS warning, and valid
// for SMTP with unusual elements.
func TestIsemail(t *testing.T) {
	path := filepath.Join(testData(t, "03-smtp/isemail-addresses"), "test", "tests.xml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Tests []struct {
			ID        int    `xml:"id,attr"`
			Address   string `xml:"address"`
			Category  string `xml:"category"`
			Diagnosis string `xml:"diagnosis"`
		} `xml:"test"`
	}
	if err := xml.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	agree, depart := 0, 0
	for _, c := range set.Tests {
		in := strings.Map(func(r rune) rune {
			if r >= 0x2400 && r < 0x2420 {
				return r - 0x2400
			}
			return r
		}, c.Address)
		want := slices.Contains([]string{"ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321"}, c.Category)
		d, known := departures[in]
		if !known {
			d, known = departures[c.Diagnosis]
		}
		if known {
			depart++
			want = d.accept
		}
		_, err := ParseAddress(in)
		if (err == nil) != want {
			t.Errorf("%d %q %s: %v", c.ID, in, c.Diagnosis, err)
		} else if !known {
			agree++
		}
	}
	t.Logf("%d cases: %d as the grammar, %d justified departures", len(set.Tests), agree, depart)
	if len(set.Tests) < 100 {
		t.Error("too few cases")
	}
}

func TestParsePath(t *testing.T) {
	for _, c := range []struct{ in, wire, rest string }{
		{"<>", "", ""},
		{"<> BODY=8BITMIME", "", " BODY=8BITMIME"},
		{"<a@b.jp> SIZE=1", "a@b.jp", " SIZE=1"},
		{"<@x.jp:a@b.jp>", "a@b.jp", ""},
		{"<@x.jp,@[192.0.2.1],@[IPv6:::1]:a@b.jp>z", "a@b.jp", "z"},
		{`<"a>b"@b.jp> X`, `"a>b"@b.jp`, " X"},
		{"<Postmaster>", "Postmaster", ""},
		{"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""},
	} {
		a, rest, err := ParsePath(c.in)
		if err != nil || a.Wire != c.wire || rest != c.rest {
			t.Errorf("%q: %+v %q %v", c.in, a, rest, err)
		}
	}
	for _, in := range []string{"", "a@b", " <a@b>", "<a@b", "< a@b>", "<a@b >", "<@x>", "<@x:>", "<@:a@b>", "<@x,:a@b>", "<@x,y:a@b>", "<@x a@b>",
		"<<a@b>>", `<"a@b>`, "<a>", "<@[::1:a@b>", "<@[1.2.3.4]x:a@b>"} {
		if a, rest, err := ParsePath(in); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %+v %q %v", in, a, rest, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.jp", `"a b\""@例え.jp`, "u@[IPv6:::1]", "İ@ｅ。jp", "<@a:b@c>d", `"ß\\"@xn--wgv71a119e.jp`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, rest, err := ParsePath(s); err == nil && !strings.HasSuffix(s, a.Wire+">"+rest) {
			t.Errorf("path %q: %q %q", s, a.Wire, rest)
		}
		if d, err := ParseDomain(s); err == nil {
			if again, err := ParseDomain(string(d)); err != nil || again != d {
				t.Errorf("domain %q: %q, then %q %v", s, d, again, err)
			}
			if back, err := ParseDomain(d.Unicode()); err != nil || back != d {
				t.Errorf("domain %q: %q, as Unicode %q, back %q %v", s, d, d.Unicode(), back, err)
			}
		}
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if b, err := ParseAddress(a.Wire); err != nil || a != b {
			t.Errorf("%q: %+v, then %+v %v", s, a, b, err)
		}
		made := MakeAddress(a.Local, a.Domain)
		if len(made.Wire) <= MaxPath {
			if b, err := ParseAddress(made.Wire); err != nil || b != made || b.Key() != a.Key() {
				t.Errorf("%q: made %+v, parsed %+v %v", s, made, b, err)
			}
		}
		if n := NormalLocal(a.Local); NormalLocal(n) != n {
			t.Errorf("local %q: %q, then %q", a.Local, n, NormalLocal(n))
		}
		if strings.ContainsAny(a.Wire, "\r\n\x00") {
			t.Errorf("control characters in %q", a.Wire)
		}
	})
}
