package smtpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/mail"
)

var quick = Timeouts{Connect: time.Second, Greeting: 300 * time.Millisecond, Command: 300 * time.Millisecond, TLS: time.Second,
	Data: 300 * time.Millisecond, Block: time.Second, End: 300 * time.Millisecond, Quit: 100 * time.Millisecond}

func connect(t *testing.T, p *peertest.Peer) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := New(conn, "mx.here.test", p.LMTP, quick)
	t.Cleanup(c.Close)
	return c
}

func rcpts(t *testing.T, addrs ...string) []mail.Recipient {
	t.Helper()
	var out []mail.Recipient
	for _, s := range addrs {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mail.Recipient{Address: a})
	}
	return out
}

// codes gives "250 2.0.0" of each reply.
func codes(replies []*mail.Reply) string {
	var out []string
	for _, r := range replies {
		code := *r
		code.Text, code.Cause = "", nil
		out = append(out, strings.TrimSpace(code.Error()))
	}
	return strings.Join(out, ", ")
}

const text = "Subject: x\r\n\r\n.dot\r\n..\r\n.\r\nno end"

// TestPeers runs one transaction with two recipients against every kind of
// peer, with and without PIPELINING.
func TestPeers(t *testing.T) {
	for _, c := range []struct {
		name   string
		script map[string]string
		want   string // replies, or the error of Start
		taken  int    // recipients of the message that the peer took; -1: none taken
		broken bool
	}{
		{"good", nil, "250 2.0.0, 250 2.0.0", 2, false},
		{"multi-line", map[string]string{"MAIL": "250-2.1.0 one\r\n250-2.1.0 two\r\n250 2.1.0 three", ".": "250-2.0.0 a\r\n250 2.0.0 b"}, "250 2.0.0, 250 2.0.0", 2, false},
		{"no enhanced codes", map[string]string{".": "250 taken"}, "250 2.0.0, 250 2.0.0", 2, false},
		{"banner 554", map[string]string{"connect": "554 5.7.1 go away"}, "start: 554 5.7.1 go away", -1, false},
		{"banner 421", map[string]string{"connect": "421 4.3.2 busy"}, "start: 421 4.3.2 busy", -1, true},
		{"banner garbage", map[string]string{"connect": "hello there"}, "start: connection lost at greeting: malformed SMTP reply", -1, true},
		{"banner close", map[string]string{"connect": peertest.Close}, "start: connection lost at greeting: closed by the peer", -1, true},
		{"banner silence", map[string]string{"connect": peertest.Silence}, "start: connection lost at greeting: timeout", -1, true},
		{"no EHLO", map[string]string{"EHLO": "502 5.5.1 what"}, "250 2.0.0, 250 2.0.0", 2, false},
		{"EHLO 4xx", map[string]string{"EHLO": "451 4.3.0 later"}, "start: 451 4.3.0 later", -1, false},
		{"MAIL 4xx", map[string]string{"MAIL": "451 4.3.0 later"}, "451 4.3.0, 451 4.3.0", -1, false},
		{"MAIL 5xx", map[string]string{"MAIL": "550 5.7.1 no"}, "550 5.7.1, 550 5.7.1", -1, false},
		{"MAIL closes", map[string]string{"MAIL": peertest.Close}, "451 4.4.2, 451 4.4.2", -1, true},
		{"MAIL 421", map[string]string{"MAIL": "421 4.7.0 bye"}, "421 4.7.0, 421 4.7.0", -1, true},
		{"MAIL garbage", map[string]string{"MAIL": "25 ok"}, "451 4.5.0, 451 4.5.0", -1, true},
		{"MAIL 354", map[string]string{"MAIL": "354 what"}, "451 4.5.0, 451 4.5.0", -1, false},
		{"one RCPT 5xx", map[string]string{"RCPT <a@there.test>": "550 5.1.1 no"}, "550 5.1.1, 250 2.0.0", 1, false},
		{"one RCPT 4xx", map[string]string{"RCPT <b@there.test>": "450 4.2.0 grey"}, "250 2.0.0, 450 4.2.0", 1, false},
		{"RCPT 552", map[string]string{"RCPT <b@there.test>": "552 too many"}, "250 2.0.0, 452 4.5.3", 1, false},
		{"RCPT 354", map[string]string{"RCPT <b@there.test>": "354 eh"}, "250 2.0.0, 451 4.5.0", 1, false},
		{"all RCPT 5xx", map[string]string{"RCPT": "550 5.1.1 no"}, "550 5.1.1, 550 5.1.1", -1, false},
		{"all RCPT 5xx, DATA 354", map[string]string{"RCPT": "550 5.1.1 no", "DATA": "354 go", ".": "554 5.5.1 none"}, "550 5.1.1, 550 5.1.1", -1, false},
		{"RCPT code changes", map[string]string{"RCPT <b@there.test>": "250-2.1.5 ok\r\n550 5.1.1 no"}, "451 4.5.0, 451 4.5.0", -1, true},
		{"DATA 4xx", map[string]string{"DATA": "451 4.3.0 later"}, "451 4.3.0, 451 4.3.0", -1, false},
		{"DATA 250", map[string]string{"DATA": "250 2.0.0 fine"}, "451 4.5.0, 451 4.5.0", -1, false},
		{"DATA closes", map[string]string{"DATA": peertest.Close}, "451 4.4.2, 451 4.4.2", -1, true},
		{"closes mid-DATA", map[string]string{"DATA": peertest.MidData}, "451 4.4.2, 451 4.4.2", -1, true},
		{"end 4xx", map[string]string{".": "451 4.3.0 later"}, "451 4.3.0, 451 4.3.0", -1, false},
		{"end 5xx", map[string]string{".": "554 5.7.1 spam"}, "554 5.7.1, 554 5.7.1", -1, false},
		{"end 354", map[string]string{".": "354 more"}, "451 4.5.0, 451 4.5.0", -1, false},
		{"end silence", map[string]string{".": peertest.Silence}, "451 4.4.2, 451 4.4.2", -1, true},
		{"end closes", map[string]string{".": peertest.Close}, "451 4.4.2, 451 4.4.2", -1, true},
		{"long line", map[string]string{"MAIL": "250 " + strings.Repeat("x", 5000)}, "451 4.5.0, 451 4.5.0", -1, true},
		{"endless reply", map[string]string{"MAIL": strings.Repeat("250-x\r\n", 300) + "250 x"}, "451 4.5.0, 451 4.5.0", -1, true},
	} {
		for _, ext := range [][]string{nil, {"PIPELINING", "SIZE 100000", "8BITMIME"}} {
			name := c.name
			if ext != nil {
				name += ", pipelining"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				script := map[string]string{}
				for k, v := range c.script {
					script[k] = v
				}
				p := (&peertest.Peer{Script: script, Ext: ext}).Start(t)
				cl := connect(t, p)
				got := transact(t, cl, p)
				if !strings.HasPrefix(got, c.want) || strings.Count(got, ",") != strings.Count(c.want, ",") {
					t.Errorf("got %s, want %s", got, c.want)
				}
				n := -1
				if p.Count() > 0 && p.Messages[0].Data != "" {
					n = len(p.Messages[0].To)
					if p.Messages[0].Data != text+"\r\n" {
						t.Errorf("data %q", p.Messages[0].Data)
					}
				}
				if n != c.taken && c.name != "end silence" && c.name != "end closes" {
					t.Errorf("taken for %d recipients, want %d", n, c.taken)
				}
				if cl.Broken != c.broken {
					t.Errorf("broken: %t", cl.Broken)
				}
				if !cl.Broken && !strings.HasPrefix(got, "start") {
					secondWorks(t, cl, p)
				}
			})
		}
	}
}

