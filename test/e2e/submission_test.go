package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/xdg-go/scram"
)

func TestLoginNeedsTLS(t *testing.T) {
	s := shared(t, "lara")
	k := s.dial(587)
	k.want("220")
	if caps := k.say("250", "EHLO desk.test"); strings.Contains(caps, "AUTH") {
		t.Errorf("AUTH before TLS: %s", caps)
	}
	k.say("530 5.7.0", "MAIL FROM:<lara@%s>", domain)
	if got := k.say("5", "AUTH PLAIN %s", plain("lara@"+domain, "lara")); strings.HasPrefix(got, "535") {
		t.Errorf("the password was looked at: %s", got)
	}
	k = s.secure()
	k.say("530 5.7.0", "MAIL FROM:<lara@%s>", domain)
	unknown := k.say("535 5.7.8", "AUTH PLAIN %s", plain("nobody@"+domain, "lara"))
	wrong := k.say("535 5.7.8", "AUTH PLAIN %s", plain("lara@"+domain, "wrong"))
	if unknown != wrong {
		t.Errorf("an unknown user hears %q, a wrong password %q", unknown, wrong)
	}
	k.say("504 5.5.4", "AUTH CRAM-MD5")
	k.say("334", "AUTH LOGIN")
	k.say("334", "%s", base64.StdEncoding.EncodeToString([]byte("lara@"+domain)))
	k.say("501", "*")
	k.say("235 2.7.0", "AUTH PLAIN %s", plain("lara", "lara")) // the default domain
	k.say("503", "AUTH PLAIN %s", plain("lara", "lara"))

	k = s.mx() // port 25 takes no logins
	k.say("220", "STARTTLS")
	k.handshake()
	if caps := k.say("250", "EHLO desk.test"); strings.Contains(caps, "AUTH") {
		t.Errorf("AUTH on port 25: %s", caps)
	}
	k.say("50", "AUTH PLAIN %s", plain("lara@"+domain, "lara"))
}

// TestScram logs in by SCRAM-SHA-256 with and without channel binding.
func TestScram(t *testing.T) {
	s := shared(t, "sam")
	for mechanism, password := range map[string]string{
		"SCRAM-SHA-256": "sam", "SCRAM-SHA-256-PLUS": "sam", "SCRAM-SHA-256 ": "wrong", "SCRAM-SHA-256-PLUS ": "wrong",
	} {
		mechanism = strings.TrimSpace(mechanism)
		k := s.secure()
		got := k.scram(mechanism, "sam@"+domain, password)
		if want := map[bool]string{true: "235 2.7.0", false: "535 5.7.8"}[password == "sam"]; !strings.HasPrefix(got, want) {
			t.Errorf("%s with password %s: %s", mechanism, password, got)
		}
	}
}

// scram runs a login on a connection with TLS and gives the last reply.
func (k *talk) scram(mechanism, user, password string) string {
	k.t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		k.t.Fatal(err)
	}
	talk := client.NewConversation()
	if strings.HasSuffix(mechanism, "-PLUS") {
		state := k.c.(*tls.Conn).ConnectionState()
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32) // RFC 9266
		if err != nil {
			k.t.Fatal(err)
		}
		talk = client.NewConversationWithChannelBinding(scram.ChannelBinding{Type: "tls-exporter", Data: data})
	}
	first, err := talk.Step("")
	if err != nil {
		k.t.Fatal(err)
	}
	k.write("AUTH " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(first)) + "\r\n")
	for {
		got := k.reply()
		challenge, ok := strings.CutPrefix(got, "334 ")
		if !ok {
			return got
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			k.t.Fatal(err)
		}
		answer, err := talk.Step(string(text))
		if err != nil {
			answer = "*"
		}
		k.write(base64.StdEncoding.EncodeToString([]byte(answer)) + "\r\n")
	}
}

