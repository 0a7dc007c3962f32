package search

import (
	"bufio"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// decoder reads a command from text; literals are taken as they come.
func decoder(text string) *wire.Decoder {
	d := &wire.Decoder{R: bufio.NewReader(strings.NewReader(text)), Continue: func() error { return nil }}
	d.Next()
	return d
}

// parse reads a program that must be right.
func parse(t testing.TB, text string) *Program {
	t.Helper()
	d := decoder(text + "\r\n")
	p := Parse(d, First(d))
	if err := d.End(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestProgramTells(t *testing.T) {
	for text, want := range map[string]Program{
		"ALL":                              {},
		"CHARSET utf-8 1":                  {CharsetGiven: true, Numbers: true},
		"CHARSET none SUBJECT a":           {CharsetGiven: true, BadCharset: true},
		"CHARSET us-ascii UID 1":           {CharsetGiven: true},
		"MODSEQ 3 NOT $":                   {ModSeq: true, Saved: true},
		"OR (UID $) 1:2":                   {Saved: true, Numbers: true},
		`MODSEQ "/flags/\\draft" priv 777`: {ModSeq: true},
	} {
		p := parse(t, text)
		p.root, p.texts = nil, nil
		if p.BadCharset != want.BadCharset || p.CharsetGiven != want.CharsetGiven || p.ModSeq != want.ModSeq || p.Numbers != want.Numbers || p.Saved != want.Saved {
			t.Errorf("%s: %+v", text, p)
		}
	}
}

// TestCheapKeysComeFirst looks at the order in which keys are asked.
func TestCheapKeysComeFirst(t *testing.T) {
	p := parse(t, "BODY a HEADER x-a b (SUBJECT c OR TEXT d 1) SEEN 2:3")
	var levels []level
	for _, k := range p.root.kids {
		levels = append(levels, k.level)
	}
	if want := []level{byNumber, byRow, byHeader, byText, byText}; len(levels) != len(want) || levels[0] != want[0] || levels[1] != want[1] || levels[2] != want[2] {
		t.Errorf("%v", levels)
	}
}

// FuzzParse holds that a program is refused or can be asked of a message, in
// bounded time and depth.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ALL", "CHARSET ISO-2022-JP SUBJECT {5+}\r\n\x1b$B5D;v", "OR NOT 1:* (FROM a BODY b) UID $", `HEADER "x" "" KEYWORD $a SENTON "1-Jan-2026"`,
		"MODSEQ \"/flags/\\\\seen\" all 5 YOUNGER 3 LARGER 4 EMAILID M1", "((((1))))", "NOT NOT NOT OLD OR OR 1 2 3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := decoder(text + "\r\n")
		p := Parse(d, First(d))
		if d.End() != nil {
			return
		}
		if n := count(p.root); n > 3*maxKeys {
			t.Fatalf("%d keys", n)
		}
		p.root.bind(Mailbox{UIDs: []uint32{3, 5, 9}, Saved: []uint32{5}})
		s := &subject{level: byNumber, number: 2, uid: 5, bodies: make([]truth, len(p.texts))}
		before := p.root.ask(s)
		if p.root.level == byNumber && before == unknown {
			t.Fatalf("%q is not decided", text)
		}
	})
}

func count(k *key) int {
	n := 1
	for _, kid := range k.kids {
		n += count(kid)
	}
	return n
}