func transact(t *testing.T, cl *Client, p *peertest.Peer) string {
	t.Helper()
	if err := cl.Start(context.Background()); err != nil {
		return "start: " + err.Error()
	}
	m := &Message{From: rcpts(t, "me@here.test")[0].Address, Size: int64(len(text))}
	replies, _ := cl.Send(context.Background(), m, rcpts(t, "a@there.test", "b@there.test"), iotest.OneByteReader(strings.NewReader(text)))
	return codes(replies)
}

// secondWorks sends another message on the same connection: whatever the first
// met, the dialogue must be in step.
func secondWorks(t *testing.T, cl *Client, p *peertest.Peer) {
	t.Helper()
	p.Lock()
	clear(p.Script)
	p.Messages = nil
	p.Unlock()
	m := &Message{From: mail.Address{}}
	replies, err := cl.Send(context.Background(), m, rcpts(t, "c@there.test"), strings.NewReader("second\r\n"))
	if got := codes(replies); got != "250 2.0.0" || err != nil || p.Count() != 1 || p.Messages[0].Data != "second\r\n" {
		t.Errorf("second message: %s, %v", got, err)
	}
}

func TestLMTPAnswersEachRecipient(t *testing.T) {
	for _, ext := range [][]string{{"PIPELINING"}, nil} {
		p := (&peertest.Peer{LMTP: true, Ext: ext, Script: map[string]string{
			". <b@there.test>": "452 4.2.2 full", "RCPT <c@there.test>": "550 5.1.1 no"}}).Start(t)
		cl := connect(t, p)
		if err := cl.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		m := &Message{From: mail.Address{}}
		replies, err := cl.Send(context.Background(), m, rcpts(t, "a@there.test", "b@there.test", "c@there.test", "d@there.test"), strings.NewReader(text))
		if got := codes(replies); got != "250 2.0.0, 452 4.2.2, 550 5.1.1, 250 2.0.0" || err != nil {
			t.Errorf("replies %s, %v", got, err)
		}
	}
}

