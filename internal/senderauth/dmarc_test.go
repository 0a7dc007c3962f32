package senderauth

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// No composition of From lets a domain pass that is not the only one a reader
// can see.
func TestAuthorDomain(t *testing.T) {
	for header, want := range map[string]string{
		"From: a@good.example\r\n":                          "good.example",
		"From: \"bank.example\" <a@GOOD.example>\r\n":       "good.example",
		"From: a@bücher.example\r\n":                        "xn--bcher-kva.example",
		"From: a@good.example, b@good.example\r\n":          "good.example",
		"From: a@good.example, b@bank.example\r\n":          "",
		"From: a@good.example\r\nFrom: b@bank.example\r\n":  "",
		"From: a@good.example\r\nfrom : b@bank.example\r\n": "",
		"From: nobody\r\n":                                  "",
		"From: a@[192.0.2.1]\r\n":                           "",
		"From:\r\n":                                         "",
		"Subject: x\r\n":                                    "",
		"From: a@good.example\x00@bank.example\r\n":         "",
		"From: <a@good.example> <b@bank.example>\r\n":       "",
		"From: a@bank.example(,b@)good.example\r\n":         "",
	} {
		got, err := AuthorDomain(mail.ParseHeader([]byte(header)))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", header, got, err, want)
		}
	}
}

func TestDMARC(t *testing.T) {
	zone := texts(t, map[string]string{
		"_dmarc.strict.example": "v=DMARC1; p=reject; adkim=s; aspf=s", "_dmarc.loose.example": "v=DMARC1;p=quarantine;sp=none;rua=mailto:a@x.example!10m",
		"_dmarc.test.example": "v=DMARC1; p=reject; t=y", "_dmarc.part.example": "v=DMARC1; p=reject; pct=20", "_dmarc.broken.example": "v=DMARC1; p=maybe",
		"_dmarc.np.example": "v=DMARC1; p=none; np=reject", "there.np.example": "x", "_dmarc.co.jp": "v=DMARC1; p=reject",
		"_dmarc.bank": "v=DMARC1; p=reject; psd=y", "_dmarc.mid.deep.example": "v=DMARC1; p=quarantine",
		"_dmarc.odd.example": "v=spf1 -all", "_dmarc.late.example": "p=reject; v=DMARC1",
	})
	for _, test := range []struct {
		from, spf, signed string
		want              Result
		policy            DMARCPolicy
	}{
		{"strict.example", "strict.example", "", "pass", PolicyReject},
		{"strict.example", "", "strict.example", "pass", PolicyReject},
		{"strict.example", "mail.strict.example", "mail.strict.example", "fail", PolicyReject},
		{"loose.example", "mail.loose.example", "", "pass", PolicyQuarantine},
		{"loose.example", "", "other.example", "fail", PolicyQuarantine},
		{"sub.loose.example", "", "", "fail", PolicyNone},
		{"sub.loose.example", "", "loose.example", "pass", PolicyNone},
		{"test.example", "", "", "fail", PolicyQuarantine},
		{"part.example", "", "", "fail", PolicyQuarantine},
		{"broken.example", "", "", "none", PolicyNone},
		{"odd.example", "", "", "none", PolicyNone},
		{"late.example", "", "", "none", PolicyNone},
		{"without.example", "without.example", "", "none", PolicyNone},
		{"gone.np.example", "", "", "fail", PolicyReject},
		{"np.example", "", "", "fail", PolicyNone},
		{"firm.co.jp", "", "", "none", PolicyNone},
		{"some.bank", "", "", "fail", PolicyReject},
		{"a.mid.deep.example", "", "", "fail", PolicyQuarantine},
		{"a.b.c.d.e.f.g.h.i.j.loose.example", "", "", "fail", PolicyNone},
	} {
		var signed []Signed
		if test.signed != "" {
			signed = append(signed, Signed(test.signed))
		}
		d := DMARC{zone}
		r := d.Find(t.Context(), mail.ParseHeader([]byte("From: a@"+test.from+"\r\n"))).Align(test.spf, signed)
		if r.Result != string(test.want) || r.Policy != test.policy {
			t.Errorf("%+v: %+v", test, r)
		}
	}
}

// The public suffix list's own pairs.
func TestOrganisationalDomains(t *testing.T) {
	f, err := os.Open(filepath.Join(suite(t, "02-auth/public-suffix-list"), "tests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(strings.TrimPrefix(lines.Text(), "//"))
		if len(words) != 2 || strings.HasPrefix(lines.Text(), "//") || words[0] == "null" || words[1] == "null" {
			continue // suffixes themselves are their own organisation here
		}
		a, err := mail.ParseDomain(words[0])
		if err != nil {
			continue
		}
		b, err := mail.ParseDomain(words[1])
		if err != nil {
			continue
		}
		all++
		if got := OrganisationalDomain(string(a)); got != strings.ToLower(string(b)) {
			t.Errorf("%s: %s, want %s", words[0], got, b)
		}
	}
	t.Logf("%d pairs", all)
	if all < 30 {
		t.Errorf("only %d pairs were read", all)
	}
}

func FuzzParseDMARC(f *testing.F) {
	f.Add("v=DMARC1; p=reject; rua=mailto:a@b!1m,mailto:c")
	f.Fuzz(func(t *testing.T, text string) {
		if r := ParseDMARC(text); r != nil && (r.Policy == "" || r.Subdomains == "") {
			t.Fatalf("%+v", r)
		}
	})
}
