package filter

import (
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

func found(filter string, score float64) Finding {
	return Finding{filter, mail.Finding{Symbol: "X", Score: score}}
}

// only gives one filter a mode and all others another.
func only(filter string, mode, others Mode) func(string) Mode {
	return func(f string) Mode {
		if f == filter {
			return mode
		}
		return others
	}
}

func TestDecide(t *testing.T) {
	junk := func(string) Mode { return Junk }
	for _, test := range []struct {
		name     string
		findings []Finding
		mode     func(string) Mode
		want     Mode
	}{
		{"nothing found", nil, junk, Nothing},
		{"below the bar", []Finding{found("link", 5)}, junk, Label},
		{"bar", []Finding{found("link", 4), found("senderauth", 2)}, junk, Junk},
		{"words alone", []Finding{found("content", 6), found("learned", 3)}, junk, Label},
		{"words alone, many", []Finding{found("content", 8), found("learned", 3)}, junk, Junk},
		{"words and a place", []Finding{found("content", 4), found("link", 2)}, junk, Junk},
		{"honest signs count", []Finding{found("link", 7), found("access", -5)}, junk, Label},
		{"who is allowed is so wherever", []Finding{found("link", 7), found("access", -10)}, only("link", Junk, Label), Label},
		{"honest words count only for those who may act", []Finding{found("link", 7), found("learned", -5)}, only("link", Junk, Label), Junk},
		{"who is off allows nobody", []Finding{found("link", 7), found("access", -10)}, only("link", Junk, Nothing), Junk},
		{"sure, but only junk is allowed", []Finding{found("virus", 100)}, junk, Junk},
		{"sure", []Finding{found("virus", 100)}, func(string) Mode { return Quarantine }, Quarantine},
		{"sure and tempfail", []Finding{found("virus", 100)}, func(string) Mode { return Tempfail }, Tempfail},
		{"only label", []Finding{found("virus", 100)}, func(string) Mode { return Label }, Label},
		{"only log", []Finding{found("virus", 100)}, func(string) Mode { return Nothing }, Nothing},
		{"filters that may not act do not help others over the bar", []Finding{found("link", 5), found("dnsbl", 5)},
			func(f string) Mode {
				if f == "dnsbl" {
					return Label
				}
				return Junk
			}, Label},
	} {
		if got := Decide(test.findings, test.mode); got.Action != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestModesAreWords(t *testing.T) {
	for i, word := range Modes() {
		m, err := ParseMode(word)
		if err != nil || m != Mode(i) || m.String() != word {
			t.Errorf("%s: %v %v", word, m, err)
		}
	}
	if _, err := ParseMode("on"); err == nil {
		t.Error(`"on" is a mode`)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		findings []Finding
		want     string
	}{
		{nil, "clean"}, {[]Finding{found("link", 4)}, "suspect"}, {[]Finding{found("link", 6)}, "spam"},
		{[]Finding{{"virus", mail.Finding{Symbol: "VIRUS", Score: 100}}}, "virus"},
	} {
		if got, _ := Verdict(test.findings); got != test.want {
			t.Errorf("%v: %s, want %s", test.findings, got, test.want)
		}
	}
}
