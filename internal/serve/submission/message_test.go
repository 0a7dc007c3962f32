package submission

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/store/db"
)

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// login gives a session of taro@example.jp, who also gets mail to the alias
// sales@example.jp, with the domain's settings.
func login(t testing.TB, settings directory.DomainSettings) *session {
	t.Helper()
	d, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/test.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	dir := &directory.Directory{DB: d}
	t.Cleanup(dir.Close)
	s := &session{Session: &receive.Session{Reception: &receive.Reception{Directory: dir}}, from: address(t, "taro@example.jp")}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		if s.domain, err = dir.CreateDomain(tx, "example.jp", settings); err != nil {
			return err
		}
		for _, name := range []string{"taro@example.jp", "hanako@example.jp"} {
			acct, err := dir.CreateAccount(tx, directory.Account{Address: address(t, name), State: directory.Active}, directory.Credential{})
			if err != nil {
				return err
			}
			if s.account.ID == 0 {
				s.account = acct
			}
		}
		return dir.CreateAlias(tx, directory.Alias{Address: address(t, "sales@example.jp"), Targets: []mail.Address{address(t, "taro@example.jp")}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const fixed = "Date: Tue, 24 Nov 2026 02:46:52 +0000\r\nMessage-ID: <1@example.jp>\r\n"

func TestPutInOrder(t *testing.T) {
	masked := directory.DefaultDomainSettings()
	masked.Masquerade = directory.Masquerade{Hosts: []mail.Domain{"example.jp"}, Exposed: []string{"root"}}
	forced := directory.DefaultDomainSettings()
	forced.SenderMode = directory.SenderForce
	for _, c := range []struct {
		name     string
		settings directory.DomainSettings
		in, want string // header sections; want "" with a reply
		reply    string
	}{
		{"nothing to do", directory.DefaultDomainSettings(), "From: taro@example.jp\r\n" + fixed, "From: taro@example.jp\r\n" + fixed, ""},
		{"blind copies leave", directory.DefaultDomainSettings(),
			"From: taro@example.jp\r\nBcc: x@y.test,\r\n z@y.test\r\n" + fixed + "Resent-Bcc: q@y.test\r\n", "From: taro@example.jp\r\n" + fixed, ""},
		{"what only receivers write leaves", directory.DefaultDomainSettings(),
			"Return-Path: <x@y.test>\r\nDelivered-To: x\r\nFrom: taro@example.jp\r\n" + fixed, "From: taro@example.jp\r\n" + fixed, ""},
		{"alias: the login in Sender", directory.DefaultDomainSettings(),
			"From: Sales <sales@example.jp>\r\n" + fixed, "From: Sales <sales@example.jp>\r\n" + fixed + "Sender: taro@example.jp\r\n", ""},
		{"a forged Sender leaves", directory.DefaultDomainSettings(),
			"From: taro@example.jp\r\nSender: boss@example.jp\r\n" + fixed, "From: taro@example.jp\r\n" + fixed, ""},
		{"forced: no Sender of ours", forced, "From: sales@example.jp\r\n" + fixed, "From: sales@example.jp\r\n" + fixed, ""},
		{"forced: a forged Sender leaves, too", forced,
			"From: sales@example.jp\r\nSender: boss@far.test\r\n" + fixed, "From: sales@example.jp\r\n" + fixed, ""},
		{"no From", directory.DefaultDomainSettings(), fixed, "From: taro@example.jp\r\n" + fixed, ""},
		{"host parts", masked, "From: Taro <taro@pc1.example.jp>\r\nReply-To: taro@pc2.example.jp\r\nTo: hanako@pc3.example.jp\r\n" + fixed,
			"From: Taro <taro@example.jp>\r\nReply-To: taro@example.jp\r\nTo: hanako@pc3.example.jp\r\n" + fixed, ""},
		{"exposed user", masked, "From: taro@example.jp\r\nReply-To: root@pc2.example.jp\r\n" + fixed,
			"From: taro@example.jp\r\nReply-To: root@pc2.example.jp\r\n" + fixed, ""},
		{"somebody else", directory.DefaultDomainSettings(), "From: hanako@example.jp\r\n" + fixed, "", "550 5.7.1"},
		{"one of two is somebody else", directory.DefaultDomainSettings(), "From: taro@example.jp, hanako@example.jp\r\n" + fixed, "", "550 5.7.1"},
		{"another domain", directory.DefaultDomainSettings(), "From: taro@far.test\r\n" + fixed, "", "550 5.7.1"},
		{"two Froms", directory.DefaultDomainSettings(), "From: taro@example.jp\r\nFrom: boss@far.test\r\n" + fixed, "", "550 5.6.0"},
		{"no address in From", directory.DefaultDomainSettings(), "From: Taro\r\n" + fixed, "", "550 5.6.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := login(t, c.settings)
			h := mail.ParseHeader([]byte(c.in))
			err := s.putInOrder(context.Background(), h)
			var reply *mail.Reply
			if errors.As(err, &reply) != (c.reply != "") || reply != nil && !strings.HasPrefix(reply.Error(), c.reply) {
				t.Fatalf("got %v, want %q", err, c.reply)
			}
			if err == nil && string(h.Bytes()) != c.want {
				t.Errorf("got\n%s\nwant\n%s", h.Bytes(), c.want)
			}
		})
	}
}

func TestMissingFieldsComeIn(t *testing.T) {
	s := login(t, directory.DefaultDomainSettings())
	for _, in := range []string{"From: taro@example.jp\r\n", "From: taro@example.jp\r\nDate: soon\r\nMessage-ID: none\r\n"} {
		h := mail.ParseHeader([]byte(in))
		if err := s.putInOrder(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if _, err := mail.ParseDate(h.Get("Date")); err != nil || len(h.Values("Date")) != 1 {
			t.Errorf("Date %q: %v", h.Values("Date"), err)
		}
		if id := receive.MessageID(h); !strings.HasSuffix(id, "@example.jp") || len(h.Values("Message-ID")) != 1 {
			t.Errorf("Message-ID %q", h.Values("Message-ID"))
		}
	}
}

func TestEnvelopeSender(t *testing.T) {
	forced, masked := directory.DefaultDomainSettings(), directory.DefaultDomainSettings()
	forced.SenderMode = directory.SenderForce
	masked.Masquerade = directory.Masquerade{Hosts: []mail.Domain{"example.jp"}, Envelope: true}
	for _, c := range []struct {
		settings   directory.DomainSettings
		from, want string
	}{
		{directory.DefaultDomainSettings(), "sales@example.jp", "sales@example.jp"},
		{forced, "sales@example.jp", "taro@example.jp"},
		{forced, "", ""},
		{masked, "taro@pc1.example.jp", "taro@example.jp"},
		{masked, "taro@far.test", "taro@far.test"},
	} {
		s := login(t, c.settings)
		var from mail.Address
		if c.from != "" {
			from = address(t, c.from)
		}
		if got := s.envelopeSender(from); got.Wire != c.want {
			t.Errorf("%s: got %s, want %s", c.from, got, c.want)
		}
	}
}
