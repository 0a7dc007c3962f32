package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func TestRecipients(t *testing.T) {
	s := shared(t, "rita", "roy", "roff", "rtiny")
	s.run("", "account", "disable", "roff@"+domain)
	s.run("", "account", "set", "rtiny@"+domain, "quota=1MB")
	s.run("", "alias", "add", "team@"+domain, "rita@"+domain, "roy@"+domain)
	s.run("", "alias", "add", "dead@"+domain, "roff@"+domain)
	for _, c := range []struct{ from, to, want string }{
		{"a@far.test", "nobody@" + domain, "550 5.1.1"},
		{"a@far.test", "someone@elsewhere.test", "550 5.7.1"},
		{"a@far.test", "someone%elsewhere.test@" + domain, "550 5.1.1"},
		{"a@far.test", "someone@[192.0.2.1]", "550 5.7.1"},
		{"a@far.test", "roff@" + domain, "550 5.2.1"},
		{"a@far.test", "dead@" + domain, "550 5.2.1"},
		{"a@far.test", "rita+tag@" + domain, "250"},
		{"a@far.test", "RITA@EXAMPLE.TEST", "250"},
		{"a@far.test", `"rita"@` + domain, "250"},
		{"a@far.test", "team@" + domain, "250"},
		{"a@far.test", "postmaster@" + domain, "250"},
		{"a@far.test", "Postmaster", "250"},
		{"", "abuse@" + domain, "250"},
		{"", "rita@" + domain, "250"},
		{"a@far.test", "rita", "501"},
		{"a@far.test", "rita@", "501"},
		{"a@far.test", "SRS0=AAAAAA=AA=far.test=a@" + domain, "550 5.1.1"},
	} {
		k := s.mx()
		k.say("250", "MAIL FROM:<%s>", c.from)
		k.say(c.want, "RCPT TO:<%s>", c.to)
		k.say("221", "QUIT")
	}
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test> SIZE=%d", 2<<20)
	k.say("452 4.2.2", "RCPT TO:<rtiny@%s>", domain)
	k.say("250", "RCPT TO:<rita@%s>", domain)
	k.say("250", "RSET")
	k.say("552 5.3.4", "MAIL FROM:<a@far.test> SIZE=%d", 60<<20)

	k.send("a@far.test", []string{"team@" + domain}, message("a@far.test", "team@"+domain, "to the team"))
	for _, u := range []string{"rita", "roy"} {
		if got := s.inbox(u); len(got) != 1 {
			t.Errorf("%s has %d messages of the alias", u, len(got))
		}
	}
}

// TestFullMailbox fills a mailbox by a message whose size was not announced.
func TestFullMailbox(t *testing.T) {
	s := shared(t, "full")
	s.run("", "account", "set", "full@"+domain, "quota=1MB")
	big := message("a@far.test", "full@"+domain, "big") + strings.Repeat("This line fills the mailbox.\n", 40000)
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("250", "RCPT TO:<full@%s>", domain)
	k.data("452 4.2.2", big)
	half := big[:700<<10]
	k.send("a@far.test", []string{"full@" + domain}, half)
	eventually(t, shortly, "RCPT knows how full the mailbox is", func() bool {
		k.say("250", "MAIL FROM:<a@far.test> SIZE=%d", len(half))
		k.write("RCPT TO:<full@" + domain + ">\r\n")
		answer := k.reply()
		k.say("250", "RSET")
		return strings.HasPrefix(answer, "452 4.2.2")
	})
	k.say("250", "MAIL FROM:<a@far.test> SIZE=%d", 100)
	k.say("250", "RCPT TO:<full@%s>", domain)
	if got := s.inbox("full"); len(got) != 1 {
		t.Errorf("%d messages, want the one with room", len(got))
	}
	s.run("", "account", "set", "full@"+domain, "quota=none")
	k.say("250", "RSET")
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("250", "RCPT TO:<full@%s>", domain)
	k.data("250", big)
}

