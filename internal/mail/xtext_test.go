package mail

import (
	"errors"
	"testing"
	"unicode/utf8"
)

func TestXtext(t *testing.T) {
	for plain, enc := range map[string]string{
		"": "", "abc": "abc", "a+b=c": "a+2Bb+3Dc", "a b": "a+20b", "汀": "+E6+B1+80", "\r\n": "+0D+0A",
	} {
		if got := EncodeXtext(plain); got != enc {
			t.Errorf("%q: %q", plain, got)
		}
		if got, err := DecodeXtext(enc); err != nil || got != plain {
			t.Errorf("%q: %q %v", enc, got, err)
		}
	}
	for _, bad := range []string{"+", "+4", "+G0", "a b", "=", "é", "a\r\n"} {
		if got, err := DecodeXtext(bad); !errors.Is(err, ErrXtext) {
			t.Errorf("%q: %q %v", bad, got, err)
		}
	}
}

func TestAddrXtext(t *testing.T) {
	const addr, enc = "汀+x@例え.jp", `\x{6C40}\x{2B}x@\x{4F8B}\x{3048}.jp`
	if got := EncodeAddrXtext(addr); got != enc {
		t.Error(got)
	}
	if got := EncodeAddrUnitext(addr); got != `汀\x{2B}x@例え.jp` {
		t.Error(got)
	}
	for _, in := range []string{enc, `汀\x{2b}x@例え.jp`} {
		if got, err := DecodeAddrXtext(in); err != nil || got != addr {
			t.Error(in, got, err)
		}
	}
	for _, bad := range []string{`\x`, `\x{`, `\x{}`, `\x{D800}`, `\x{110000}`, `\x{00000041}`, `\y{41}`, "a+b", "a b", "\xff"} {
		if got, err := DecodeAddrXtext(bad); !errors.Is(err, ErrXtext) {
			t.Errorf("%q: %q %v", bad, got, err)
		}
	}
}

func FuzzXtext(f *testing.F) {
	for _, s := range []string{"a+2Bb", "a b", `\x{6C40}`, "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := DecodeXtext(EncodeXtext(s)); err != nil || got != s {
			t.Errorf("%q: %q %v", s, got, err)
		}
		if plain, err := DecodeXtext(s); err == nil {
			if got, err := DecodeXtext(EncodeXtext(plain)); err != nil || got != plain {
				t.Errorf("%q: %q %v", s, got, err)
			}
		}
		if utf8.ValidString(s) {
			for _, enc := range []string{EncodeAddrXtext(s), EncodeAddrUnitext(s)} {
				if got, err := DecodeAddrXtext(enc); err != nil || got != s {
					t.Errorf("%q: %q %v", enc, got, err)
				}
			}
			if !isASCII(EncodeAddrXtext(s)) {
				t.Errorf("%q: not ASCII", s)
			}
		}
	})
}
