package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/pires/go-proxyproto"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// testTLS gives a server's and a client's configuration.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "mx.example"}
}

// listen serves s on loopback and gives the address.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	s.Hostname = "mx.example"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// wire is a client that compares replies by their start.
type wire struct {
	t  testing.TB
	c  net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &wire{t, c, bufio.NewReader(c)}
}

// say sends s and gives the whole reply, which must begin with want.
func (w *wire) say(s, want string) string {
	w.t.Helper()
	if s != "" {
		if _, err := w.c.Write([]byte(s)); err != nil {
			w.t.Fatal(err)
		}
	}
	var all strings.Builder
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			w.t.Fatalf("after %q, wanting %q: %v", s, want, err)
		}
		all.WriteString(line)
		if line[3] == ' ' {
			break
		}
	}
	if !strings.HasPrefix(all.String(), want) {
		w.t.Fatalf("after %q: want %q, got %q", s, want, all.String())
	}
	return all.String()
}

func (w *wire) closed() {
	w.t.Helper()
	if b, err := io.ReadAll(w.in); len(b) > 0 {
		w.t.Fatalf("want the end, got %q, %v", b, err)
	}
}

func (w *wire) startTLS(config *tls.Config) {
	w.t.Helper()
	c := tls.Client(w.c, config)
	if err := c.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	w.c, w.in = c, bufio.NewReader(c)
}

func TestStartTLS(t *testing.T) {
	server, client := testTLS(t)
	rec := &recorder{verdict: map[string]Verdict{"rcpt": {Delay: 20 * time.Millisecond}}} // a read that times out inside TLS
	w := dial(t, listen(t, &Server{Handler: rec, TLS: server}))
	w.say("", "220")
	w.say("STARTTLS\r\n", "503")
	if got := w.say("EHLO before\r\n", "250"); !strings.Contains(got, "STARTTLS") {
		t.Fatal(got)
	}
	w.say("STARTTLS now\r\n", "501")
	w.say("MAIL FROM:<a@b.example>\r\n", "250")
	w.say("STARTTLS\r\n", "503")
	w.say("RSET\r\n", "250")
	w.say("STARTTLS\r\n", "220 2.0.0")
	w.startTLS(client)
	w.say("MAIL FROM:<a@b.example>\r\n", "503")
	if rec.conn.TLS == nil || rec.conn.Hello != (Hello{}) {
		t.Fatalf("%+v", rec.conn)
	}
	if got := w.say("EHLO after\r\n", "250"); strings.Contains(got, "STARTTLS") {
		t.Fatal(got)
	}
	w.say("STARTTLS\r\n", "503")
	w.say("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n", "250")
	w.say("", "250")
	w.say("DATA\r\n", "354")
	w.say("x\r\n.\r\n", "250")
	w.say("QUIT\r\n", "221")
	if _, err := w.in.ReadByte(); err != io.EOF { // not torn off
		t.Fatal(err)
	}
}

// TestStartTLSInjection sends commands ahead of the handshake: they must count
// for nothing (CVE-2011-0411 and those like it).
func TestStartTLSInjection(t *testing.T) {
	server, client := testTLS(t)
	t.Run("in one segment", func(t *testing.T) {
		rec := &recorder{}
		w := dial(t, listen(t, &Server{Handler: rec, TLS: server}))
		w.say("", "220")
		w.say("EHLO c\r\n", "250")
		w.say("STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n", "554 5.5.1")
		w.closed()
		if f := rec.faults; len(f) != 1 || f[0] != Pipelining {
			t.Fatal(f)
		}
	})
	t.Run("during a delay", func(t *testing.T) {
		rec := &recorder{verdict: map[string]Verdict{"starttls": {Delay: 100 * time.Millisecond}}}
		w := dial(t, listen(t, &Server{Handler: rec, TLS: server}))
		w.say("", "220")
		w.say("EHLO c\r\n", "250")
		w.c.Write([]byte("STARTTLS\r\n"))
		time.Sleep(20 * time.Millisecond)
		w.say("MAIL FROM:<evil@b.example>\r\n", "220")
		w.say("", "554")
		w.closed()
	})
	t.Run("in front of the handshake", func(t *testing.T) {
		rec := &recorder{}
		w := dial(t, listen(t, &Server{Handler: rec, TLS: server}))
		w.say("", "220")
		w.say("EHLO c\r\n", "250")
		w.say("STARTTLS\r\n", "220")
		w.c.Write([]byte("MAIL FROM:<evil@b.example>\r\n"))
		if err := tls.Client(w.c, client).Handshake(); err == nil {
			t.Fatal("handshake behind plain text succeeded")
		}
		for _, s := range rec.steps {
			if s == "mail" {
				t.Fatal(rec.steps)
			}
		}
	})
}

