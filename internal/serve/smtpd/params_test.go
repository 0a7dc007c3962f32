package smtpd

import (
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

func TestParseMail(t *testing.T) {
	for _, c := range []struct {
		in   string
		want mail.Envelope
		from string
	}{
		{"FROM:<>", mail.Envelope{}, ""},
		{"from:<a@b.example>", mail.Envelope{}, "a@b.example"},
		{"FROM:<@x.example,@[192.0.2.1]:a@b.example>", mail.Envelope{}, "a@b.example"},
		{`FROM:<"a> <\"b"@b.example> SIZE=12`, mail.Envelope{Size: 12}, `"a> <\"b"@b.example`},
		{"FROM:<a@B.Example> size=0 body=binarymime ret=full", mail.Envelope{Body: mail.BodyBinary, Ret: "FULL"}, "a@B.Example"},
		{"FROM:<a@b.example> ENVID=Q+2B+3Dx AUTH=a+40b", mail.Envelope{EnvID: "Q+=x", Auth: "a@b"}, "a@b.example"},
		{"FROM:<あ@例え.jp> SMTPUTF8", mail.Envelope{SMTPUTF8: true}, "あ@例え.jp"},
	} {
		env, bad := parseMail(c.in)
		if bad != nil {
			t.Errorf("%q: %v", c.in, bad)
			continue
		}
		if env.From.Wire != c.from {
			t.Errorf("%q: from %q", c.in, env.From.Wire)
		}
		env.From = mail.Address{}
		if env.Size != c.want.Size || env.Body != c.want.Body || env.Ret != c.want.Ret || env.EnvID != c.want.EnvID ||
			env.Auth != c.want.Auth || env.SMTPUTF8 != c.want.SMTPUTF8 {
			t.Errorf("%q: %+v", c.in, env)
		}
	}
}

func TestParseMailRefuses(t *testing.T) {
	for in, code := range map[string]string{
		"":                                "501 5.5.2",
		"FROM":                            "501 5.5.2",
		"TO:<a@b.example>":                "501 5.5.2",
		"FROM:":                           "501 5.5.2",
		"FROM:<":                          "501 5.1.7",
		"FROM:<a@b.example":               "501 5.1.7",
		"FROM:<<a@b.example>>":            "501 5.1.7",
		`FROM:<"a@b.example>`:             "501 5.1.7",
		"FROM:<a@b.example>>":             "501 5.5.4",
		"FROM:<a@b.example>  SIZE=1":      "501 5.5.4",
		"FROM:<a@b.example> ":             "501 5.5.4",
		"FROM:<a@b.example> SIZE":         "501 5.5.4",
		"FROM:<a@b.example> SIZE=":        "501 5.5.4",
		"FROM:<a@b.example> SIZE=-1":      "501 5.5.4",
		"FROM:<a@b.example> SIZE=1=2":     "501 5.5.4",
		"FROM:<a@b.example> -X=1":         "501 5.5.4",
		"FROM:<a@b.example> RET":          "501 5.5.4",
		"FROM:<a@b.example> ENVID=+2":     "501 5.5.4",
		"FROM:<a@b.example> ENVID=+00":    "501 5.5.4",
		"FROM:<a@b.example> AUTH":         "501 5.5.4",
		"FROM:<a@b.example> X=1":          "555 5.5.4",
		"FROM:<a@b.example> NOTIFY=NEVER": "555 5.5.4",
		"FROM:<@x.example:>":              "501 5.1.7",
		"FROM:<@x.example>":               "501 5.1.7",
		"FROM:<x.example,@y:a@b.example>": "501 5.1.7",
		"FROM:<a b@b.example>":            "501 5.1.7",
		"FROM:<a@b..example>":             "501 5.1.7",
		"FROM:<é@b.example>":              "553 5.6.7",
		"FROM:<a@b.example> ENVID=" + strings.Repeat("a", 101):               "501 5.5.4",
		"FROM:<a@b.example> AUTH=" + strings.Repeat("a", 501):                "501 5.5.4",
		"FROM:<a@b.example> SIZE=" + strings.Repeat("1", 21):                 "501 5.5.4",
		"FROM:<a@b.example> SMTPUTF8 BODY=8BITMIME SIZE=1 RET=FULL SMTPUTF8": "501 5.5.4",
	} {
		_, bad := parseMail(in)
		if bad == nil || !strings.HasPrefix(bad.Error(), code) {
			t.Errorf("%q: want %s, got %v", in, code, bad)
		}
	}
}

func TestParseORcpt(t *testing.T) {
	for in, want := range map[string]string{
		"rfc822;a+40b.example":                "rfc822;a@b.example",
		"utf-8;\\x{3042}@b":                   "utf-8;あ@b",
		"UTF-8;あ@b":                           "UTF-8;あ@b",
		"x400;/c=x":                           "",
		"rfc822":                              "",
		"rfc822;":                             "",
		";a":                                  "",
		"rfc822;+0D+0A":                       "",
		"utf-8;\\x{0D}":                       "",
		"utf-8;\\x{110000}":                   "",
		"utf-8;\\x{41":                        "",
		"rfc822;あ":                            "",
		"rfc822;a" + strings.Repeat("b", 500): "",
	} {
		if got, ok := parseORcpt(in, true); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", in, got, ok)
		}
	}
	if _, ok := parseORcpt("utf-8;あ@b", false); ok {
		t.Error("UTF-8 without SMTPUTF8")
	}
}

func TestAppendReply(t *testing.T) {
	for _, c := range []struct {
		r    mail.Reply
		utf8 bool
		want string
	}{
		{mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "a\nb"}, false, "250-2.0.0 a\r\n250 2.0.0 b\r\n"},
		{mail.Reply{Code: 250, Text: ""}, false, "250 \r\n"},
		{mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "x\r\ny\x00あ\xff"}, false, "550-5.1.1 x?\r\n550 5.1.1 y???\r\n"},
		{mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "あ\xff\u202e"}, true, "550 5.1.1 あ??\r\n"},
		{mail.Reply{Code: 42, Text: "x"}, false, "451 x\r\n"},
	} {
		if got := string(appendReply(nil, c.r, c.utf8)); got != c.want {
			t.Errorf("%+v: %q", c.r, got)
		}
	}
	if got := appendReply(nil, mail.Reply{Code: 250, Enhanced: "2.0.0", Text: strings.Repeat("x", 9999)}, false); len(got) > 512 {
		t.Errorf("%d octets", len(got))
	}
}
