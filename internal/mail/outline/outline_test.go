package outline

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func read(t testing.TB, raw string) *Outline {
	t.Helper()
	o, err := Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sample has one of everything.
var sample = crlf(`Date: Thu, 26 Nov 2026 10:00:00 +0900
From: =?utf-8?q?=C3=A9?= <a@example.org>
To: b@example.net
To: c@example.net
Subject: one
	two
Message-ID: <1@example.org>
In-Reply-To: <0@example.org>
References: <a@b> junk
 <0@example.org>
Content-Type: multipart/mixed; boundary=o; name*0=x; name*1*=%41

preamble
--o
Content-Type: TEXT/Html; charset="utf-8"
Content-Transfer-Encoding: Quoted-Printable
Content-Description:
Content-ID: <id@x>

<style>p{}</style><p>Hi=C3=A9 &amp; you</p><p>second
--o
Content-Type: message/rfc822
Content-Disposition: attachment; filename="a \"b\".eml"
Content-Language: en, ja
Content-MD5: abc
Content-Location: http://x.test/

Subject: inner
From: d@example.net
Content-Type: multipart/alternative; boundary=i

--i

plain
--i
Content-Type: application/pdf
Content-Transfer-Encoding: base64

QUJD
--i--
--o--
`)

func TestRead(t *testing.T) {
	o := read(t, sample)
	e := o.Envelope
	if e.Subject != "one\ttwo" || !e.HasSubject || e.To != "b@example.net,\nc@example.net" || e.Cc != "" || e.MessageID != "<1@example.org>" {
		t.Errorf("envelope %+v", e)
	}
	if !reflect.DeepEqual(o.References, []string{"<a@b>", "<0@example.org>"}) {
		t.Errorf("references %q", o.References)
	}
	if want := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC); !o.Sent.Equal(want) || o.Sent.Hour() != 10 {
		t.Errorf("sent %v", o.Sent)
	}
	if o.Preview != "Hié & you second" {
		t.Errorf("preview %q", o.Preview)
	}
	if got := fmt.Sprint(o.Root().Params); got != "[{boundary o} {name* ''x%41}]" {
		t.Errorf("params %s", got)
	}
	html, msg := &o.Root().Children[0], &o.Root().Children[1]
	if html.Type != "TEXT" || !html.Is("text/html") || !html.Is("text/") || html.Encoding != "Quoted-Printable" || !html.Description.Given || html.ID.Value != "<id@x>" {
		t.Errorf("html %+v", html)
	}
	if msg.Kind != Message || msg.Envelope.Subject != "inner" || msg.DispParams[0].Value != `a "b".eml` || len(msg.Language) != 2 || msg.MD5.Value != "abc" {
		t.Errorf("message %+v", msg)
	}
	if want := int64(strings.Count(sample[o.Root().BodyOffset:], "\n")); o.Root().Lines != want {
		t.Errorf("%d lines, want %d", o.Root().Lines, want)
	}
}

func TestReadGivesErrorsOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Read(io.MultiReader(strings.NewReader(sample[:400]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestHugeField: what is too much of a header is left out, and nothing else.
func TestHugeField(t *testing.T) {
	raw := "To: a@b, " + strings.Repeat("x@y, ", maxHeaders/5) + "\r\nSubject: s\r\nContent-Type: text/html\r\n\r\nbody"
	o := read(t, raw)
	if n := len(o.Envelope.To); n < maxLine/2 || n > maxLine || o.Envelope.Subject != "s" || !o.Root().Is("text/html") {
		t.Errorf("%d octets of To, %+v", len(o.Envelope.To), o.Root())
	}
	if o.Root().BodySize != 4 || o.Root().HeaderSize != int64(len(raw)-4) {
		t.Errorf("%+v", o.Root())
	}
}

func TestSection(t *testing.T) {
	o := read(t, sample)
	for _, c := range []struct {
		path []int
		want string // how the body begins
	}{
		{nil, "preamble"}, {[]int{1}, "<style>"}, {[]int{1, 1}, "<style>"}, {[]int{2}, "Subject: inner"}, {[]int{2, 1}, "plain"},
		{[]int{2, 2}, "QUJD"}, {[]int{2, 2, 1}, "QUJD"}, {[]int{3}, ""}, {[]int{0}, ""}, {[]int{2, 3}, ""}, {[]int{1, 2}, ""},
	} {
		p, ok := o.Section(c.path)
		if ok != (c.want != "") || ok && !strings.HasPrefix(sample[p.BodyOffset:], c.want) {
			t.Errorf("%v: %v %+v", c.path, ok, p)
		}
	}
	inner, ok := o.Root().Children[1].Inner()
	if !ok || !strings.HasPrefix(sample[inner.HeaderOffset:], "Subject: inner") || !strings.HasPrefix(sample[inner.BodyOffset:], "--i") {
		t.Errorf("inner %+v", inner)
	}
	if pdf, _ := o.Section([]int{2, 2}); pdf != nil {
		decoded, ok := pdf.Decode(strings.NewReader(sample[pdf.BodyOffset : pdf.BodyOffset+pdf.BodySize]))
		n, err := io.Copy(io.Discard, decoded)
		if n != 3 || !ok || err != nil {
			t.Errorf("size %d %v %v", n, ok, err)
		}
	}
	odd := Part{Encoding: "x-uue"}
	if _, ok := odd.Decode(strings.NewReader("")); ok {
		t.Error("x-uue is known")
	}
}

func TestFields(t *testing.T) {
	h := []byte(crlf("To: a\nSubject: x\n y\nFrom : b\nto: c\n\n"))
	if got := string(Fields(h, []string{"TO", "from", "none"}, false)); got != crlf("To: a\nFrom : b\nto: c\n\n") {
		t.Errorf("got %q", got)
	}
	if got := string(Fields(h, []string{"to"}, true)); got != crlf("Subject: x\n y\nFrom : b\n\n") {
		t.Errorf("got %q", got)
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"a@b; x,\nc@d":              "a@b; c@d",
		"a@b":                       "a@b",
		"A B <a@b>, \"C, D\" <c@d>": "A B <a@b>; C, D <c@d>",
		"a@b (Comment)":             "Comment <a@b>",
		"<@x,@y:a@b>":               "@x,@y: a@b",
		"G: a@b, c@d;, e@f":         "G {; a@b; c@d; }; e@f",
		"undisclosed-recipients:;":  "undisclosed-recipients {; }",
		"just words":                "just words <MISSING_MAILBOX@MISSING_DOMAIN>",
		"x <>":                      "x <MISSING_MAILBOX@MISSING_DOMAIN>",
		"x <a b@c>":                 "x <a@SYNTAX_ERROR>",
		"a.b@d . e":                 "a.b@d.e",
		"\"a b\"@[1.2.3.4]":         "a b@[1.2.3.4]",
		"=?utf-8?q?=C3=A9?= <a@b>":  "=?utf-8?q?=C3=A9?= <a@b>",
		"\"open <a@b>":              "MISSING_MAILBOX@MISSING_DOMAIN",
		"\xff <a@b>":                "\xff <a@b>",
		"a@b,":                      "a@b",
	} {
		var out []string
		for _, a := range Addresses(in) {
			s := a.Mailbox + "@" + a.Host
			if a.Route != "" {
				s = a.Route + ": " + s
			}
			if a.Name != "" {
				s = a.Name + " <" + s + ">"
			}
			switch a.Role {
			case GroupStart:
				s = a.Mailbox + " {"
			case GroupEnd:
				s = "}"
			}
			out = append(out, s)
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%q:\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestPreview(t *testing.T) {
	long := strings.Repeat("日", 300)
	for in, want := range map[string]string{
		"\n  a\n\n b \n":                      "a b",
		"\n> quoted\nmine\n> more\n":          "mine",
		"\n> only quoted\n":                   "> only quoted",
		"Content-Type: text/plain\n\n" + long: long[:3*200],
		"\n" + strings.Repeat("ab ", 100):     strings.TrimSpace(strings.Repeat("ab ", 67)),
		"Content-Type: text/html\n\n<html><title>t</title><p>a&nbsp;&lt;b\u200b\u200c</p><!-- <x --> <script>if(a<b)</script>c</STYLE><br>d<b>e</b>": "a <b c de",
		"Content-Type: text/html\n\n<a title=\"x>y\">z<":                                                             "z<",
		"Content-Type: image/png\n\nPNG":                                                                             "",
		"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$BF|K\\\x1b(B":                                         "日本",
		"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n\n--b\nContent-Type: text/html\n\n<p>x\n--b--":    "x",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\n\nyes\n--b--": "yes",
	} {
		if got := read(t, crlf(in)).Preview; got != want {
			t.Errorf("%.60q: got %q, want %q", in, got, want)
		}
	}
}

func TestTexts(t *testing.T) {
	var got []string
	err := Texts(strings.NewReader(sample), func(p *mail.Part, text io.Reader) error {
		s := p.Path
		if text != nil {
			b, err := io.ReadAll(text)
			if err != nil {
				return err
			}
			s += " " + strings.Join(strings.Fields(string(b)), " ")
		}
		got = append(got, s)
		return nil
	})
	if want := []string{"TEXT", "1 Hié & you second", "2", "2.TEXT", "2.1 plain", "2.2"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q %v", got, err)
	}
	h := mail.ParseHeader([]byte("Subject: =?utf-8?q?=C3=A9?=\r\n x\r\n"))
	if got := HeaderText(h); got != "Subject: é x\n" {
		t.Errorf("%q", got)
	}
}

// TestStripHTMLInPieces: what is delivered does not depend on where reads end.
func TestStripHTMLInPieces(t *testing.T) {
	in := strings.Repeat(`<p class="a>b">x&amp;y &eacute;</p><style>q{}</style ><!-- c --->z`, 300)
	whole, err := io.ReadAll(StripHTML(strings.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("\nx&y é\nz", 300); string(whole) != want {
		t.Errorf("got %.80q", whole)
	}
	small, err := io.ReadAll(StripHTML(iotest.OneByteReader(strings.NewReader(in))))
	if err != nil || string(small) != string(whole) {
		t.Errorf("other text in pieces: %v", err)
	}
}

// TestReadIsLinear: what takes long with ordinary mail a hundred times over
// would take hours here.
func TestReadIsLinear(t *testing.T) {
	const size = 1 << 18
	for _, field := range []string{"To: ", "Content-Type: text/plain", "Content-Type: ", "Content-Disposition: x; a=", "Content-Language: ", "References: ", "Date: ", "Subject: "} {
		for _, unit := range []string{"(", ")", "\"", "\\", "<", ">", "<@a,", "@a,", "a,", "a ", ":", ";", "g:", "; a*0=x", "; a=b", "=", "\r", "\r\n ", ",", ".", "a.", "[", "é", "<a@b>,", "=?utf-8?q?x?= "} {
			raw := field + strings.Repeat(unit, size/len(unit)) + "\r\n\r\n"
			start := time.Now()
			o := read(t, raw)
			Addresses(o.Envelope.To)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("%q of %q: %v", field, unit, d)
			}
		}
	}
	nest := ""
	for i := range 100 {
		nest += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	for _, unit := range []string{"--b\n\n", "--b\n", "--b1", "--\n", "\n", "--b\nContent-Type: message/rfc822\n\n", "--b\nContent-Type: multipart/digest; boundary=b\n\n", "a: b\n", "\n--", "-"} {
		for _, head := range []string{"Content-Type: multipart/mixed; boundary=b\n\n", nest, "", "\n"} {
			start := time.Now()
			o := read(t, crlf(head+strings.Repeat(unit, size/len(unit))))
			if _, err := Decode(o.Append(nil)); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("%q: %v", unit, d)
			}
		}
	}
}

// TestStripHTMLIsLinear is the same for HTML.
func TestStripHTMLIsLinear(t *testing.T) {
	for _, unit := range []string{"<", "<a", "<a ", "<a x=\"", "&", "&amp", "<!--", "<script>", "</script", "<style>x</style>", "<p>", "x", "--", "&#x10ffff;"} {
		start := time.Now()
		if _, err := io.Copy(io.Discard, StripHTML(strings.NewReader(strings.Repeat(unit, 1<<20/len(unit))))); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%q: %v", unit, d)
		}
	}
}
