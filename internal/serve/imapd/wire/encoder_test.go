package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// encoded gives what f writes.
func encoded(utf8 bool, f func(e *Encoder)) string {
	var b bytes.Buffer
	e := &Encoder{W: bufio.NewWriterSize(&b, 16), UTF8: utf8}
	f(e)
	e.W.Flush()
	return b.String()
}

func TestEncoder(t *testing.T) {
	for _, c := range []struct {
		utf8 bool
		f    func(e *Encoder)
		want string
	}{
		{false, func(e *Encoder) { e.String(`a "b" \c`) }, `"a \"b\" \\c"`},
		{false, func(e *Encoder) { e.String("a\r\nb") }, "{4}\r\na\r\nb"},
		{false, func(e *Encoder) { e.String("é") }, "{2}\r\né"},
		{true, func(e *Encoder) { e.String("é") }, `"é"`},
		{true, func(e *Encoder) { e.String("\xff") }, "{1}\r\n\xff"},
		{true, func(e *Encoder) { e.String("a\x00b") }, "{3}\r\na\x80b"},
		{false, func(e *Encoder) { e.String("") }, `""`},
		{false, func(e *Encoder) { e.Nstring("x", false) }, "NIL"},
		{false, func(e *Encoder) { e.Nstring("NIL", true) }, `"NIL"`},
		{false, func(e *Encoder) { e.Astring("a]b") }, "a]b"},
		{false, func(e *Encoder) { e.Astring("nil") }, `"nil"`},
		{false, func(e *Encoder) { e.Astring("a b") }, `"a b"`},
		{false, func(e *Encoder) { e.Astring("a%") }, `"a%"`},
		{false, func(e *Encoder) { e.Astring("") }, `""`},
		{false, func(e *Encoder) { e.Mailbox("Entwürfe & mehr") }, `"Entw&APw-rfe &- mehr"`},
		{true, func(e *Encoder) { e.Mailbox("Entwürfe&") }, `"Entwürfe&"`},
		{false, func(e *Encoder) { e.Set([]uint32{1, 2, 3, 5, 7, 8}) }, "1:3,5,7:8"},
		{false, func(e *Encoder) { e.Set(nil) }, ""},
		{false, func(e *Encoder) { e.Ranges([]Range{{1, 3}, {5, 5}, {7, 4000000000}}) }, "1:3,5,7:4000000000"},
		{false, func(e *Encoder) { e.List([]string{`\Seen`, "a"}) }, `(\Seen a)`},
		{false, func(e *Encoder) { e.Number(-12) }, "-12"},
		{false, func(e *Encoder) { e.Literal(3, strings.NewReader("abcdef")) }, "{3}\r\nabc"},
		{false, func(e *Encoder) { e.Literal8(3, strings.NewReader("a\x00c")) }, "~{3}\r\na\x00c"},
	} {
		if got := encoded(c.utf8, c.f); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	e := &Encoder{W: bufio.NewWriter(io.Discard)}
	if err := e.Literal(10, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a literal cut short: %v", err)
	}
	if got := FormatDateTime(time.Date(2024, 2, 1, 3, 4, 5, 0, time.FixedZone("", 9*3600))); got != "01-Feb-2024 03:04:05 +0900" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "INBOX": "INBOX", "&": "&-", "a&b": "a&-b", "日本語": "&ZeVnLIqe-", "~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"😀": "&2D3eAA-", "a\tb": "a&AAk-b", "Entwürfe": "Entw&APw-rfe",
	} {
		if got := EncodeName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if got, ok := DecodeName(want); !ok || got != name {
			t.Errorf("%q: %q, %v", want, got, ok)
		}
	}
	for _, s := range []string{"&", "&x", "&ZeVnLIqe", "&AGE-", "&ZeU-&Zyw-", "&ZeV-", "&ZeVnLIqeA-", "&2D0-", "ü", "&Jjo!-", "&AAA", "a\tb"} {
		if got, ok := DecodeName(s); ok {
			t.Errorf("%q is %q", s, got)
		}
	}
}

func TestSets(t *testing.T) {
	for _, c := range []struct {
		text    string
		largest uint32
		want    string
		max     uint32
	}{
		{"1", 9, "1", 1}, {"*", 9, "9", Star}, {"*", 0, "0", Star}, {"5:1,3:4,6", 9, "1:6", 6}, {"*:4", 9, "4:9", Star},
		{"12:*", 9, "9:12", Star}, {"4294967295", 9, "4294967294", 1<<32 - 2}, {"1:4294967294,2", 9, "1:4294967294", 1<<32 - 2},
	} {
		d, _ := decoder(c.text + "\r\n")
		s := d.Set()
		if d.End() != nil {
			t.Fatal(d.Err())
		}
		if got := encoded(false, func(e *Encoder) { e.Ranges(s.Normal(c.largest)) }); got != c.want || s.Max() != c.max {
			t.Errorf("%s of %d: %s, max %d", c.text, c.largest, got, s.Max())
		}
	}
}
