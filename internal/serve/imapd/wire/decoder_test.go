package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// decoder reads text; what it asks for is counted.
func decoder(text string) (d *Decoder, asked *int) {
	asked = new(int)
	return &Decoder{R: bufio.NewReaderSize(strings.NewReader(text), 16), Continue: func() error { *asked++; return nil }}, asked
}

func TestProductions(t *testing.T) {
	long := strings.Repeat("x", 300)
	utf8Name := func(d *Decoder) any { d.UTF8 = true; return d.Mailbox() }
	for _, c := range []struct {
		name string
		read func(d *Decoder) any
		text string
		want any // or the text of BAD as a SyntaxError
	}{
		{"atom", func(d *Decoder) any { return d.Atom() }, "Foo+[x", "Foo+[x"},
		{"atom", func(d *Decoder) any { return d.Atom() }, "(", SyntaxError{"Expected an atom"}},
		{"word", func(d *Decoder) any { return d.Word() }, "select", "SELECT"},
		{"tag", func(d *Decoder) any { return d.Tag() }, "a.1]", "a.1]"},
		{"tag", func(d *Decoder) any { return d.Tag() }, "+", SyntaxError{"Expected a tag"}},
		{"tag", func(d *Decoder) any { return d.Tag() }, long, SyntaxError{"Tag too long"}},
		{"number", func(d *Decoder) any { return d.Number() }, "4294967295", uint32(1<<32 - 1)},
		{"number", func(d *Decoder) any { return d.Number() }, "4294967296", SyntaxError{"Number too large"}},
		{"number", func(d *Decoder) any { return d.Number() }, "007", uint32(7)},
		{"number", func(d *Decoder) any { return d.Number() }, "-1", SyntaxError{"Expected a number"}},
		{"number64", func(d *Decoder) any { return d.Number64() }, "9223372036854775807", int64(1<<63 - 1)},
		{"number64", func(d *Decoder) any { return d.Number64() }, "9223372036854775808", SyntaxError{"Number too large"}},
		{"quoted", func(d *Decoder) any { return d.String() }, `"a\"b\\c é"`, `a"b\c é`},
		{"quoted", func(d *Decoder) any { return d.String() }, `""`, ""},
		{"quoted", func(d *Decoder) any { return d.String() }, `"a`, SyntaxError{"Unterminated quoted string"}},
		{"quoted", func(d *Decoder) any { return d.String() }, `"a\n"`, SyntaxError{"Bad escape in a quoted string"}},
		{"quoted", func(d *Decoder) any { return d.String() }, "\"a\x00\"", SyntaxError{"Unterminated quoted string"}},
		{"string", func(d *Decoder) any { return d.String() }, "atom", SyntaxError{"Expected a string"}},
		{"literal", func(d *Decoder) any { return d.String() }, "{5}\r\na\r\nb)", "a\r\nb)"},
		{"literal", func(d *Decoder) any { return d.String() }, "{0+}\r\n", ""},
		{"literal8", func(d *Decoder) any { return d.String() }, "~{2+}\r\nab", "ab"},
		{"literal", func(d *Decoder) any { return d.String() }, "{2+}\r\n\x00b", SyntaxError{"NUL in a string"}},
		{"literal", func(d *Decoder) any { return d.String() }, "{x}", SyntaxError{"Expected a number"}},
		{"literal", func(d *Decoder) any { return d.String() }, "{5", SyntaxError{`Expected '}'`}},
		{"literal", func(d *Decoder) any { return d.String() }, "{5}5", SyntaxError{"CR without LF"}},
		{"astring", func(d *Decoder) any { return d.Astring() }, "a]b", "a]b"},
		{"astring", func(d *Decoder) any { return d.Astring() }, "~foo", "~foo"},
		{"astring", func(d *Decoder) any { return d.Astring() }, "p%ss*\\é", "p%ss*\\é"},
		{"astring", func(d *Decoder) any { return d.Astring() }, `"a b"`, "a b"},
		{"astring", func(d *Decoder) any { return d.Astring() }, "", SyntaxError{"Expected a string"}},
		{"nstring", func(d *Decoder) any { s, ok := d.Nstring(); return []any{s, ok} }, "nil", []any{"", false}},
		{"nstring", func(d *Decoder) any { s, ok := d.Nstring(); return []any{s, ok} }, `"NIL"`, []any{"NIL", true}},
		{"nstring", func(d *Decoder) any { s, ok := d.Nstring(); return []any{s, ok} }, "x", SyntaxError{"Expected a string or NIL"}},
		{"flag", func(d *Decoder) any { return d.Flag() }, `\Seen`, `\Seen`},
		{"flag", func(d *Decoder) any { return d.Flag() }, `\*`, `\*`},
		{"flag", func(d *Decoder) any { return d.Flag() }, `$Forwarded`, `$Forwarded`},
		{"flags", func(d *Decoder) any { return d.Flags() }, `(\Seen  $a )`, []string{`\Seen`, "$a"}},
		{"flags", func(d *Decoder) any { return d.Flags() }, `()`, []string(nil)},
		{"flags", func(d *Decoder) any { return d.Flags() }, `\Seen b `, []string{`\Seen`, "b"}},
		{"flags", func(d *Decoder) any { return d.Flags() }, `(a"b")`, SyntaxError{"Expected a space or )"}},
		{"text", func(d *Decoder) any { return d.Text() }, "a {1} \"b", "a {1} \"b"},
		{"mailbox", func(d *Decoder) any { return d.Mailbox() }, "inbox", "INBOX"},
		{"mailbox", func(d *Decoder) any { return d.Mailbox() }, `"Entw&APw-rfe"`, "Entwürfe"},
		{"mailbox", func(d *Decoder) any { return d.Mailbox() }, `"Entwürfe"`, "Entwürfe"},
		{"mailbox", func(d *Decoder) any { return d.Mailbox() }, `R&D`, "R&D"},
		{"mailbox", func(d *Decoder) any { return d.Mailbox() }, "\"\xff\"", SyntaxError{"Mailbox name is not UTF-8"}},
		{"mailbox", utf8Name, `"Entw&APw-rfe"`, "Entw&APw-rfe"},
		{"pattern", func(d *Decoder) any { return d.ListPattern() }, "a/%*]", "a/%*]"},
		{"pattern", func(d *Decoder) any { return d.ListPattern() }, `"%"`, "%"},
		{"pattern", func(d *Decoder) any { return d.ListPattern() }, `(`, SyntaxError{"Expected a mailbox pattern"}},
		{"set", func(d *Decoder) any { return d.Set() }, "$", Set{Saved: true}},
		{"set", func(d *Decoder) any { return d.Set() }, "1,5:*,9:7", Set{Ranges: []Range{{1, 1}, {5, Star}, {9, 7}}}},
		{"set", func(d *Decoder) any { return d.Set() }, "0", SyntaxError{"0 is no message"}},
		{"set", func(d *Decoder) any { return d.Set() }, "1,", SyntaxError{"Expected a number"}},
		{"set", func(d *Decoder) any { return d.Set() }, "1:", SyntaxError{"Expected a number"}},
		{"date", func(d *Decoder) any { return d.Date().Format(time.DateOnly) }, "1-Feb-2024", "2024-02-01"},
		{"date", func(d *Decoder) any { return d.Date().Format(time.DateOnly) }, `"01-feb-2024"`, "2024-02-01"},
		{"date", func(d *Decoder) any { return d.Date() }, "30-Feb-2024", SyntaxError{"Bad date"}},
		{"date-time", func(d *Decoder) any { return d.DateTime().Format(time.RFC3339) }, `" 1-Feb-2024 01:02:03 +0900"`, "2024-02-01T01:02:03+09:00"},
		{"date-time", func(d *Decoder) any { return d.DateTime().Format(time.RFC3339) }, `"1-Feb-2024 01:02:03 +0900"`, "2024-02-01T01:02:03+09:00"},
		{"date-time", func(d *Decoder) any { return d.DateTime() }, `"1-Feb-2024"`, SyntaxError{"Bad date and time"}},
		{"date-time", func(d *Decoder) any { return d.DateTime() }, `x`, SyntaxError{`Expected '"'`}},
		{"space", func(d *Decoder) any { d.SP(); return d.Atom() }, "   x", "x"},
		{"space", func(d *Decoder) any { d.SP(); return "" }, " ", SyntaxError{"Expected an argument"}},
	} {
		t.Run(c.name+" "+c.text[:min(len(c.text), 20)], func(t *testing.T) {
			d, _ := decoder(c.text + "\r\n")
			got := c.read(d)
			if want, wrong := c.want.(SyntaxError); wrong {
				var s *SyntaxError
				if !errors.As(d.Err(), &s) || *s != want {
					t.Errorf("%q: %v, %v, want BAD %s", c.text, got, d.Err(), want.Text)
				}
				return
			}
			if d.Err() != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q: %#v, %v, want %#v", c.text, got, d.Err(), c.want)
			}
		})
	}
}