func TestImplicitTLS(t *testing.T) {
	server, client := testTLS(t)
	rec := &recorder{}
	addr := listen(t, &Server{Handler: rec, TLS: server, Implicit: true})
	w := dial(t, addr)
	w.startTLS(client)
	w.say("", "220")
	if got := w.say("EHLO c\r\n", "250"); strings.Contains(got, "STARTTLS") {
		t.Fatal(got)
	}
	w.say("BLAH\nx\r\n", "554") // the reply is heard though input is left
	w.closed()
	if err := (&Server{Implicit: true}).Serve(nil); err == nil {
		t.Fatal("Implicit without TLS was served")
	}
}

// keeper is a recorder that lets people log in.
type keeper struct {
	*recorder
	login sasl.Server
	who   string
}

func (k *keeper) Connect(ctx context.Context, c *Conn) (Session, Verdict) {
	_, v := k.recorder.Connect(ctx, c)
	return k, v
}

func (k *keeper) Mechanisms() []string { return k.login.Mechanisms(k.conn.TLS) }

func (k *keeper) Auth(ctx context.Context, mechanism string, initial []byte, ex func([]byte) ([]byte, error)) Verdict {
	who, err := k.login.Run(ctx, edge.Client{}, mechanism, initial, ex, k.conn.TLS)
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		return Verdict{Reply: reply(501, "5.7.0", "Cancelled")}
	case errors.Is(err, sasl.ErrMalformed):
		return Verdict{Reply: reply(501, "5.5.2", "Malformed")}
	case err != nil:
		return Verdict{Reply: reply(535, "5.7.8", "No")}
	}
	k.who = who
	return Verdict{}
}

func newKeeper() *keeper {
	return &keeper{recorder: &recorder{}, login: sasl.Server{
		Verify: func(_ context.Context, user, password string) (string, error) {
			if user == "taro" && password == "secret" {
				return "taro@example.jp", nil
			}
			return "", fmt.Errorf("wrong: %w", sasl.ErrDenied)
		},
	}}
}

func TestAuth(t *testing.T) {
	server, client := testTLS(t)
	k := newKeeper()
	w := dial(t, listen(t, &Server{Handler: k, TLS: server}))
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	w.say("", "220")
	if got := w.say("EHLO c\r\n", "250"); strings.Contains(got, "AUTH") {
		t.Fatal(got)
	}
	w.say("AUTH PLAIN\r\n", "504")
	w.say("STARTTLS\r\n", "220")
	w.startTLS(client)
	w.say("AUTH PLAIN\r\n", "503")
	if got := w.say("EHLO c\r\n", "250"); !strings.Contains(got, "250-AUTH PLAIN LOGIN\r\n") {
		t.Fatal(got)
	}
	w.say("AUTH\r\n", "501")
	w.say("AUTH PLAIN !\r\n", "501")
	w.say("AUTH PLAIN =\r\n", "501")
	w.say("AUTH CRAM-MD5\r\n", "504")
	w.say("AUTH PLAIN\r\n", "334 \r\n")
	w.say("*\r\n", "501 5.7.0")
	w.say("AUTH PLAIN "+b64("\x00taro\x00wrong")+"\r\n", "535")
	w.say("AUTH login "+b64("taro")+"\r\n", "334 UGFzc3dvcmQ6\r\n")
	w.say("not base64\r\n", "501 5.5.2")
	w.say("MAIL FROM:<a@b.example>\r\n", "250")
	w.say("AUTH PLAIN\r\n", "503")
	w.say("RSET\r\n", "250")
	w.say("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n")
	w.say(b64("taro")+"\r\n", "334 UGFzc3dvcmQ6\r\n")
	w.say(b64("secret")+"\r\n", "235 2.7.0")
	if k.who != "taro@example.jp" {
		t.Fatal(k.who)
	}
	w.say("AUTH PLAIN\r\n", "503")
}

