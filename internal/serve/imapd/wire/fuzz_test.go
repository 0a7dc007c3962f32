package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzDecoder runs every production over any octets. Whatever comes, the
// decoder ends, keeps within its bounds, and finds a next line or tells why not.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		"a1 LOGIN \"x\\\"y\" {3+}\r\nabc\r\n", "a FETCH 1:*,$ (FLAGS UID)\r\n", "b APPEND x (\\Seen) \" 1-Feb-2024 00:00:00 +0000\" ~{3}\r\nabc\r\n",
		"((((((()))))))\r\n", "x {99999999999}\r\n", "x {5+}\r\n", "\"a\x00\"\r\n", "NIL nil &AAA- &-\n", "\r\n\r\n",
	} {
		f.Add([]byte(seed), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	}
	f.Fuzz(func(t *testing.T, text, order []byte) {
		d := &Decoder{R: bufio.NewReaderSize(bytes.NewReader(text), 16), Continue: func() error { return nil }}
		productions := []func(){
			func() { d.Atom() }, func() { d.Tag() }, func() { d.Number() }, func() { _ = d.String() }, func() { d.Astring() },
			func() { d.Nstring() }, func() { d.Flags() }, func() { d.Mailbox() }, func() { d.ListPattern() }, func() { d.Set() },
			func() { d.Date() }, func() { d.DateTime() }, func() { d.SP() }, func() { d.List(func() { d.Astring() }) },
			func() { d.Text() }, func() { io.Copy(io.Discard, d.Literal(d.Announcement())) },
		}
		for range 4 {
			d.Next()
			for _, o := range order {
				productions[int(o)%len(productions)]()
			}
			d.End()
			var s *SyntaxError
			var big *TooBigError
			if err := d.Err(); err != nil && !errors.As(err, &s) && !errors.As(err, &big) {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				return
			}
			if s != nil && strings.ContainsAny(s.Text, "\r\n\x00") {
				t.Fatalf("%q would break out of its line", s.Text)
			}
			if err := d.Drain(); err != nil {
				return
			}
		}
	})
}

// FuzzStrings: what is written is read back, in every way of writing.
func FuzzStrings(f *testing.F) {
	for _, seed := range []string{"", "a", "a b", "\"\\", "é\r\n", "\xff", "NIL", "{3}", "~{3}", strings.Repeat("x", maxQuoted+1)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8Too bool) {
		if strings.ContainsRune(s, 0) || len(s) > MaxCommand/8 {
			return
		}
		text := encoded(utf8Too, func(e *Encoder) {
			e.String(s)
			e.Raw(" ")
			e.Astring(s)
			e.Raw(" ")
			e.Nstring(s, true)
			e.Raw("\r\n")
		})
		d := &Decoder{R: bufio.NewReader(strings.NewReader(text)), Continue: func() error { return nil }}
		for i := range 3 {
			var got string
			switch i {
			case 0:
				got = d.String()
			case 1:
				d.SP()
				got = d.Astring()
			case 2:
				d.SP()
				got, _ = d.Nstring()
			}
			if got != s {
				t.Fatalf("%q: way %d gives %q, %v", s, i, got, d.Err())
			}
		}
		if d.End() != nil {
			t.Fatal(d.Err())
		}
	})
}

// FuzzNames: every UTF-8 name has one form in modified UTF-7, every form one
// name.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"INBOX", "&", "&-", "&ZeVnLIqe-", "日本語/a&b", "😀", "&2D3eAA-", "&AGE-", "\x7f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, ok := DecodeName(s); ok && EncodeName(name) != s {
			t.Fatalf("%q is %q, which is %q", s, name, EncodeName(name))
		}
		if !utf8.ValidString(s) {
			return
		}
		form := EncodeName(s)
		if strings.ContainsFunc(form, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q: %q is not 7 bits", s, form)
		}
		if name, ok := DecodeName(form); !ok || name != s {
			t.Fatalf("%q: %q: %q, %v", s, form, name, ok)
		}
	})
}

// FuzzSets: the normal form of a set holds the same numbers, in order and
// apart; numbers written as a set are read back.
func FuzzSets(f *testing.F) {
	for _, seed := range []string{"1", "*", "1:*", "*:1", "3,1,2", "9:7,8:10", "1:4294967295", "4294967294:*"} {
		f.Add(seed, uint32(10))
	}
	f.Fuzz(func(t *testing.T, text string, largest uint32) {
		d := &Decoder{R: bufio.NewReader(strings.NewReader(text + "\r\n"))}
		s := d.Set()
		if d.End() != nil || s.Saved {
			return
		}
		normal := s.Normal(largest)
		for i, r := range normal {
			if r.First > r.Last || i > 0 && int64(normal[i-1].Last)+1 >= int64(r.First) {
				t.Fatalf("%s: %v", text, normal)
			}
		}
		in := func(ranges []Range, n uint32) bool {
			return slices.ContainsFunc(ranges, func(r Range) bool { return r.First <= n && n <= r.Last })
		}
		star := func(n uint32) uint32 {
			if n == Star {
				return largest
			}
			return n
		}
		var numbers []uint32
		for _, r := range s.Ranges {
			a, b := star(r.First), star(r.Last)
			for _, n := range []uint32{a, b, min(a, b) + (max(a, b)-min(a, b))/2} {
				if !in(normal, n) {
					t.Fatalf("%s: %v is without %d", text, normal, n)
				}
				numbers = append(numbers, n)
			}
		}
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
		if numbers[0] == 0 {
			return
		}
		again := &Decoder{R: bufio.NewReader(strings.NewReader(string(AppendSet(nil, numbers)) + "\r\n"))}
		back := again.Set()
		for _, n := range numbers {
			if !in(back.Ranges, n) {
				t.Fatalf("%v: %s", numbers, AppendSet(nil, numbers))
			}
		}
	})
}