func TestParameters(t *testing.T) {
	p := (&peertest.Peer{Ext: []string{"SIZE 9999", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "PIPELINING"}}).Start(t)
	cl := connect(t, p)
	if err := cl.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	to := rcpts(t, "a@there.test", "b@there.test", "c@there.test")
	to[0].Notify, to[0].ORcpt = mail.NotifySuccess|mail.NotifyFailure, "rfc822;x+y@there.test"
	to[1].Notify = mail.NotifyNever
	to[2].ORcpt = "utf-8;汀+y@there.test"
	body := strings.Repeat("\x00\n.\r", 100_000)
	m := &Message{From: rcpts(t, "me@here.test")[0].Address, Size: 5, Body: mail.BodyBinary, UTF8: true, Ret: "HDRS", EnvID: "a=b"}
	replies, err := cl.Send(context.Background(), m, to, strings.NewReader(body))
	if err != nil || codes(replies) != "250 2.0.0, 250 2.0.0, 250 2.0.0" {
		t.Fatal(codes(replies), err)
	}
	got := p.Messages[0]
	if want := "<me@here.test> SIZE=5 BODY=BINARYMIME SMTPUTF8 RET=HDRS ENVID=a+3Db"; got.From != want {
		t.Errorf("MAIL %s, want %s", got.From, want)
	}
	if want := "<a@there.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@there.test|<b@there.test> NOTIFY=NEVER" +
		`|<c@there.test> ORCPT=utf-8;\x{6C40}\x{2B}y@there.test`; strings.Join(got.To, "|") != want {
		t.Errorf("RCPT %s, want %s", got.To, want)
	}
	if got.Data != body {
		t.Errorf("body of %d octets arrived with %d", len(body), len(got.Data))
	}
	m.Size = 10000
	if replies, _ = cl.Send(context.Background(), m, to, strings.NewReader(body)); codes(replies) != "552 5.3.4, 552 5.3.4, 552 5.3.4" {
		t.Errorf("too large: %s", codes(replies))
	}
}

func TestStartTLS(t *testing.T) {
	cert := peertest.SelfSigned(t, "peer.test")
	for _, c := range []struct {
		name   string
		script map[string]string
		config *tls.Config
		want   error
	}{
		{"unverified", nil, &tls.Config{InsecureSkipVerify: true}, nil},
		{"untrusted", nil, &tls.Config{ServerName: "peer.test"}, ErrTLS},
		{"refused", map[string]string{"STARTTLS": "454 4.7.0 not now"}, &tls.Config{InsecureSkipVerify: true}, ErrTLS},
		{"garbage", map[string]string{"handshake": "x"}, &tls.Config{InsecureSkipVerify: true}, ErrTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := (&peertest.Peer{Cert: cert, Script: c.script, Ext: []string{"PIPELINING"}}).Start(t)
			cl := connect(t, p)
			if err := cl.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := cl.StartTLS(context.Background(), c.config); !errors.Is(err, c.want) {
				t.Fatalf("StartTLS: %v", err)
			}
			if c.want == nil && (cl.TLS() == nil || cl.Ext.StartTLS) {
				t.Errorf("TLS %v, extensions %+v", cl.TLS(), cl.Ext)
			}
		})
	}
}