func TestEndOfLine(t *testing.T) {
	for text, want := range map[string]error{
		"\r\n": nil, "\n": nil, "  \r\n": nil, "x\r\n": &SyntaxError{"Unexpected text behind the command"},
		"\rx\r\n": &SyntaxError{"CR without LF"}, "\x00\r\n": &SyntaxError{"NUL in a command"}, "": io.ErrUnexpectedEOF,
	} {
		d, _ := decoder(text)
		if err := d.End(); !reflect.DeepEqual(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	var parse func(d *Decoder)
	parse = func(d *Decoder) {
		if d.Peek() == '(' {
			d.List(func() { parse(d) })
			return
		}
		d.Atom()
	}
	for depth, fits := range map[int]bool{maxNesting: true, maxNesting + 1: false, 100_000: false} {
		d, _ := decoder(strings.Repeat("(", depth) + "a" + strings.Repeat(")", depth) + "\r\n")
		parse(d)
		if (d.End() == nil) != fits {
			t.Errorf("depth %d: %v", depth, d.Err())
		}
	}
	d, _ := decoder("x\r\n")
	var nest func()
	nest = func() { d.Nest(nest) }
	nest()
	if d.Err() == nil {
		t.Error("nested for ever")
	}
}

func TestCommandIsBounded(t *testing.T) {
	d, _ := decoder(strings.Repeat("a", MaxCommand+1) + "\r\nnext\r\n")
	if d.Atom(); d.Err() == nil {
		t.Fatal("an atom without a bound")
	}
	afterDrain(t, d, "next")
	var list strings.Builder
	for range 10 {
		fmt.Fprintf(&list, " {%d+}\r\n%s", MaxCommand/8, strings.Repeat("x", MaxCommand/8))
	}
	d, _ = decoder(list.String() + "\r\nnext\r\n")
	for d.Err() == nil && d.AcceptSP() {
		d.Astring()
	}
	var big *TooBigError
	if !errors.As(d.Err(), &big) {
		t.Fatalf("literals without a bound: %v", d.Err())
	}
	afterDrain(t, d, "next")
}

// afterDrain fails unless the word is next once the wrong command is read over.
func afterDrain(t *testing.T, d *Decoder, word string) {
	t.Helper()
	if err := d.Drain(); err != nil {
		t.Fatal(err)
	}
	d.Next()
	if got := d.Atom(); got != word || d.End() != nil {
		t.Fatalf("after Drain: %q, %v", got, d.Err())
	}
}

// TestDrain: after a wrong command the next one is found, whatever literals the
// wrong one has.
func TestDrain(t *testing.T) {
	command := func(d *Decoder) {
		d.Atom()
		d.SP()
		d.Astring()
		d.SP()
		d.Number()
		d.End()
	}
	for text, asked := range map[string]int{
		"c \"x\" 1 too much\r\nnext\r\n":                             0,
		"c {3+}\r\nabc x\r\nnext\r\n":                                0,
		"c {3}\r\nabc x\r\nnext\r\n":                                 1,
		"c x {3+}\r\nabc {4+}\r\na\r\nb y\r\nnext\r\n":               0, // both are sent whatever we say
		"c x {3}\r\nnext\r\n":                                        0, // this one is not: nobody asks
		"c {1+}\r\n\x00 {8+}\r\nc \"x\" 2\n\r\nnext\r\n":             0,
		"c {9999999}\r\nnext\r\n":                                    0,
		"c {300000+}\r\n" + strings.Repeat("x", 300000) + "\nnext\n": 0,
		"c ~{3+}x\r\nnext\r\n":                                       0,
		"c x" + strings.Repeat("y", 5000) + " {3+}\r\nabc\r\nnext\n": 0, // longer than the buffer
	} {
		d, n := decoder(text)
		command(d)
		if d.Err() == nil {
			t.Errorf("%.60q is not wrong", text)
			continue
		}
		afterDrain(t, d, "next")
		if *n != asked {
			t.Errorf("%.60q: asked for %d literals, want %d", text, *n, asked)
		}
	}
	for _, text := range []string{"x {999999999+}\r\n", "x {9223372036854775807+}\r\nabc", "x {99999999999999999999+}\r\nabc"} {
		d, _ := decoder(text)
		d.Number()
		if err := d.Drain(); !errors.Is(err, ErrTooMuch) {
			t.Errorf("%q: %v", text, err)
		}
	}
	d := &Decoder{R: bufio.NewReader(io.MultiReader(strings.NewReader("x "), endless{}))}
	d.Number()
	if err := d.Drain(); !errors.Is(err, ErrTooMuch) {
		t.Errorf("endless line: %v", err)
	}
}

// endless is a line without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestLiteral is the streaming of messages.
func TestLiteral(t *testing.T) {
	for _, plus := range []string{"", "+"} {
		d, asked := decoder("~{10" + plus + "}\r\n0123\x00\r\n789 rest\r\n")
		a := d.Announcement()
		if want := (Announced{Size: 10, Binary: true, Sync: plus == ""}); a != want || d.Err() != nil {
			t.Fatalf("%+v, %v", a, d.Err())
		}
		b, err := io.ReadAll(d.Literal(a))
		if err != nil || string(b) != "0123\x00\r\n789" {
			t.Fatalf("%q, %v", b, err)
		}
		d.SP()
		if got := d.Atom(); got != "rest" || d.End() != nil || (*asked == 1) != a.Sync {
			t.Fatalf("%q, %v, asked %d", got, d.Err(), *asked)
		}
	}
	// Refused, given up before it was asked for, and given up in the middle.
	for _, give := range []func(d *Decoder, a Announced){
		func(d *Decoder, a Announced) { d.Refuse(a, 5) },
		func(d *Decoder, a Announced) { d.Fail("no") },
		func(d *Decoder, a Announced) { io.CopyN(io.Discard, d.Literal(a), 3); d.Fail("no") },
	} {
		for _, text := range []string{"{10+}\r\n0123456789 {2+}\r\nab\r\nnext\r\n", "{10}\r\nnext\r\n"} {
			d, asked := decoder(text)
			give(d, d.Announcement())
			if *asked == 1 {
				continue // then the client would send it
			}
			afterDrain(t, d, "next")
		}
	}
	d, _ := decoder("{10+}\r\n0123")
	if _, err := io.ReadAll(d.Literal(d.Announcement())); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("cut short: %v", err)
	}
	d, _ = decoder("{10}\r\nnext\r\n")
	d.Refuse(d.Announcement(), 5)
	if got := d.Err().Error(); got != "literal of 10 octets, at most 5 are taken" {
		t.Fatal(got)
	}
}
