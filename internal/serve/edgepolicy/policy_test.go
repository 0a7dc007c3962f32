package edgepolicy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/serve/foreign"
)

func TestReadRequest(t *testing.T) {
	for _, c := range []struct {
		text, want string // want: attributes as fmt prints them, or a part of the error
		bad        bool
	}{
		{"\n", "map[]", false},
		{"request=smtpd_access_policy\nsize=12\n\n", "map[request:smtpd_access_policy size:12]", false},
		{"sender=a=b@c.test\r\nrecipient=\r\n\r\n", "map[recipient: sender:a=b@c.test]", false},
		{"request=x\n", "EOF", true},
		{"request=x", "EOF", true},
		{"no equals sign\n\n", "is not name=value", true},
		{"=x\n\n", "is not name=value", true},
		{"a=1\na=2\n\n", "given twice", true},
		{"a=x\x00y\n\n", "NUL", true},
		{"a=" + strings.Repeat("x", maxRequest) + "\n\n", "too long", true},
		{strings.Repeat("a", maxRequest+1), "too long", true},
		{manyAttributes(maxAttributes + 1), "too many", true},
	} {
		got, err := readRequest(bufio.NewReader(strings.NewReader(c.text)))
		if (err != nil) != c.bad || !strings.Contains(fmt.Sprint(got, err), c.want) {
			t.Errorf("%.40q: %v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=x\n", i)
	}
	return b.String() + "\n"
}

func TestReadNetstring(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{"0:,", "", ""},
		{"5:hello,", "hello", ""},
		{"5:hello;", "", "no comma"},
		{":,", "", "no length"},
		{"-1:,", "", "no length"},
		{"5x", "", "no length"},
		{"00005:hello,", "hello", ""},
		{"000005:hello,", "", "no length"},
		{"99999:x", "", "too long"},
		{"5:hell", "", "unexpected EOF"},
		{"5", "", "unexpected EOF"},
	} {
		got, err := readNetstring(bufio.NewReader(strings.NewReader(c.text)))
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %q, %v; want %q, %s", c.text, got, err, c.want, c.err)
		}
	}
}

// The questions as a real sendmail wrote them, and others that it may.
func TestParseQuestion(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"migiwa addr= 127.20.1.1 port= 40803 id= 6APN2K2C001998 resolve= FAIL name=[127.20.1.1]<x@far.test><nobody-1@example.test>",
			"127.20.1.1:40803 6APN2K2C001998  true <x@far.test> <nobody-1@example.test>"},
		{"migiwa addr=192.0.2.1 port=25 id=x resolve=OK name=mx.far.test <x@far.test> <a@example.test>",
			"192.0.2.1:25 x mx.far.test true <x@far.test> <a@example.test>"},
		{"migiwa addr=IPv6:2001:db8::1 port= 25 id= resolve= TEMP name=<<>><a@example.test>",
			"[2001:db8::1]:25   false <> <a@example.test>"},
		{"migiwa addr=192.0.2.1 port= id=x resolve=FORGED name=mx.far.test<>postmaster",
			"192.0.2.1:0 x  true <> <postmaster>"},
		{`migiwa addr=192.0.2.1 port=1 id=x resolve=FAIL name=<"a><b"@far.test><"c d"@example.test>`,
			`192.0.2.1:1 x  true <"a><b"@far.test> <"c d"@example.test>`},
		{"migiwa addr=0 port=1 id=x resolve=FAIL name=<a@b.test><c@d.test>", "no client"},
		{"migiwa addr=192.0.2.1", "no sender"},
		{"migiwa addr=192.0.2.1 <a@b.test><c@d.test>", "no port="},
		{"", "no sender"},
	} {
		q, err := parseQuestion(c.text)
		got := fmt.Sprintf("%v %s %s %t %s %s", q.client.Remote, q.tr.ID, q.client.Name, q.client.Looked, q.tr.From.Path(), q.to.Path())
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// serve starts a server whose engine holds whoever guesses, and gives its
// address.
func serve(t testing.TB) string {
	t.Helper()
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Desk: &foreign.Desk{
		Guard: &edge.Guard{Engine: engine, Clock: edge.NewClock(1, 0)}, Own: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		engine.Close()
	})
	return l.Addr().String()
}

type line struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *line {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &line{t, c, bufio.NewReader(c)}
}

