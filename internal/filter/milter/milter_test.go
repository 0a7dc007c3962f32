package milter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/d--j/go-milter"
	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// script is a mail filter that writes down what it is told and answers as it is
// set: replies by the event, changes at the end.
type script struct {
	milter.NoOpMilter
	mu      sync.Mutex
	told    []string
	body    bytes.Buffer
	replies map[string]*milter.Response
	end     func(m milter.Modifier) error
}

func (s *script) tell(event, text string, m milter.Modifier) (*milter.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, event+" "+text)
	if r, ok := s.replies[event+" "+text]; ok {
		return r, nil
	}
	if r, ok := s.replies[event]; ok {
		return r, nil
	}
	return milter.RespContinue, nil
}

func (s *script) Connect(host, family string, port uint16, addr string, m milter.Modifier) (*milter.Response, error) {
	return s.tell("connect", fmt.Sprintf("%s %s %s {%s %s %s}", host, family, addr, m.Get("j"), m.Get("_"), m.Get("{client_addr}")), m)
}

func (s *script) Helo(name string, m milter.Modifier) (*milter.Response, error) {
	return s.tell("helo", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", name, m.Get("{tls_version}"), m.Get("{cipher}"), m.Get("{cipher_bits}"))), m)
}

func (s *script) MailFrom(from, _ string, m milter.Modifier) (*milter.Response, error) {
	return s.tell("mail", fmt.Sprintf("%s {%s %s %s}", from, m.Get("i"), m.Get("{mail_addr}"), m.Get("{auth_authen}")), m)
}

func (s *script) RcptTo(to, _ string, m milter.Modifier) (*milter.Response, error) {
	return s.tell("rcpt", to, m)
}

func (s *script) Data(m milter.Modifier) (*milter.Response, error) { return s.tell("data", "", m) }

func (s *script) Header(name, value string, m milter.Modifier) (*milter.Response, error) {
	return s.tell("header", name+":"+value, m)
}

func (s *script) Headers(m milter.Modifier) (*milter.Response, error) { return s.tell("eoh", "", m) }

func (s *script) BodyChunk(chunk []byte, m milter.Modifier) (*milter.Response, error) {
	s.body.Write(chunk)
	return s.tell("body", "", m)
}

func (s *script) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	if s.end != nil {
		if err := s.end(m); err != nil {
			return nil, err
		}
	}
	return s.tell("end", "", m)
}

// said gives all that it was told, in one line.
func (s *script) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, "; ")
}

// serve runs it on a socket and gives its address in sendmail's form.
func (s *script) serve(t testing.TB, network string, opts ...milter.Option) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	actions := milter.WithActions(milter.AllClientSupportedActionMasks)
	server := milter.NewServer(append([]milter.Option{milter.WithMilter(func() milter.Milter { return s }), actions}, opts...)...)
	ended := make(chan struct{})
	go func() { defer close(ended); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-ended })
	if network == "unix" {
		return "unix:" + address
	}
	return inet(l.Addr())
}

func inet(a net.Addr) string {
	host, port, _ := net.SplitHostPort(a.String())
	return "inet:" + port + "@" + host
}

const raw = "Received: from a\r\n\tby b\r\nSubject: one\r\nX-Two: a\r\nx-two:b\r\nTo: x@example.jp\r\n\r\nHello\r\n.\r\nworld\r\n"

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func message(t testing.TB, raw string) *filter.Message {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{Trace: "T1", Client: netip.MustParseAddr("192.0.2.1"), ClientName: "mx.example.com",
		Hello: "mx.example.com", From: addr(t, "s@example.com"), Hostname: "mx.example.jp"}, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func recipients(t testing.TB) []filter.Recipient {
	return []filter.Recipient{{Index: 0, Address: addr(t, "x@example.jp")}, {Index: 2, Address: addr(t, "y@example.jp")}}
}

func text(list []mail.Finding) string {
	var out []string
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s %g %s", f.Symbol, f.Score, f.Evidence))
	}
	return strings.Join(out, "; ")
}

func whole(t testing.TB, o *Outcome) string {
	t.Helper()
	r, err := o.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDialogue(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		s := &script{}
		f := &Filter{Servers: []Server{{Name: "one", Address: s.serve(t, network)}}}
		if err := f.Validate(); err != nil {
			t.Fatal(err)
		}
		o, err := f.Run(t.Context(), message(t, raw), recipients(t))
		if err != nil || len(o.Findings) > 0 || o.Modified() || whole(t, o) != raw {
			t.Errorf("%+v %v", o, err)
		}
		want := "connect mx.example.com tcp4 192.0.2.1 {mx.example.jp mx.example.com [192.0.2.1] 192.0.2.1}; helo mx.example.com; " +
			"mail s@example.com {T1 s@example.com }; rcpt x@example.jp; rcpt y@example.jp; data ; " +
			"header Received:from a\n\tby b; header Subject:one; header X-Two:a; header x-two:b; header To:x@example.jp; eoh ; body ; end "
		if got := s.said(); got != want || s.body.String() != "Hello\r\n.\r\nworld\r\n" {
			t.Errorf("told\n%s\nwant\n%s\nbody %q", got, want, s.body.String())
		}
	}
}