func TestCatchAll(t *testing.T) {
	s := shared(t)
	s.run("", "domain", "add", "all.test")
	s.run("dora\n", "account", "add", "dora@all.test", "--password-stdin")
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("550 5.1.1", "RCPT TO:<whoever@all.test>")
	s.run("", "domain", "set", "all.test", "catch_all=dora@all.test")
	k.say("250", "RCPT TO:<whoever@all.test>")
	k.data("250", message("a@far.test", "whoever@all.test", "caught"))
	if got := s.inboxOf("dora@all.test", "dora"); len(got) != 1 || !strings.Contains(got[0], "Subject: caught") {
		t.Errorf("dora has %q", got)
	}
	if out, code := s.try("", "domain", "set", "all.test", "catch_all=nobody@all.test"); code != 1 || !strings.Contains(out, "nobody@all.test") {
		t.Errorf("a catch-all that does not exist: status %d, %s", code, out)
	}
}

// TestInternational mails to and from addresses that are not ASCII.
func TestInternational(t *testing.T) {
	s := shared(t)
	s.run("", "domain", "add", "例え.test")
	s.run("umi\n", "account", "add", "渚@例え.test", "--password-stdin")
	wantAll(t, s.run("", "domain", "list"), "xn--r8jz45g.test", "例え.test")
	for _, to := range []string{"渚@例え.test", "渚+波@例え.test", "渚@xn--r8jz45g.test"} {
		k := s.mx()
		k.say("250", "MAIL FROM:<送り主@far.test> SMTPUTF8 BODY=8BITMIME")
		k.say("250", "RCPT TO:<%s>", to)
		k.data("250", "From: 送り主@far.test\nTo: "+to+"\nSubject: 水際\n\n静か\n")
	}
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("553 5.6.7", "RCPT TO:<渚@例え.test>") // the client did not ask for SMTPUTF8
	got := s.inboxOf("渚@例え.test", "umi")
	if len(got) != 3 {
		t.Fatalf("%d messages", len(got))
	}
	wantAll(t, header(got[0]), "Return-Path: <送り主@far.test>", " with UTF8SMTP id ", " for <渚@", "Subject: 水際")
}

func TestReceived(t *testing.T) {
	s := shared(t, "rec")
	for _, c := range []struct{ hello, tls, want string }{
		{"EHLO far.test", "", `Received: from far\.test \(\[127\.0\.0\.1\]\) by localhost\.example\.test with ESMTP id \S+ for <rec@example\.test>; \w{3}, \d+ \w{3} \d{4} [\d:]{8} [+-]\d{4}\r\n`},
		{"HELO far.test", "", `Received: from far\.test \(\[127\.0\.0\.1\]\) by localhost\.example\.test with SMTP id `},
		{"EHLO [127.0.0.1]", "tls", `Received: from \[127\.0\.0\.1\] \(.*\) \(using TLS 1\.3 with cipher \S+\) by localhost\.example\.test with ESMTPS id `},
	} {
		k := s.dial(25)
		k.want("220 localhost.example.test ESMTP")
		k.say("250", "%s", c.hello)
		if c.tls != "" {
			k.say("220", "STARTTLS")
			k.handshake()
			if caps := k.say("250", "%s", c.hello); strings.Contains(caps, "STARTTLS") {
				t.Errorf("STARTTLS inside TLS: %s", caps)
			}
		}
		k.send("a@far.test", []string{"rec@" + domain}, message("a@far.test", "rec@"+domain, "trace"))
		all := s.inbox("rec")
		if h := header(all[len(all)-1]); !regexp.MustCompile(c.want).MatchString(h) || !strings.HasPrefix(h, "Return-Path: <a@far.test>\r\n") {
			t.Errorf("%s: not %s in\n%s", c.hello, c.want, h)
		}
	}
	k := s.mx()
	k.send("a@far.test", []string{"rec@" + domain, "rec+2@" + domain}, message("a@far.test", "rec@"+domain, "two"))
	if h := header(s.inbox("rec")[3]); strings.Contains(h, " for <") {
		t.Errorf("a recipient of several is told:\n%s", h)
	}
}