func TestContextEndsAStep(t *testing.T) {
	p := (&peertest.Peer{Script: map[string]string{"connect": peertest.Silence}}).Start(t)
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cl := New(conn, "x", false, DefaultTimeouts)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := cl.Start(ctx); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		in, enhanced, text string
		code               int
		bad                bool
	}{
		{in: "250 2.1.0 ok\r\n", code: 250, enhanced: "2.1.0", text: "ok"},
		{in: "250\r\n", code: 250},
		{in: "250 ok\n", code: 250, text: "ok"},
		{in: "550 2.1.0 odd\r\n", code: 550, text: "2.1.0 odd"},
		{in: "550 5.1.1\r\n", code: 550, enhanced: "5.1.1"},
		{in: "550 5.1.01 x\r\n", code: 550, text: "5.1.01 x"},
		{in: "550-5.1.1 a\r\n550 5.1.1 b\r\n", code: 550, enhanced: "5.1.1", text: "a\nb"},
		{in: "550 a\x1b[31m\x00\xff\tb\r\n", code: 550, text: "a?[31m?? b"},
		{in: "550-a\r\n551 b\r\n", bad: true},
		{in: "199 a\r\n", bad: true},
		{in: "600 a\r\n", bad: true},
		{in: "2x0 a\r\n", bad: true},
		{in: "250_a\r\n", bad: true},
		{in: "\r\n", bad: true},
		{in: "250-a\r\n", bad: true},
		{in: "250 a", bad: true},
	} {
		r, err := ReadReply(bufio.NewReader(strings.NewReader(c.in)))
		if c.bad != (err != nil) {
			t.Errorf("%q: %v", c.in, err)
		} else if err == nil && (r.Code != c.code || r.Enhanced != c.enhanced || r.Text() != c.text) {
			t.Errorf("%q: %d %q %q", c.in, r.Code, r.Enhanced, r.Text())
		}
	}
}

// FuzzReadReply: whatever a peer says, a reply that is read is within its
// limits and harmless.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 2.1.0 ok\r\n", "250-a\r\n250-b\r\n250 c\r\n", "550 5.1.1\r\n", "354 \xff\x00\r\n", "999 x\n", "250-\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadReply(bufio.NewReaderSize(strings.NewReader(string(in)), 16))
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > maxReplyLines || len(r.Text()) > maxKeptText+maxReplyLines {
			t.Errorf("%q: %d, %d lines, %d octets", in, r.Code, len(r.Lines), len(r.Text()))
		}
		if strings.ContainsFunc(r.Text(), func(c rune) bool { return c != '\n' && (c < ' ' || c == 0x7f || c == 0xfffd) }) {
			t.Errorf("%q: not printable: %q", in, r.Text())
		}
		if r.Enhanced != "" && int(r.Enhanced[0]-'0') != r.Class() {
			t.Errorf("%q: code %d with %s", in, r.Code, r.Enhanced)
		}
	})
}

// TestAsk: a question brings no message, and a refused MAIL is no answer.
func TestAsk(t *testing.T) {
	p := (&peertest.Peer{Script: map[string]string{"RCPT <b@there.test>": "550 5.1.1 no"}}).Start(t)
	cl := connect(t, p)
	if err := cl.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range rcpts(t, "a@there.test", "b@there.test", "c@there.test") {
		reply, err := cl.Ask(t.Context(), r.Address)
		if err != nil || (reply != nil) != (r.Address.Local == "b") {
			t.Errorf("%s: %v, %v", r.Address, reply, err)
		}
	}
	p.Lock()
	p.Script["MAIL"] = "550 5.7.1 go away"
	taken := len(p.Messages)
	p.Unlock()
	if reply, err := cl.Ask(t.Context(), rcpts(t, "a@there.test")[0].Address); err == nil {
		t.Errorf("a refused MAIL gives %v", reply)
	}
	if taken > 0 {
		t.Errorf("%d messages were sent", taken)
	}
}
