package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestPOP3 plays the whole dialogue by hand.
func TestPOP3(t *testing.T) {
	s := shared(t, "poppy")
	s.deliver("one", "poppy@"+domain)
	s.deliver("two", "poppy@"+domain)
	k := s.dial(110)
	k.want("+OK")
	k.say("+OK", "CAPA")
	if caps := k.text(); !containsAll(caps, "STLS\r\n", "TOP\r\n", "UIDL\r\n", "RESP-CODES\r\n", "PIPELINING\r\n") || strings.Contains(caps, "SASL") {
		t.Errorf("before TLS: %s", caps)
	}
	k.say("-ERR", "USER poppy@%s", domain)
	k.say("-ERR", "AUTH PLAIN %s", plain("poppy@"+domain, "poppy"))
	k.say("+OK", "STLS")
	k.handshake()
	k.say("+OK", "CAPA")
	wantAll(t, k.text(), "USER\r\n", "SASL ", "SCRAM-SHA-256", "EXPIRE NEVER", "UTF8")
	k.say("-ERR", "STAT")
	k.say("+OK", "USER nobody@%s", domain)
	unknown := k.say("-ERR [AUTH]", "PASS x")
	k.say("+OK", "USER poppy@%s", domain)
	if wrong := k.say("-ERR [AUTH]", "PASS x"); wrong != unknown {
		t.Errorf("a wrong password hears %q, an unknown user %q", wrong, unknown)
	}
	k.say("+OK", "AUTH PLAIN %s", plain("poppy@"+domain, "poppy"))

	other := s.dial(995)
	other.handshake()
	other.want("+OK")
	other.say("+OK", "USER poppy@%s", domain)
	other.say("-ERR [IN-USE]", "PASS poppy")

	first := k.say("+OK 1 ", "UIDL 1")
	k.say("+OK", "UIDL")
	if ids := k.text(); !strings.HasPrefix(ids, strings.TrimPrefix(first, "+OK ")+"\r\n2 ") {
		t.Errorf("UIDL: %q and %q", first, ids)
	}
	k.say("+OK", "TOP 1 0")
	if top := k.text(); !strings.HasSuffix(top, "Subject: one\r\n\r\n") {
		t.Errorf("TOP 1 0: %q", top)
	}
	var n, size int
	fmt.Sscanf(k.say("+OK 1", "LIST 1"), "+OK %d %d", &n, &size)
	k.say("+OK", "RETR 1")
	if text := k.text(); len(text) != size {
		t.Errorf("message 1 has %d octets, LIST says %d", len(text), size)
	}
	k.say("-ERR", "RETR 3")
	k.say("-ERR", "RETR 0")
	k.say("+OK", "DELE 1")
	k.say("-ERR", "RETR 1")
	k.c.Close() // without QUIT nothing is removed

	var again string
	eventually(t, shortly, "the mailbox is free", func() bool {
		k = s.dial(995)
		k.handshake()
		k.want("+OK")
		k.say("+OK", "USER poppy@%s", domain)
		k.write("PASS poppy\r\n")
		again = k.line()
		return strings.HasPrefix(again, "+OK 2 ")
	})
	k.say(first, "UIDL 1")
	k.say("+OK", "DELE 1")
	k.say("+OK", "QUIT")
	if got := s.inbox("poppy"); len(got) != 1 || !strings.Contains(got[0], "Subject: two") {
		t.Errorf("left: %q", got)
	}
}

// TestPOP3ByCurl upgrades with STLS.
func TestPOP3ByCurl(t *testing.T) {
	s := shared(t, "cupop")
	s.deliver("by curl", "cupop@"+domain)
	out, err := tool(t, "", "curl", "-sS", "--ssl-reqd", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", "cupop@"+domain+":cupop",
		fmt.Sprintf("pop3://localhost.%s:%s/1", domain, s.port(110)))
	if err != nil || !strings.Contains(out, "Subject: by curl") {
		t.Errorf("curl: %v\n%s", err, out)
	}
	for _, auth := range []string{"PLAIN", "SCRAM-SHA-256"} {
		out, err := tool(t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", "cupop@"+domain+":cupop", "--login-options", "AUTH="+auth,
			fmt.Sprintf("pop3s://localhost.%s:%s/1", domain, s.port(995)))
		if err != nil && strings.Contains(out, "Bad user/option") || err != nil && auth != "PLAIN" {
			t.Logf("this curl has no %s: %v", auth, err)
		} else if err != nil || !strings.Contains(out, "Subject: by curl") {
			t.Errorf("curl with %s: %v\n%s", auth, err, out)
		}
	}
}
