package order

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

func TestBaseSubject(t *testing.T) {
	for _, tt := range []struct {
		subject, base string
		reply         bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE : hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"fw: fwd: re: hello", "hello", true},
		{"[list] hello", "hello", false},
		{"[list] Re: hello", "hello", true},
		{"[list] [more] Re [4]: [x] hello", "hello", true},
		{"[list]", "[list]", false},
		{"[a] [b]", "[b]", false},
		{"Re: [b]", "[b]", true},
		{"Re:", "", true},
		{"hello (fwd)", "hello", true},
		{"hello (FWD) (fwd)  ", "hello", true},
		{"[fwd: hello]", "hello", true},
		{"[Fwd: [fwd: Re: hello (fwd)]]", "hello", true},
		{"[fwd: hello", "[fwd: hello", false},
		{"Re: [fwd: hello] (fwd)", "hello", true},
		{"Reply: hello", "Reply: hello", false},
		{"Ad: Re: x", "Ad: Re: x", false},
		{"a \t b\r\n c", "a b c", false},
		{"[[nested] hello", "[[nested] hello", false},
		{"[x] Re", "Re", false},
		{"Re: 会議 (fwd)", "会議", true},
		{"(fwd)", "", true},
	} {
		base, reply := BaseSubject(tt.subject)
		if base != tt.base || reply != tt.reply {
			t.Errorf("%q: %q, %v; want %q, %v", tt.subject, base, reply, tt.base, tt.reply)
		}
	}
}

func TestBaseSubjectDecoded(t *testing.T) {
	base, reply := BaseSubject(mail.DecodeText("=?iso-2022-jp?B?UmU6IBskQjJxNUQbKEI=?="))
	if base != "会議" || !reply {
		t.Errorf("%q, %v", base, reply)
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: [x] a (fwd)", "[fwd: [fwd: a]]", "[a][b]re[c]:", "\t re : ", "[", "[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := BaseSubject(s)
		if again, reply := BaseSubject(base); again != base || reply {
			t.Fatalf("%q gives %q, and that %q, %v", s, base, again, reply)
		}
		if len(base) > len(s) || strings.ContainsAny(base, "\t\r\n") {
			t.Fatalf("%q gives %q", s, base)
		}
		Collate(base)
	})
}
