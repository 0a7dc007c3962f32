package mail

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const sampleHeader = "From a@b Mon Jan  1\r\n" +
	"Received: from x\r\n\tby y; date\r\n" +
	"Subject : =?utf-8?B?5rGA?=\r\n" +
	"no colon here\r\n" +
	"X-8bit: \xe9\x00z\r\n" +
	"To: a@b,\r\n  c@d  \r\n" +
	"to: e@f\n" +
	" \r\n" +
	"\r\n"

func readHeader(t *testing.T, s string) *Header {
	t.Helper()
	h, err := ReadHeader(bufio.NewReader(strings.NewReader(s)), DefaultHeaderLimits())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReadHeader(t *testing.T) {
	r := bufio.NewReader(strings.NewReader(sampleHeader + "body\r\n"))
	h, err := ReadHeader(r, DefaultHeaderLimits())
	if err != nil || string(h.Bytes()) != sampleHeader || !h.Complete() {
		t.Fatalf("%v %q", err, h.Bytes())
	}
	if rest, _ := io.ReadAll(r); string(rest) != "body\r\n" {
		t.Errorf("rest %q", rest)
	}
	if h.Len() != 7 || h.Get("SUBJECT") != "=?utf-8?B?5rGA?=" || h.Get("to") != "a@b,  c@d" || h.Has("From a@b Mon Jan  1") {
		t.Errorf("%d %q %q", h.Len(), h.Get("subject"), h.Get("to"))
	}
	if v := h.Values("To"); !slices.Equal(v, []string{"a@b,  c@d", "e@f"}) {
		t.Errorf("%q", v)
	}
	if DecodeText(h.Get("Subject")) != "汀" {
		t.Error("subject")
	}
}

func TestHeaderWithoutEnd(t *testing.T) {
	for _, s := range []string{"", "A: b", "A: b\r\n", "A: b\r\n c", "\x00", " \t", "A"} {
		h := readHeader(t, s)
		if string(h.Bytes()) != s || h.Complete() {
			t.Errorf("%q: %q", s, h.Bytes())
		}
	}
}

func TestHeaderEdit(t *testing.T) {
	h := readHeader(t, "A: 1\r\nB: 2\r\na: 3\r\nC:4\r\n\r\n")
	h.Add("Top", "x")
	h.AddRaw("Over: y\r\n\tz\r\nNext: 1\r\n")
	h.Set("a", "new")
	h.Set("D", "appended")
	if n := h.Delete("b"); n != 1 {
		t.Error(n)
	}
	if n := h.Rename("c", "X-Old-C"); n != 1 {
		t.Error(n)
	}
	h.Edit("Over", func(raw string) string { return strings.ReplaceAll(raw, "y", "yy") })
	want := "Over: yy\r\n\tz\r\nNext: 1\r\nTop: x\r\nA: new\r\nX-Old-C:4\r\nD: appended\r\n\r\n"
	if got := string(h.Bytes()); got != want {
		t.Errorf("%q", got)
	}
	h = readHeader(t, "A: 1")
	h.Append("B", "2")
	if got := string(h.Bytes()); got != "A: 1\r\nB: 2\r\n" {
		t.Errorf("%q", got)
	}
}

func TestHeaderInjection(t *testing.T) {
	h := readHeader(t, "\r\n")
	h.Add("Subject", "a\r\nBcc: b@c\x00\r\n\r\nbody")
	if again := readHeader(t, string(h.Bytes())); again.Len() != 1 || again.Has("Bcc") || !again.Complete() {
		t.Errorf("%q", h.Bytes())
	}
}

func TestHeaderLimits(t *testing.T) {
	limits := HeaderLimits{Bytes: 40000, Fields: 100, Line: 20000}
	for name, in := range map[string]string{
		"line":   "A: " + strings.Repeat("x", 30000) + "\r\n\r\nbody",
		"fields": strings.Repeat("A:\r\n", 200) + "\r\nbody",
		"bytes":  strings.Repeat("A: b\r\n "+strings.Repeat("y", 900)+"\r\n", 50) + "\r\nbody",
		"folds":  "A:\r\n" + strings.Repeat(" x\r\n", 20000) + "\r\n",
	} {
		r := bufio.NewReader(strings.NewReader(in))
		h, err := ReadHeader(r, limits)
		if !errors.Is(err, ErrHeaderLimit) {
			t.Errorf("%s: %v", name, err)
		}
		rest, _ := io.ReadAll(r)
		if string(h.Bytes())+string(rest) != in {
			t.Errorf("%s: octets lost", name)
		}
		if h.Size() > limits.Bytes+bufio.MaxScanTokenSize {
			t.Errorf("%s: kept %d octets", name, h.Size())
		}
	}
}

func TestFormatField(t *testing.T) {
	for _, text := range []string{
		"plain", "", "two  spaces", "渚と汀", "ends in 汀", "汀 begins", "a =?utf-8?Q?b?= c", "mixed 汀 and 渚  twice",
		strings.Repeat("とても長い件名", 40), strings.Repeat("word ", 60) + "end", strings.Repeat("x", 3000), "emoji 👩‍👩‍👧 fold",
	} {
		field := FormatField("Subject", text)
		for line := range strings.SplitSeq(strings.TrimSuffix(field, "\r\n"), "\r\n") {
			if len(line) > 998 || len(line) > 78 && strings.Contains(line, "=?") || strings.TrimSpace(line) == "" || !isASCII(line) {
				t.Errorf("bad line %q", line)
			}
		}
		h := readHeader(t, field+"\r\n")
		if got := DecodeText(h.Get("Subject")); got != text {
			t.Errorf("%q: %q became %q", text, field, got)
		}
	}
}

func TestDecodeText(t *testing.T) {
	for in, want := range map[string]string{
		"=?iso-8859-1?Q?a=E9_b?=":                               "aé b",
		"=?UTF-8?B?5rGA?=  =?UTF-8?B?5rGA?= x":                  "汀汀 x",
		"=?utf-8?B?5rE=?= =?utf-8?B?gA==?=":                     "汀", // split inside a character
		"=?utf-8?Q?=E6=B1?=\r\n =?utf-8?Q?=80?=":                "汀",
		"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=":                    "日本",
		"=?cp50220?B?GyRCRnxLXBsoQg==?=":                        "日本",
		"=?ISO-2022-JP?B?GyRCRnw=?= =?ISO-2022-JP?B?S1wbKEI=?=": "日本",
		"=?shift_jis?B?k/qWew==?=":                              "日本",
		"=?CP932?Q?=87@?=":                                      "①",
		"=?euc-jp?B?xvzL3A==?=":                                 "日本",
		"=?UTF-7?Q?+ZeVnLA-?=":                                  "日本",
		"=?unicode-1-1-utf-7?Q?A+ImIDkQ.?=":                     "A≢Α.",
		"=?utf-8*ja?Q?=E6=B1=80?=":                              "汀",
		"=?us-ascii?Q?=E6=B1=80?=":                              "汀",
		"=?x-unknown?B?k/qWe4zqgsWCt4LmgWA=?=":                  "日本語ですよ～",
		"=?utf-8?Q?with space?=":                                "with space",
		"=?utf-8?X?abc?=":                                       "=?utf-8?X?abc?=",
		"=?utf-8?Q?open":                                        "=?utf-8?Q?open",
		"a =? b ?= c":                                           "a =? b ?= c",
		"(=?utf-8?Q?x?=)":                                       "(x)",
		"\x1b$BF|K\\\x1b(B":                                     "日本",
		"caf\xe9":                                               "café",
		"\xe6\xb1\x80":                                          "汀",
		"=?utf-8?B?!!5rGA=?=":                                   "汀",
		"=?gb2312?B?1tDOxA==?=":                                 "中文",
		"=?ks_c_5601-1987?B?x9Gx2w==?=":                         "한글",
		"=?big5?B?pKSk5Q==?=":                                   "中文",
		"=?koi8-r?B?8NLJ18XU?=":                                 "Привет",
	} {
		if got := DecodeText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDecodeTextIsLinear(t *testing.T) {
	for _, unit := range []string{"=?", "=?a?b?", "=?utf-8?b?", "=?utf-8?Q?x?= ", "=?\x1b$B"} {
		start := time.Now()
		DecodeText(strings.Repeat(unit, 1<<18/len(unit)))
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%q: %v", unit, d)
		}
	}
}

func TestReceived(t *testing.T) {
	when := time.Date(2026, 11, 24, 10, 51, 41, 0, time.FixedZone("", 9*3600))
	a, _ := ParseAddress("user@example.jp")
	r := Received{Helo: "Client.Example", IP: netip.MustParseAddr("192.0.2.1"), PTR: "ptr.example", By: "mx.example.jp", With: "ESMTPS", ID: "abc", For: a, Date: when}
	want := "Received: from client.example (ptr.example [192.0.2.1])\r\n\tby mx.example.jp with ESMTPS id abc\r\n\tfor <user@example.jp>;\r\n\tTue, 24 Nov 2026 10:51:41 +0900\r\n"
	if got := r.Field(); got != want {
		t.Errorf("%q", got)
	}
	r.Helo, r.PTR, r.IP = "x\r\nBcc: (evil) \x00\"日", "bad\r\nname", netip.MustParseAddr("2001:db8::1")
	r.For, _ = ParseAddress("汀@example.jp")
	want = "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1] helo=x??Bcc:??evil???????)\r\n\tby mx.example.jp with ESMTPS id abc;\r\n\tTue, 24 Nov 2026 10:51:41 +0900\r\n"
	if got := r.Field(); got != want {
		t.Errorf("%q", got)
	}
	h := readHeader(t, want+want+"\r\n")
	if CountReceived(h) != 2 {
		t.Error("count")
	}
	if got := (Received{By: "h", Date: when}).Field(); !strings.HasPrefix(got, "Received: by h;") {
		t.Errorf("%q", got)
	}
}

func TestProtocolName(t *testing.T) {
	for want, got := range map[string]string{
		"SMTP": ProtocolName("SMTP", false, false, false), "ESMTP": ProtocolName("ESMTP", false, false, false),
		"ESMTPS": ProtocolName("ESMTP", false, true, false), "ESMTPSA": ProtocolName("ESMTP", false, true, true),
		"ESMTPA": ProtocolName("ESMTP", false, false, true), "UTF8SMTP": ProtocolName("ESMTP", true, false, false),
		"UTF8SMTPSA": ProtocolName("ESMTP", true, true, true), "LMTPA": ProtocolName("LMTP", false, false, true), "UTF8LMTPS": ProtocolName("LMTP", true, true, false),
	} {
		if got != want {
			t.Error(got, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	want := time.Date(2026, 11, 24, 1, 51, 41, 0, time.UTC)
	for _, in := range []string{
		"Tue, 24 Nov 2026 10:51:41 +0900", "Tue, 24 Nov 2026 01:51:41 GMT", "24 Nov 26 01:51:41 UT", "tue,24 nov 2026 01:51:41 +0000 (UTC (x))",
		"Tue Nov 24 01:51:41 2026", "2026-11-24T10:51:41+09:00", "Tue, 24-Nov-2026 01:51:41 GMT", "Mon, 23 Nov 2026 20:51:41 EST",
		"Tue, 24 Nov 126 01:51:41 -0000", "24 November 2026 10.51.41 JST", "Tue, 24 Nov 2026 10:51:41+0900", "Tue,\r\n\t24 Nov 2026 10:51:41 +09:00",
	} {
		got, err := ParseDate(in)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
	if got, err := ParseDate(FormatDate(want)); err != nil || !got.Equal(want) {
		t.Error(got, err)
	}
	for _, in := range []string{"", "x", "31 Feb 2026 01:00:00", "24 Nov 2026", "24 Nov 2026 25:00:00 +0000", "Nov 2026 01:00", strings.Repeat("1 ", 200), "::", "1:2:3:4", "-", "+"} {
		if got, err := ParseDate(in); !errors.Is(err, ErrDate) {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	got := MessageIDs("Your message of <a@b> and <c\r\n @d>(x)<e@f <g@h> <> <i")
	if !slices.Equal(got, []string{"<a@b>", "<c@d>", "<g@h>"}) {
		t.Errorf("%q", got)
	}
	id := NewMessageID("example.jp")
	if ids := MessageIDs(id); len(ids) != 1 || ids[0] != id || id == NewMessageID("example.jp") {
		t.Error(id)
	}
}

func TestHeadersOfRealMessages(t *testing.T) {
	n := 0
	for _, path := range files(t, testData(t, "05-mime"), testData(t, "02-auth")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(bytes.NewReader(raw))
		h, _ := ReadHeader(r, DefaultHeaderLimits())
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(append(h.Bytes(), rest...), raw) {
			t.Errorf("%s: octets changed", path)
		}
		for f := range h.All() {
			DecodeText(f.Value())
			ParseAddressList(f.Value())
			ParseDate(f.Value())
		}
		n++
	}
	t.Logf("%d files", n)
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(sampleHeader), "value")
	f.Add([]byte("A: b\r\n c\n\nrest"), "=?utf-8?Q?=E6?= x")
	f.Add([]byte("\r\r\n:\r\n: x\r\n a"), "\r\n.\r\n")
	f.Add([]byte(" "), "a fold with nothing above it")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		r := bufio.NewReaderSize(bytes.NewReader(raw), 16)
		h, err := ReadHeader(r, HeaderLimits{Bytes: 1000, Fields: 20, Line: 200})
		rest, _ := io.ReadAll(r)
		if got := append(h.Bytes(), rest...); !bytes.Equal(got, raw) {
			t.Fatalf("%q became %q", raw, got)
		}
		if err == nil {
			if p := ParseHeader(raw); p.Len() != h.Len() || !bytes.Equal(p.Bytes(), h.Bytes()) {
				t.Fatalf("ParseHeader differs: %q", raw)
			}
		}
		if !strings.HasPrefix(DecodeText(EncodeText(text)), strings.ToValidUTF8(text, "\ufffd")) && isASCII(text) && !strings.Contains(text, "\x1b") {
			t.Errorf("text %q: %q", text, DecodeText(EncodeText(text)))
		}
		DecodeText(string(raw))
		ParseDate(text)
		MessageIDs(text)
		before := h.Len()
		h.Add("X", text)
		if again := ParseHeader(h.Bytes()); again.Len() != before+1 || !bytes.Equal(again.Bytes(), h.Bytes()) {
			t.Errorf("added %q to %q: %q", text, raw, h.Bytes())
		}
		field := Received{Helo: text, PTR: text, ID: text, With: text, By: "h"}.Field()
		if ParseHeader([]byte(field)).Len() != 1 || !isASCII(field) {
			t.Errorf("received %q", field)
		}
	})
}