// ask sends a request of Postfix and gives the action.
func (l *line) ask(client, state, context, instance, rcpt string) string {
	l.t.Helper()
	fmt.Fprintf(l.c, "request=smtpd_access_policy\nprotocol_state=%s\npolicy_context=%s\ninstance=%s\nclient_address=%s\nclient_port=1025\n"+
		"client_name=unknown\nhelo_name=far.test\nsender=x@far.test\nrecipient=%s\nsize=0\n\n", state, context, instance, client, rcpt)
	action, err := l.r.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	if end, err := l.r.ReadString('\n'); end != "\n" {
		l.t.Fatalf("behind the action: %q, %v", end, err)
	}
	return strings.TrimSpace(action)
}

const free = "action=DUNNO"

// TestServerHoldsWhoGuesses plays Postfix: a client whose recipients never come
// to the second stage is held, another is not.
func TestServerHoldsWhoGuesses(t *testing.T) {
	l := dial(t, serve(t))
	second := dial(t, l.c.RemoteAddr().String()) // each check has its own connection
	for i := range 3 {
		id := fmt.Sprintf("good.%d", i)
		if got := l.ask("192.0.2.1", "RCPT", "", id, "ann@example.test"); got != free {
			t.Fatalf("an honest client hears %s", got)
		}
		second.ask("192.0.2.1", "RCPT", Exists, id, "ann@example.test")
		l.ask("192.0.2.1", "END-OF-MESSAGE", "", id, "")
	}
	held := ""
	for i := 0; i < 20 && held == ""; i++ {
		if got := l.ask("203.0.113.7", "RCPT", "", "bad.0", fmt.Sprintf("guess%d@example.test", i)); got != free {
			held = got
		}
	}
	if !strings.HasPrefix(held, "action=451 4.7.1 Try again later (ref ") {
		t.Fatalf("a guesser hears %q", held)
	}
	if got := l.ask("203.0.113.7", "RCPT", "", "bad.1", "ann@example.test"); len(got) != len(held) || got[:30] != held[:30] {
		t.Errorf("for a recipient that exists %q, for others %q", got, held)
	}
	if got := l.ask("203.0.113.7", "VRFY", "", "bad.2", "ann@example.test"); !strings.HasPrefix(got, "action=451 ") {
		t.Errorf("VRFY: %s", got)
	}
	if got := l.ask("192.0.2.1", "RCPT", "", "good.9", "nobody@example.test"); got != free {
		t.Errorf("an honest client hears %s", got)
	}
	if got := l.ask("127.0.0.1", "RCPT", "", "own", "ann@example.test"); got != free {
		t.Errorf("a client of our own hears %s", got)
	}
	if got := l.ask("unknown", "RCPT", "", "?", "ann@example.test"); got != free {
		t.Errorf("a client without an address hears %s", got)
	}
}

// TestServerEndsBadRequests: what is no request ends the connection, and no
// other one.
func TestServerEndsBadRequests(t *testing.T) {
	addr := serve(t)
	other := dial(t, addr)
	for _, text := range []string{"hello\n\n", "request=junk_policy\n\n", "5:hello,", "7x"} {
		l := dial(t, addr)
		io.WriteString(l.c, text)
		if got, err := io.ReadAll(l.r); len(got) != 0 || err != nil {
			t.Errorf("%q is answered with %q, %v", text, got, err)
		}
	}
	if got := other.ask("192.0.2.1", "RCPT", "", "a", "ann@example.test"); got != free {
		t.Error(got)
	}
}

// FuzzTalk throws octets at the two languages: whatever is read, each answer is
// whole, and a request that parsed is bounded.
func FuzzTalk(f *testing.F) {
	f.Add("request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.1\nrecipient=a@b.test\nsender=\n\n")
	f.Add("99:migiwa addr=192.0.2.1 port= 25 id=x resolve=OK name=mx.far.test <x@far.test> <a@example.test>,")
	f.Add("request=smtpd_access_policy\n\n5:hello,")
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{Desk: &foreign.Desk{Guard: &edge.Guard{Engine: engine, Clock: edge.NewClock(1, 0)}}}
	s.init()
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReader(strings.NewReader(text))
		for {
			first, err := r.Peek(1)
			if err != nil {
				return
			}
			answer := s.policy
			if first[0] >= '0' && first[0] <= '9' {
				answer = s.socketmap
			}
			out, after, err := answer(r)
			if err != nil {
				return
			}
			if after(); !strings.HasPrefix(out, "action=") && !strings.HasSuffix(out, ",") {
				t.Fatalf("%q", out)
			}
		}
	})
}
