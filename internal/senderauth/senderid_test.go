package senderauth

import (
	"net/netip"
	"testing"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

func header(text string) *mail.Header { return mail.ParseHeader([]byte(text + "\r\n")) }

func TestResponsible(t *testing.T) {
	for _, test := range []struct{ name, header, want string }{
		{"author", "From: Ann <ann@a.test>\r\n", "From ann@a.test"},
		{"sender", "From: ann@a.test, bob@b.test\r\nSender: list@l.test\r\n", "Sender list@l.test"},
		{"resent", "Resent-From: x@r.test\r\nFrom: ann@a.test\r\nSender: list@l.test\r\n", "Resent-From x@r.test"},
		{"resent by another", "Resent-Sender: s@r.test\r\nResent-From: x@r.test\r\nFrom: ann@a.test\r\n", "Resent-Sender s@r.test"},
		{"older resent sender", "Resent-From: new@r.test\r\nReceived: from x\r\nResent-Sender: old@r.test\r\nFrom: ann@a.test\r\n", "Resent-From new@r.test"},
		{"empty sender", "Sender:\r\nFrom: ann@a.test\r\n", "From ann@a.test"},
		{"two senders", "Sender: a@a.test\r\nSender: b@b.test\r\nFrom: ann@a.test\r\n", ""},
		{"two authors", "From: a@a.test\r\nFrom: b@b.test\r\n", ""},
		{"two mailboxes", "From: a@a.test, b@b.test\r\n", ""},
		{"broken", "From: <<>>\r\n", ""},
		{"nothing", "Subject: x\r\n", ""},
	} {
		field, a, ok := Responsible(header(test.header))
		got := ""
		if ok {
			got = field + " " + a.Wire
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestSenderID(t *testing.T) {
	zone, err := dns.ParseZone(`
both.test. IN TXT "spf2.0/mfrom,pra -all"
both.test. IN TXT "v=spf1 +all"
old.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
mfrom.test. IN TXT "spf2.0/mfrom -all"
mfrom.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
in.test. IN TXT "spf2.0/pra include:both.test ~all"
`)
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]SPFResult{"both.test": SPFFail, "old.test": SPFPass, "mfrom.test": SPFPass, "in.test": SPFSoftFail, "none.test": SPFNone} {
		got := CheckSenderID(t.Context(), zone, netip.MustParseAddr("192.0.2.1"), "x.test", header("From: x@"+domain+"\r\n"))
		if got.Result != want || got.Field != "From" {
			t.Errorf("%s: %+v, want %s", domain, got, want)
		}
		spf := CheckSPF(t.Context(), zone, netip.MustParseAddr("192.0.2.1"), "x.test", mail.Address{Local: "x", Domain: mail.Domain(domain), Wire: "x@" + domain})
		if domain == "both.test" && spf != SPFPass || domain == "in.test" && spf != SPFNone {
			t.Errorf("%s: SPF has read records of Sender ID: %s", domain, spf)
		}
	}
	if got := CheckSenderID(t.Context(), zone, netip.MustParseAddr("192.0.2.1"), "x.test", header("Subject: x\r\n")); got.Result != SPFPermError {
		t.Errorf("without an author: %+v", got)
	}
}