// TestSenderOwnership tries senders on an account that has an alias.
func TestSenderOwnership(t *testing.T) {
	s := shared(t, "olga", "other")
	s.run("", "alias", "add", "sales@"+domain, "olga@"+domain)
	s.run("", "account", "set", "other@"+domain, "forward_to=olga@"+domain)
	k := s.submit("olga")
	for _, c := range []struct{ mail, from, want string }{
		{"olga@" + domain, "olga@" + domain, "250"},
		{"olga+x@" + domain, "Olga <OLGA+x@" + domain + ">", "250"},
		{"sales@" + domain, "sales@" + domain, "250"},
		{"olga@" + domain, "sales@" + domain, "250"},
		{"", "olga@" + domain, "250"},
		{"other@" + domain, "", "553 5.7.1"}, // who forwards to her lends no address
		{"friend@far.test", "", "553 5.7.1"},
		{"nobody@" + domain, "", "553 5.7.1"},
		{"olga@" + domain, "other@" + domain, "550 5.7.1"},
		{"olga@" + domain, "olga@" + domain + ", friend@far.test", "550 5.7.1"},
		{"olga@" + domain, "olga@" + domain + "\nFrom: x@far.test", "550 5.6.0"},
	} {
		if c.from == "" {
			k.say(c.want, "MAIL FROM:<%s>", c.mail)
			continue
		}
		k.say("250", "MAIL FROM:<%s>", c.mail)
		k.say("250", "RCPT TO:<olga@%s>", domain)
		k.data(c.want, message(c.from, "olga@"+domain, "own"))
	}
	k.say("250", "MAIL FROM:<olga@%s>", domain)
	k.say("550 5.1.1", "RCPT TO:<nobody@%s>", domain)
}

// TestPutInOrder looks at what submission does to a header.
func TestPutInOrder(t *testing.T) {
	s := shared(t, "ines", "jan")
	s.run("", "alias", "add", "desk@"+domain, "ines@"+domain)
	k := s.submit("ines")
	k.send("ines@"+domain, []string{"jan@" + domain},
		"From: desk@"+domain+"\nTo: jan@"+domain+"\nBcc: secret@"+domain+"\nReturn-Path: <x@y.test>\nSender: boss@far.test\nSubject: bare\n\nHello.\n")
	h := header(s.inbox("jan")[0])
	wantAll(t, h, "Return-Path: <ines@"+domain+">\r\n", "\r\nSender: ines@"+domain+"\r\n", "\r\nDate: ", "\r\nMessage-ID: <", "with ESMTPSA id", "\r\nDKIM-Signature: ")
	for _, gone := range []string{"Bcc", "secret@", "x@y.test", "boss@"} {
		if strings.Contains(h, gone) {
			t.Errorf("%s is still in\n%s", gone, h)
		}
	}
	k.send("ines@"+domain, []string{"jan@" + domain},
		"From: ines@"+domain+"\nDate: Tue, 24 Nov 2026 01:02:03 +0900\nMessage-ID: <mine@desk>\n\nHello.\n")
	h = header(s.inbox("jan")[1])
	wantAll(t, h, "Date: Tue, 24 Nov 2026 01:02:03 +0900\r\n", "Message-ID: <mine@desk>\r\n")
	if strings.Contains(h, "\r\nSender:") || strings.Count(h, "\r\nDate:") != 1 || strings.Count(h, "\r\nMessage-ID:") != 1 {
		t.Errorf("added what was there:\n%s", h)
	}
}

// TestDomainSettings plays sender_mode and masquerading in a domain of its own.
func TestDomainSettings(t *testing.T) {
	s := shared(t)
	s.run("", "domain", "add", "mask.test")
	s.run("pia\n", "account", "add", "pia@mask.test", "--password-stdin")
	s.run("", "alias", "add", "shop@mask.test", "pia@mask.test")
	session := func() *talk {
		k := s.secure()
		k.say("235", "AUTH PLAIN %s", plain("pia@mask.test", "pia"))
		return k
	}
	newest := func() string {
		all := s.inboxOf("pia@mask.test", "pia")
		return header(all[len(all)-1])
	}
	s.run("", "domain", "set", "mask.test", "sender_mode=force")
	session().send("shop@mask.test", []string{"pia@mask.test"}, message("shop@mask.test", "pia@mask.test", "forced"))
	if h := newest(); !strings.HasPrefix(h, "Return-Path: <pia@mask.test>") || strings.Contains(h, "\r\nSender:") {
		t.Errorf("sender_mode=force:\n%s", h)
	}

	s.run("", "domain", "set", "mask.test", "sender_mode=record", "masquerade_hosts=desk.mask.test", "masquerade_exposed=root")
	k := session()
	k.say("553 5.7.1", "MAIL FROM:<pia@pc7.desk.mask.test>")
	k.send("pia@mask.test", []string{"pia@mask.test"}, "From: Pia <pia@pc7.desk.mask.test>\nReply-To: root@desk.mask.test, pia@desk.mask.test\nTo: pia@desk.mask.test\n\nHello.\n")
	wantAll(t, newest(), "\r\nFrom: Pia <pia@mask.test>\r\n", "\r\nReply-To: root@desk.mask.test, pia@mask.test\r\n", "\r\nTo: pia@desk.mask.test\r\n")

	s.run("", "domain", "set", "mask.test", "masquerade_envelope=yes")
	session().send("pia@pc7.desk.mask.test", []string{"pia@mask.test"}, message("pia@pc7.desk.mask.test", "pia@mask.test", "both"))
	wantAll(t, newest(), "Return-Path: <pia@mask.test>", "\r\nFrom: pia@mask.test\r\n")
	if out, code := s.try("", "domain", "set", "mask.test", "sender_mode=maybe"); code != 1 || !containsAll(out, "sender_mode", "record|force") {
		t.Errorf("a wrong setting: status %d, %s", code, out)
	}
}