func TestLoop(t *testing.T) {
	s := shared(t, "loop")
	hop := "Received: from a.test by b.test; Tue, 24 Nov 2026 00:00:00 +0000\n"
	k := s.mx()
	for hops, want := range map[int]string{100: "250", 101: "554 5.4.6"} {
		k.say("250", "MAIL FROM:<a@far.test>")
		k.say("250", "RCPT TO:<loop@%s>", domain)
		k.data(want, strings.Repeat(hop, hops)+message("a@far.test", "loop@"+domain, "round"))
	}
}

// TestBodies sends 8-bit and binary text by DATA and BDAT: every octet comes
// through.
func TestBodies(t *testing.T) {
	s := shared(t, "body")
	head := "From: a@far.test\r\nSubject: octets\r\n\r\n"
	k := s.mx()
	k.say("250", "MAIL FROM:<a@far.test> BODY=8BITMIME")
	k.say("250", "RCPT TO:<body@%s>", domain)
	k.data("250", head+"\xe9\xff \x01\n")

	k.say("250", "MAIL FROM:<a@far.test> BODY=BINARYMIME")
	k.say("503", "DATA") // RFC 3030: binary mail needs BDAT
	k.say("250", "RCPT TO:<body@%s>", domain)
	first, last := head+"by chunks\r\n.\r\nand no ", "end\x00\r\n"
	k.write(fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", len(first), first, len(last), last))
	k.want("250")
	k.want("250")

	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("250", "RCPT TO:<body@%s>", domain)
	k.write("BDAT 0 LAST\r\n")
	if got := k.reply(); got[0] != '2' && got[0] != '5' {
		t.Errorf("an empty message: %s", got)
	}
	got := s.inbox("body")
	if len(got) < 2 || !strings.HasSuffix(got[0], "\r\n\r\n\xe9\xff \x01\r\n") || !strings.HasSuffix(got[1], "\r\n\r\nby chunks\r\n.\r\nand no end\x00\r\n") {
		t.Errorf("got %q", got)
	}
}

// TestTooBig sends more than SIZE allows without saying so.
func TestTooBig(t *testing.T) {
	t.Parallel()
	s := start(t, "[smtp]\nmax_message = \"1 MiB\"\n", "alice")
	k := s.dial(25)
	k.want("220")
	if caps := k.say("250", "EHLO far.test"); !strings.Contains(caps, "SIZE 1048576") {
		t.Errorf("SIZE is not announced: %s", caps)
	}
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("250", "RCPT TO:<alice@%s>", domain)
	k.data("552 5.3.4", message("a@far.test", "alice@"+domain, "big")+strings.Repeat(strings.Repeat("x", 70)+"\n", 16000))
	k.send("a@far.test", []string{"alice@" + domain}, message("a@far.test", "alice@"+domain, "small"))
	if got := s.inbox("alice"); len(got) != 1 || !strings.Contains(got[0], "Subject: small") {
		t.Errorf("alice has %d messages", len(got))
	}
}

// TestSmuggling plays ends of data that only some servers take for one: none
// may let a second message in.
func TestSmuggling(t *testing.T) {
	s := shared(t, "smug")
	second := "MAIL FROM:<admin@example.test>\r\nRCPT TO:<smug@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n\x00.\r\n", "\n.\r", "\r\r\n.\r\r\n"} {
		k := s.mx()
		k.say("250", "MAIL FROM:<a@far.test>")
		k.say("250", "RCPT TO:<smug@%s>", domain)
		k.say("354", "DATA")
		k.write("Subject: first\r\n\r\ntext" + end + second)
		k.write("QUIT\r\n")
		accepted := 0
		for r := k.reply(); r != ""; r = k.reply() {
			if strings.HasPrefix(r, "250") {
				accepted++
			}
		}
		if accepted > 1 {
			t.Errorf("end %q let %d replies 250 out", end, accepted)
		}
	}
	for _, m := range s.inbox("smug") {
		if strings.HasPrefix(m, "Return-Path: <admin@") {
			t.Errorf("smuggled in:\n%s", m)
		}
	}
}