// TestTLSMacros: a server hears how the client's words were secured.
func TestTLSMacros(t *testing.T) {
	s := &script{}
	f := &Filter{Servers: []Server{{Name: "one", Address: s.serve(t, "unix")}}}
	m := message(t, raw)
	m.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	if _, err := f.Run(t.Context(), m, recipients(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.said(); !strings.Contains(got, "helo mx.example.com TLSv1.3 TLS_AES_128_GCM_SHA256 128;") {
		t.Error(got)
	}
}

// TestModifications: the second server is told what the first made of it.
func TestModifications(t *testing.T) {
	one := &script{end: func(m milter.Modifier) error {
		return errors.Join(m.AddHeader("X-Added", "last\nfold"), m.InsertHeader(0, "X-First", "1"), m.InsertHeader(2, "X-Third", "3"),
			m.ChangeHeader(2, "X-Two", "changed"), m.ChangeHeader(1, "Subject", ""), m.ChangeHeader(1, "X-New", "new"),
			m.ReplaceBody(strings.NewReader("Changed\r\nbody\r\n")), m.ChangeFrom("other@example.com", "SIZE=1"),
			m.AddRecipient("<z@example.jp>", ""), m.DeleteRecipient("<y@example.jp>"), m.Quarantine("looks\r\nodd"))
	}}
	two := &script{replies: map[string]*milter.Response{"end": milter.RespAccept}, end: func(m milter.Modifier) error { return m.AddHeader("X-Second", "2") }}
	f := &Filter{Servers: []Server{{Name: "one", Address: one.serve(t, "unix")}, {Name: "two", Address: two.serve(t, "unix")}}}
	o, err := f.Run(t.Context(), message(t, raw), recipients(t))
	if err != nil {
		t.Fatal(err)
	}
	want := "X-First: 1\r\nReceived: from a\r\n\tby b\r\nX-Third: 3\r\nX-Two: a\r\nX-Two: changed\r\nTo: x@example.jp\r\n" +
		"X-Added: last\r\n\tfold\r\nX-New: new\r\nX-Second: 2\r\n\r\nChanged\r\nbody\r\n"
	if got := whole(t, o); got != want || !o.Modified() || o.Header().Get("X-Second") != "2" {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if got := text(o.Findings); got != "MILTER_QUARANTINE 8 one: looks odd" {
		t.Errorf("findings %s", got)
	}
	if s := two.said(); !strings.Contains(s, "header X-First:1; header Received:from a") || strings.Contains(s, "Subject") || two.body.String() != "Changed\r\nbody\r\n" {
		t.Errorf("the second was told %s, %q", s, two.body.String())
	}
	envelope := ""
	for _, m := range o.Modifications {
		if m.Address.Wire != "" {
			envelope += fmt.Sprintf("%s %s; ", m.Kind, m.Address)
		}
	}
	if envelope != "change sender other@example.com; add recipient z@example.jp; " {
		t.Errorf("envelope: %s", envelope)
	}
	if got := text(o.Refused[2]); got != "MILTER_DISCARD 8 one: wanted the recipient removed" || len(o.Refused) != 1 {
		t.Errorf("of the removed recipient: %s", got)
	}
}

func reply(code uint16, text string) *milter.Response {
	r, err := milter.RejectWithCodeAndReason(code, text)
	if err != nil {
		panic(err)
	}
	return r
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		event string
		reply *milter.Response
		want  string
		next  bool // the second server is asked
	}{
		{"connect", milter.RespReject, "MILTER_REJECT 15 one: 550 5.7.1 Command rejected", false},
		{"helo", milter.RespTempFail, "MILTER_TEMPFAIL 5 one: 451 4.7.1 Service unavailable - try again later", false},
		{"mail", reply(550, "5.7.1 no"), "MILTER_REJECT 15 one: 550 5.7.1 no", false},
		{"mail", reply(451, "4.7.1 later"), "MILTER_TEMPFAIL 5 one: 451 4.7.1 later", false},
		{"mail", milter.RespDiscard, "MILTER_DISCARD 8 one: wanted the message discarded", false},
		{"data", milter.RespReject, "MILTER_REJECT 15 one: 550 5.7.1 Command rejected", false},
		{"header Subject:one", milter.RespReject, "MILTER_REJECT 15 one: 550 5.7.1 Command rejected", false},
		{"eoh", milter.RespAccept, "", true},
		{"connect", milter.RespAccept, "", true},
		{"body", milter.RespTempFail, "MILTER_TEMPFAIL 5 one: 451 4.7.1 Service unavailable - try again later", false},
		{"end", milter.RespDiscard, "MILTER_DISCARD 8 one: wanted the message discarded", false},
		{"end", milter.RespReject, "MILTER_REJECT 15 one: 550 5.7.1 Command rejected", false},
		{"end", milter.RespAccept, "", true},
	} {
		one, two := &script{replies: map[string]*milter.Response{c.event: c.reply}}, &script{}
		f := &Filter{Servers: []Server{{Name: "one", Address: one.serve(t, "unix")}, {Name: "two", Address: two.serve(t, "unix")}}}
		o, err := f.Run(t.Context(), message(t, raw), recipients(t))
		if got := text(o.Findings); got != c.want || err != nil || (two.said() != "") != c.next || o.Modified() {
			t.Errorf("%s: %s %v; then %q", c.event, got, err, two.said())
		}
	}
}

// TestRefusedRecipient: it is that recipient's finding only, and later servers
// are not told of it; when all are refused the message is not sent.
func TestRefusedRecipient(t *testing.T) {
	one := &script{replies: map[string]*milter.Response{"rcpt y@example.jp": reply(550, "5.1.1 not y"), "rcpt x@example.jp": milter.RespContinue}}
	two := &script{replies: map[string]*milter.Response{"rcpt": milter.RespTempFail}}
	f := &Filter{Servers: []Server{{Name: "one", Address: one.serve(t, "unix")}, {Name: "two", Address: two.serve(t, "unix")}}}
	p := &filter.Pipeline{Filters: []filter.Filter{f}}
	to := []filter.Recipient{{Address: addr(t, "x@example.jp")}, {Address: addr(t, "off@example.jp")}, {Address: addr(t, "y@example.jp")}}
	res := p.Run(t.Context(), message(t, raw), to, func(i int, _ string) bool { return i != 1 })
	var got []string
	for _, list := range res.Findings {
		for _, finding := range list {
			got = append(got, finding.Symbol+" "+finding.Evidence)
		}
		got = append(got, "/")
	}
	want := "MILTER_TEMPFAIL two: 451 4.7.1 Service unavailable - try again later / / MILTER_REJECT one: 550 5.1.1 not y /"
	if s := strings.Join(got, " "); s != want || len(res.Failures) > 0 || len(res.Changes) > 0 {
		t.Errorf("%s %v %v", s, res.Failures, res.Changes)
	}
	if s := two.said(); strings.Contains(s, "rcpt y@") || strings.Contains(s, "data") || strings.Contains(one.said(), "off@") {
		t.Errorf("the second was told %s", s)
	}
}

// TestLeadingSpace: a server that wants values as they stand gets them so.
func TestLeadingSpace(t *testing.T) {
	s := &script{}
	f := &Filter{Servers: []Server{{Name: "one", Address: s.serve(t, "unix", milter.WithProtocols(milter.OptHeaderLeadingSpace))}}}
	if _, err := f.Run(t.Context(), message(t, raw), recipients(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.said(); !strings.Contains(got, "header Subject: one; header X-Two: a; header x-two:b") {
		t.Error(got)
	}
}

// listen runs a server of the test's own and gives its address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return inet(l.Addr())
}

// TestFailures: a server that is away, silent or broken costs its own word, in
// bounded time, and the next is asked.
func TestFailures(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after all servers have ended
	write := func(b string) func(net.Conn) {
		return func(c net.Conn) { c.Write([]byte(b)); io.Copy(io.Discard, c) }
	}
	for _, c := range []struct {
		name, address, want string
	}{
		{"away", "unix:/nonexistent/sock", "milter one: milter: session create"},
		{"closes", listen(t, func(net.Conn) {}), "milter one: milter: negotiate"},
		{"silent", listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }), "timeout"},
		{"empty packet", listen(t, write("\x00\x00\x00\x00")), "a packet of 0 octets"},
		{"huge packet", listen(t, write("\xff\xff\xff\xffO")), "a packet of 4294967295 octets"},
		{"another protocol", listen(t, write("220 mx.example.com ESMTP\r\n")), "a packet of 842149920 octets"},
		{"newer protocol", listen(t, write("\x00\x00\x00\x0dO\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00")), "unsupported protocol version"},
		{"endless progress", listen(t, func(c net.Conn) {
			c.Write([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"))
			for {
				if _, err := c.Write([]byte("\x00\x00\x00\x01p")); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}), "context deadline exceeded"},
	} {
		two := &script{}
		f := &Filter{Servers: []Server{{Name: "one", Address: c.address, Reply: 200 * time.Millisecond, Required: true}, {Name: "two", Address: two.serve(t, "unix")}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		start := time.Now()
		o, err := f.Run(ctx, message(t, raw), recipients(t))
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) || time.Since(start) > 1500*time.Millisecond {
			t.Errorf("%s: %v after %v", c.name, err, time.Since(start))
		}
		if got := text(o.Findings); !strings.HasPrefix(got, "MILTER_UNAVAILABLE 1 one") || c.name != "endless progress" && two.said() == "" {
			t.Errorf("%s: %s, then %q", c.name, got, two.said())
		}
	}
}

// TestUnfitModifications: what cannot be a header field, an address or a body is
// an error of the server, and nothing of it is done.
func TestUnfitModifications(t *testing.T) {
	big := strings.Repeat("x", 60<<10)
	for name, end := range map[string]func(m milter.Modifier) error{
		"name":    func(m milter.Modifier) error { return m.AddHeader("Bad Name", "x") },
		"colon":   func(m milter.Modifier) error { return m.AddHeader("Bad:", "x") },
		"address": func(m milter.Modifier) error { return m.AddRecipient("<a b>", "") },
		"body": func(m milter.Modifier) error {
			for range MaxReply/len(big) + 2 {
				if err := m.ReplaceBodyRawChunk([]byte(big)); err != nil {
					return nil // the connection was closed, as it should be
				}
			}
			return nil
		},
	} {
		s := &script{end: func(m milter.Modifier) error { return errors.Join(m.AddHeader("X-Good", "x"), end(m)) }}
		f := &Filter{Servers: []Server{{Name: "one", Address: s.serve(t, "unix")}}}
		o, err := f.Run(t.Context(), message(t, raw), recipients(t))
		if err == nil || o.Modified() || whole(t, o) != raw {
			t.Errorf("%s: %v, %d modifications", name, err, len(o.Modifications))
		}
	}
}

func TestAddresses(t *testing.T) {
	for s, want := range map[string]string{
		"unix:/run/x.sock":     "unix /run/x.sock",
		"local:/run/x.sock":    "unix /run/x.sock",
		"inet:8891@localhost":  "tcp localhost:8891",
		"inet6:8891@[::1]":     "tcp6 [::1]:8891",
		"inet:8891":            "",
		"inet:0@localhost":     "",
		"inet:99999@localhost": "",
		"fifo:/x":              "",
		"unix:":                "",
		"":                     "",
	} {
		network, address, err := parseAddress(s)
		if got := strings.TrimSpace(network + " " + address); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	for _, f := range []*Filter{{Servers: []Server{{Address: "unix:/x"}}}, {Servers: []Server{{Name: "a", Address: "unix:/x"}, {Name: "a", Address: "unix:/y"}}},
		{Servers: []Server{{Name: "a", Address: "unix:/x", Reply: -1}}}} {
		if f.Validate() == nil {
			t.Errorf("%+v is taken", f.Servers)
		}
	}
}

// FuzzField: whatever a server writes stays one field, that reads back with its
// name.
func FuzzField(f *testing.F) {
	f.Add("X-A", "one\n two\r\nX-Evil: 1\n\n\nbody")
	f.Add("X-A", " \x00\r")
	f.Fuzz(func(t *testing.T, name, value string) {
		raw, err := field(name, value)
		if err != nil {
			return
		}
		h := mail.ParseHeader([]byte(raw + "\r\n"))
		if h.Len() != 1 || !h.Has(name) || !h.Complete() {
			t.Fatalf("%q %q is %q: %d fields", name, value, raw, h.Len())
		}
	})
}

// FuzzServer: no server breaks the client, whatever it says.
func FuzzServer(f *testing.F) {
	hello := "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00"
	f.Add([]byte(hello + strings.Repeat("\x00\x00\x00\x01c", 12) + "\x00\x00\x00\x06hX\x00y\x00z\x00\x00\x00\x01a"))
	f.Add([]byte(hello + "\x00\x00\x00\x08y550 no\x00"))
	m := message(f, raw)
	f.Fuzz(func(t *testing.T, says []byte) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err == nil {
				c.Write(says)
				c.(*net.UnixConn).CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
			}
		}()
		o, _ := (&Filter{Servers: []Server{{Name: "one", Address: "unix:" + l.Addr().String()}}}).Run(t.Context(), m, recipients(t))
		if h := o.Header(); h.Len() < 3 {
			t.Fatalf("%d fields are left", h.Len())
		}
	})
}

func BenchmarkRun(b *testing.B) {
	s := &script{}
	f := &Filter{Servers: []Server{{Name: "one", Address: s.serve(b, "unix")}}}
	m, to := message(b, raw+strings.Repeat("A line of text that says nothing.\r\n", 1000)), recipients(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Run(b.Context(), m, to); err != nil {
			b.Fatal(err)
		}
		s.told = s.told[:0]
		s.body.Reset()
	}
}