// TestAuthAhead sends responses ahead to an exchange that fails: a password is
// not a command.
func TestAuthAhead(t *testing.T) {
	server, client := testTLS(t)
	k := newKeeper()
	w := dial(t, listen(t, &Server{Handler: k, TLS: server, Implicit: true}))
	w.startTLS(client)
	w.say("", "220")
	w.say("EHLO c\r\n", "250")
	w.say("AUTH LOGIN !\r\ndGFybw==\r\nc2VjcmV0\r\n", "501")
	w.say("", "554 5.5.1")
	w.closed()
	if len(k.other) > 0 {
		t.Fatal(k.other)
	}
}

// TestGoSMTPClient talks to another implementation's client.
func TestGoSMTPClient(t *testing.T) {
	server, client := testTLS(t)
	k := newKeeper()
	c, err := gosmtp.DialStartTLS(listen(t, &Server{Handler: k, TLS: server}), client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(gosasl.NewPlainClient("", "taro", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("é@b.example", &gosmtp.MailOptions{UTF8: true, Size: 1000, Body: gosmtp.Body8BitMIME, Return: gosmtp.DSNReturnHeaders, EnvelopeID: "a b+c"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("c@d.example", &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyDelayed, gosmtp.DSNNotifyFailure},
		OriginalRecipientType: gosmtp.DSNAddressTypeUTF8, OriginalRecipient: "é@x.example"}); err != nil {
		t.Fatal(err)
	}
	d, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat(".dots\n..and more\r\n", 5000)
	io.WriteString(d, text)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	m := k.accepted()
	if len(m) != 1 || m[0].data != strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n") {
		t.Fatalf("%d messages", len(m))
	}
	env := m[0].env
	r := env.Recipients[0]
	if env.From.Wire != "é@b.example" || !env.SMTPUTF8 || env.Size != 1000 || env.Body != mail.Body8Bit || env.Ret != "HDRS" ||
		env.EnvID != "a b+c" || r.Notify != mail.NotifyDelay|mail.NotifyFailure || !strings.EqualFold(r.ORcpt, "utf-8;é@x.example") {
		t.Fatalf("%+v", env)
	}
}

func TestProxy(t *testing.T) {
	trust := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	header := func(version byte, client string) string {
		h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)),
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::2]:25")))
		if strings.Contains(client, ".") {
			h = proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)), &net.TCPAddr{IP: net.IPv4(198, 51, 100, 2), Port: 25})
		}
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	local, _ := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	for _, c := range []struct {
		name, sent, remote string
		proxied            bool
	}{
		{"v1", header(1, "203.0.113.5:999"), "203.0.113.5:999", true},
		{"v2", header(2, "203.0.113.5:999"), "203.0.113.5:999", true},
		{"v1 of IPv6", header(1, "[2001:db8::1]:999"), "[2001:db8::1]:999", true},
		{"v2 of IPv6", header(2, "[2001:db8::1]:999"), "[2001:db8::1]:999", true},
		{"a loopback client behind it", header(2, "127.0.0.1:999"), "127.0.0.1:999", true},
		{"health check", string(local), "", false},
		{"unknown", "PROXY UNKNOWN\r\n", "", false},
		{"none", "EHLO c.example\r\n", "closed", false},
		{"short", "PROXY TCP4 1.2.3.4\r\n", "closed", false},
		{"endless", "PROXY TCP4 " + strings.Repeat("1", 200), "closed", false},
		{"too long", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "closed", false},
		{"UDP", "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + strings.Repeat("\x01", 12), "closed", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := &recorder{}
			s := &Server{Handler: rec, Proxy: &Proxy{Trust: trust, Required: true}, Limits: Limits{Header: time.Second}}
			w := dial(t, listen(t, s))
			w.c.Write([]byte(c.sent))
			if c.remote == "closed" {
				w.closed()
				if rec.conn != nil {
					t.Fatal("the Handler was asked")
				}
				return
			}
			w.say("", "220")
			w.say("NOOP\r\n", "250")
			if c.remote == "" {
				c.remote = w.c.LocalAddr().String()
			}
			if rec.conn.Remote.String() != c.remote || rec.conn.Proxied != c.proxied || rec.conn.Exempt() == c.proxied {
				t.Fatalf("%+v", rec.conn)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		s := &Server{Handler: &recorder{}, Proxy: &Proxy{Trust: trust}, Limits: Limits{Header: 50 * time.Millisecond}}
		dial(t, listen(t, s)).closed()
	})
	t.Run("a stranger", func(t *testing.T) {
		elsewhere := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		w := dial(t, listen(t, &Server{Handler: &recorder{}, Proxy: &Proxy{Trust: elsewhere, Required: true}}))
		w.say("", "421")
		w.closed()
		w = dial(t, listen(t, &Server{Handler: &recorder{}, Proxy: &Proxy{Trust: elsewhere}}))
		w.say("", "220")
		w.say(header(1, "203.0.113.5:999"), "554")
		w.closed()
	})
	t.Run("in front of TLS", func(t *testing.T) {
		server, client := testTLS(t)
		rec := &recorder{}
		w := dial(t, listen(t, &Server{Handler: rec, TLS: server, Implicit: true, Proxy: &Proxy{Trust: trust}}))
		w.c = &eager{Conn: w.c, first: []byte(header(2, "203.0.113.5:999"))}
		w.startTLS(client)
		w.say("", "220")
	})
}