// TestDKIM verifies both signatures with the records that the operator is told
// to publish.
func TestDKIM(t *testing.T) {
	s := shared(t, "dora", "emil")
	k := s.submit("dora")
	k.say("250", "MAIL FROM:<dora@%s> BODY=8BITMIME", domain)
	k.say("250", "RCPT TO:<emil@%s>", domain)
	k.data("250", "From: dora@"+domain+"\nTo: emil@"+domain+"\nSubject: a long\n  folded   subject\n\n.dot\nUmläut  \n\n\n")
	text := map[string]string{}
	for line := range strings.Lines(s.run("", "domain", "dns", domain, "--json")) {
		var r struct{ Name, Type, Value string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Type == "TXT" {
			text[strings.TrimSuffix(r.Name, ".")] = r.Value
		}
	}
	verifications, err := dkim.VerifyWithOptions(strings.NewReader(s.inbox("emil")[0]), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if v, ok := text[name]; ok {
				return []string{v}, nil
			}
			return nil, fmt.Errorf("no record %s in %v", name, text)
		},
	})
	if err != nil || len(verifications) != 2 {
		t.Fatalf("%d signatures, %v", len(verifications), err)
	}
	for _, v := range verifications {
		if v.Err != nil || v.Domain != domain {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
	}
}

// TestKeyRotation brings in a new key, retires an old one and counts the
// signatures.
func TestKeyRotation(t *testing.T) {
	s := shared(t)
	s.run("", "domain", "add", "keys.test")
	s.run("kay\n", "account", "add", "kay@keys.test", "--password-stdin")
	var selectors []string
	for line := range strings.Lines(s.run("", "domain", "dkim", "list", "keys.test", "--json")) {
		var k struct{ Selector string }
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatal(err)
		}
		selectors = append(selectors, k.Selector)
	}
	if len(selectors) != 2 {
		t.Fatalf("keys: %q", selectors)
	}
	signed := func(want ...string) {
		t.Helper()
		k := s.secure()
		k.say("235", "AUTH PLAIN %s", plain("kay@keys.test", "kay"))
		k.send("kay@keys.test", []string{"kay@keys.test"}, message("kay@keys.test", "kay@keys.test", "signed"))
		all := s.inboxOf("kay@keys.test", "kay")
		h := header(all[len(all)-1])
		if n := strings.Count(h, "DKIM-Signature:"); n != len(want) {
			t.Errorf("%d signatures, want %d", n, len(want))
		}
		for _, selector := range want {
			wantAll(t, h, "s="+selector+";")
		}
	}
	signed(selectors...)
	out := s.run("", "domain", "dkim", "add", "keys.test")
	fresh := strings.Fields(out)[0]
	signed(selectors...)
	wantAll(t, s.run("", "domain", "dns", "keys.test"), fresh+"._domainkey.keys.test.")
	s.run("", "domain", "dkim", "activate", "keys.test", fresh)
	s.run("", "domain", "dkim", "retire", "keys.test", selectors[0])
	s.run("", "domain", "dkim", "delete", "keys.test", selectors[1])
	signed(fresh)
	if out, code := s.try("", "domain", "dkim", "activate", "keys.test", "nosuch"); code != 1 || !strings.Contains(out, "nosuch") {
		t.Errorf("status %d: %s", code, out)
	}
}