// TestStartTLS looks that nothing said before TLS counts inside it.
func TestStartTLS(t *testing.T) {
	s := shared(t, "tess")
	k := s.dial(25)
	k.want("220")
	k.say("250", "EHLO far.test")
	k.say("250", "MAIL FROM:<a@far.test>")
	k.say("503", "STARTTLS") // not within a transaction
	k.say("250", "RSET")
	k.say("220", "STARTTLS")
	k.handshake()
	k.say("503", "RCPT TO:<tess@%s>", domain)
	k.say("503", "MAIL FROM:<a@far.test>") // not before EHLO
	k.say("250", "EHLO far.test")
	k.say("250", "MAIL FROM:<a@far.test>")

	k = s.dial(25)
	k.want("220")
	k.say("250", "EHLO far.test")
	k.write("STARTTLS\r\nEHLO injected.test\r\n")
	if got := k.reply(); strings.HasPrefix(got, "220") {
		k.handshake()
		k.write("NOOP\r\n")
		k.want("250 2.0.0")
	}
}

// TestProxy talks to the listener behind a balancer.
func TestProxy(t *testing.T) {
	t.Parallel()
	offset := freeOffset(t)
	addr := fmt.Sprintf("127.0.0.1:%d", offset+26)
	s := install(t, "", "--mx-proxy-listen", addr, "--trust-proxy", "127.0.0.2/32", "--trust-proxy", "127.0.0.1/32")
	s.add("alice")
	s.serve()
	v2 := func(src, dst string) string {
		a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
		family, addrs := byte(0x11), append(a.AsSlice(), b.AsSlice()...)
		if a.Is6() {
			family = 0x21
		}
		h := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21"), family)
		h = binary.BigEndian.AppendUint16(h, uint16(len(addrs)+4))
		h = append(h, addrs...)
		return string(append(h, 0x30, 0x39, 0, 25))
	}
	for _, c := range []struct{ name, header, from string }{
		{"v1", "PROXY TCP4 192.0.2.7 192.0.2.25 4321 25\r\n", `\[192\.0\.2\.7\]`},
		{"v1 IPv6", "PROXY TCP6 2001:db8::7 2001:db8::25 4321 25\r\n", `\[IPv6:2001:db8::7\]`},
		{"v2", v2("192.0.2.8", "192.0.2.25"), `\[192\.0\.2\.8\]`},
		{"v2 IPv6", v2("2001:db8::8", "2001:db8::25"), `\[IPv6:2001:db8::8\]`},
		{"v1 of the balancer itself", "PROXY UNKNOWN\r\n", `\[127\.0\.0\.1\]`},
	} {
		k := dialTo(t, addr)
		k.write(c.header)
		k.want("220")
		k.say("250", "EHLO far.test")
		k.send("a@far.test", []string{"alice@" + domain}, message("a@far.test", "alice@"+domain, c.name))
		all := s.inbox("alice")
		if h := header(all[len(all)-1]); !regexp.MustCompile(`Received: from far\.test \(` + c.from).MatchString(h) {
			t.Errorf("%s: %s", c.name, h)
		}
	}
	for name, first := range map[string]string{"no header": "EHLO far.test\r\n", "broken": "PROXY TCP4 nonsense\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaa"} {
		k := dialTo(t, addr)
		k.write(first)
		if got := k.line(); strings.HasPrefix(got, "220") {
			t.Errorf("%s: got %q", name, got)
		}
	}
	k := s.dial(25) // where no balancer is, a header is no header
	k.want("220")
	k.say("5", "PROXY TCP4 192.0.2.7 192.0.2.25 4321 25")
}

// TestProxyUntrusted keeps out whoever is not a balancer.
func TestProxyUntrusted(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", freeOffset(t)+26)
	s := install(t, "", "--mx-proxy-listen", addr, "--trust-proxy", "192.0.2.0/24")
	s.serve()
	k := dialTo(t, addr)
	k.write("PROXY TCP4 192.0.2.7 192.0.2.25 4321 25\r\n")
	if got := k.line(); strings.HasPrefix(got, "220") || strings.HasPrefix(got, "250") {
		t.Errorf("got %q", got)
	}
	if out, code := s.try("", "quickstart", "--dir", t.TempDir()+"/x", "--domain", domain, "--mx-proxy-listen", addr); code != 2 || !strings.Contains(out, "--trust-proxy") {
		t.Errorf("quickstart without --trust-proxy: status %d, %s", code, out)
	}
}