// eager sends first in one segment with what is written first.
type eager struct {
	net.Conn
	first []byte
}

func (e *eager) Write(p []byte) (int, error) {
	b := append(e.first, p...)
	e.first = nil
	_, err := e.Conn.Write(b)
	return len(p), err
}

func TestConnectionLimits(t *testing.T) {
	s := &Server{Handler: idler{}, Hostname: "mx.example", Limits: Limits{Connections: 3, PerAddress: 2}}
	s.init()
	t.Cleanup(func() { s.Close() })
	open := func(remote, want string) *memConn {
		t.Helper()
		client, server := memPipe(remote)
		s.accept(server)
		line, err := bufio.NewReader(client).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("want %q, got %q, %v", want, line, err)
		}
		return client
	}
	gone := func(n int) {
		for deadline := time.Now().Add(5 * time.Second); s.Stats().Open > n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(s.Stats())
			}
		}
	}
	a := open("[2001:db8::1]:1", "220")
	open("[2001:db8::2]:1", "220")
	open("[2001:db8::3]:1", "421 4.7.0") // the same /64
	gone(2)
	open("[2001:db8:0:1::1]:1", "220")
	open("192.0.2.1:1", "421 4.7.0") // full
	open("127.0.0.1:1", "220")       // exempt
	a.Close()
	gone(3)
	if st := s.Stats(); st.Shed != 2 || st.Connections != 6 {
		t.Fatalf("%+v", st)
	}
}

// TestReplyIsHeard refuses a message while its sender has much more to send:
// the sender must still be able to read why.
func TestReplyIsHeard(t *testing.T) {
	w := dial(t, listen(t, &Server{Handler: &recorder{}}))
	w.say("", "220")
	w.say("EHLO c\r\n", "250")
	w.say("MAIL FROM:<a@b.example>\r\n", "250")
	w.say("RCPT TO:<a@b.example>\r\n", "250")
	w.say("DATA\r\n", "354")
	w.c.Write([]byte("bare\nnewline\r\n"))
	if _, err := w.c.Write(bytes.Repeat([]byte("more\r\n"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	w.say(".\r\n", "554 5.5.2")
	w.closed()
}

// TestBodyLeavesTheRest refuses a message unread.
func TestBodyLeavesTheRest(t *testing.T) {
	rec := &recorder{nobody: true, verdict: map[string]Verdict{"body": {Reply: reply(452, "4.3.1", "Full")}}}
	w := dial(t, listen(t, &Server{Handler: rec}))
	w.say("", "220")
	w.say("EHLO c\r\n", "250")
	for range 2 {
		w.say("MAIL FROM:<a@b.example>\r\n", "250")
		w.say("RCPT TO:<a@b.example>\r\n", "250")
		w.say("DATA\r\n", "354")
		w.say(strings.Repeat("MAIL FROM:<x@b.example>\r\n", 10000)+".\r\n", "452 4.3.1")
		w.say("MAIL FROM:<a@b.example>\r\n", "250")
		w.say("RCPT TO:<a@b.example>\r\n", "250")
		w.say("BDAT 30\r\n"+strings.Repeat("x", 30), "452 4.3.1")
		w.say("BDAT 30 LAST\r\n"+strings.Repeat("x", 30), "503")
	}
}
