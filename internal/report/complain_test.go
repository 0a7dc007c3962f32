package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/report/arf"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// signed gives a newsletter, signed by a domain.
func signed(t *testing.T, key senderauth.Key, domain, header string) string {
	t.Helper()
	h := mail.ParseHeader([]byte(header + "\r\n"))
	hash := senderauth.NewBodyHash()
	io.WriteString(hash, "Buy this.\r\n")
	s := senderauth.Signer{Keys: []senderauth.SigningKey{{Domain: mail.Domain(domain), Selector: "s", Key: key}}}
	fields, err := s.SignHash(h, hash.Sum())
	if err != nil {
		t.Fatal(err)
	}
	return fields + header + "\r\nBuy this.\r\n"
}

// A complaint goes only where a signature of the author says, and does not name
// the recipient.
func TestComplaints(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	key, err := senderauth.GenerateKey(senderauth.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := dns.ParseZone(fmt.Sprintf("s._domainkey.here.test. IN TXT %q\ns._domainkey.evil.test. IN TXT %q\n", key.Record(), key.Record()))
	if err != nil {
		t.Fatal(err)
	}
	c := &Complaints{Post: s.daily.Post, Resolver: zone}
	const header = "From: News <news@here.test>\r\nTo: victim@there.test\r\nSubject: prize\r\nMessage-ID: <%s@here.test>\r\nCFBL-Address: dmarc@here.test%s\r\nCFBL-Feedback-ID: 77\r\n"
	for _, test := range []struct {
		name, text string
		want       bool
	}{
		{"wanted", signed(t, key, "here.test", fmt.Sprintf(header, "1", "; report=arf")), true},
		{"the same again", signed(t, key, "here.test", fmt.Sprintf(header, "1", "")), false},
		{"in another format", signed(t, key, "here.test", fmt.Sprintf(header, "2", "; report=xarf")), false},
		{"signed by another", signed(t, key, "evil.test", fmt.Sprintf(header, "3", "")), false},
		{"not signed", fmt.Sprintf(header, "4", "") + "\r\nBuy this.\r\n", false},
		{"changed", strings.Replace(signed(t, key, "here.test", fmt.Sprintf(header, "5", "")), "Buy", "Take", 1), false},
		{"the field was added", "CFBL-Address: dmarc@here.test\r\n" + signed(t, key, "here.test", "From: news@here.test\r\nMessage-ID: <6@here.test>\r\n"), false},
		{"elsewhere", signed(t, key, "here.test", strings.Replace(fmt.Sprintf(header, "7", ""), "dmarc@here", "dmarc@victim", 1)), false},
		{"not asked for", signed(t, key, "here.test", "From: news@here.test\r\nMessage-ID: <8@here.test>\r\n"), false},
	} {
		got, err := c.About(t.Context(), strings.NewReader(test.text))
		if got != test.want || err != nil {
			t.Errorf("%s: %v %v", test.name, got, err)
		}
	}
	m := s.first()
	defer m.Close()
	raw, err := io.ReadAll(m)
	if err != nil {
		t.Fatal(err)
	}
	r, err := arf.Read(bytes.NewReader(raw))
	if err != nil || r.Type != "abuse" || r.Original.Get("CFBL-Feedback-ID") != "77" || r.Original.Get("Message-ID") != "<1@here.test>" {
		t.Errorf("%+v %v", r, err)
	}
	if bytes.Contains(raw, []byte("victim")) {
		t.Errorf("the recipient is named:\n%s", raw)
	}
}
