package smtpd

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// FuzzCommand holds the parsers to what the rest of the program trusts: what
// they accept is printable, within limits, and can be written and read again.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"FROM:<a@b.example>", "FROM:<>", "TO:<postmaster>", "FROM:<@a,@b:c@d> SIZE=1 BODY=8BITMIME",
		`FROM:<"a>b\""@b.example> RET=FULL ENVID=a+2B AUTH=<> SMTPUTF8`, "TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b",
		`TO:<あ@例え.jp> ORCPT=utf-8;\x{3042}@b`, "FROM:<a@[IPv6:::1]>", "10 LAST", "PLAIN AGEAYg==",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8ok bool) {
		if env, bad := parseMail(s); bad == nil {
			checkAddress(t, env.From, env.SMTPUTF8)
			if env.Size < 0 || !printable(env.EnvID) || len(env.EnvID) > 100 || !printable(env.Auth) {
				t.Fatalf("%q: %+v", s, env)
			}
		} else if bad.Code/100 != 5 || bad.Enhanced == "" {
			t.Fatalf("%q: %+v", s, bad)
		}
		if r, bad := parseRcpt(s, utf8ok); bad == nil {
			checkAddress(t, r.Address, utf8ok)
			if r.IsNull() || r.Notify&mail.NotifyNever != 0 && r.Notify != mail.NotifyNever {
				t.Fatalf("%q: %+v", s, r)
			}
			if !utf8ok && !strings.HasPrefix(strings.ToLower(r.ORcpt), "utf-8;") && !printable(r.ORcpt) || strings.ContainsAny(r.ORcpt, "\r\n\x00") && utf8.ValidString(s) {
				t.Fatalf("%q: %q", s, r.ORcpt)
			}
		}
		if n, _, ok := parseBdat([]byte(s)); ok && n < 0 {
			t.Fatalf("%q: %d", s, n)
		}
		if name, _, bad := parseAuth(s); bad == nil && name == "" {
			t.Fatalf("%q", s)
		}
	})
}

func checkAddress(t *testing.T, a mail.Address, utf8ok bool) {
	t.Helper()
	if a.UTF8() && !utf8ok {
		t.Fatalf("%q without SMTPUTF8", a.Wire)
	}
	if a.IsNull() {
		return
	}
	if b, err := mail.ParseAddress(a.Wire); err != nil || b != a {
		t.Fatalf("%+v is not what it was: %+v, %v", a, b, err)
	}
	if strings.ContainsAny(a.Wire, "\r\n\x00") {
		t.Fatalf("%q", a.Wire)
	}
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0
}

// FuzzConnection sends arbitrary octets as a whole connection. Whatever comes,
// the server ends, its replies are well formed, and a message it accepted has
// no bare CR or LF, no NUL, and is within its limit, unless it is binary.
func FuzzConnection(f *testing.F) {
	files, err := filepath.Glob("testdata/*.smtp")
	if err != nil || len(files) < 10 {
		f.Fatalf("%d scripts found: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(clientSide(string(b)), uint8(0))
	}
	for i, s := range sequences {
		f.Add([]byte("HELO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nx"+s+"MAIL FROM:<e@b.c>\r\n.\r\nQUIT\r\n"), uint8(i))
	}
	f.Add([]byte("\nEHLO c\r\n"), uint8(0))
	f.Add([]byte("EHLO c\r\nMAIL FROM:<a@b.c> BODY=BINARYMIME\r\nRCPT TO:<a@b.c>\r\nBDAT 3\r\n\r\n\nBDAT 0 LAST\r\nQUIT\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, cut uint8) {
		rec := &recorder{}
		limits := Limits{MessageSize: 4096, TextLine: 200, Recipients: 3, Messages: 5, Commands: 200, Idle: 5 * time.Second, Header: time.Second}
		s := &Server{Handler: rec, Limits: limits}
		client := serveOne(t, s, "192.0.2.1:4711")
		client.SetDeadline(time.Now().Add(20 * time.Second))
		out := feed(t, client, raw, int(cut))
		checkReplies(t, out)
		s.Close()
		if s.Stats().Panics != 0 {
			t.Fatalf("panic at %q, after %q", raw, out)
		}
		checkAccepted(t, rec, limits, bytes.Count(out, []byte("\r\n")))
	})
}

var dataCommand = regexp.MustCompile(`(?i)DATA\r\n`)

// feed sends raw so that DATA is answered before its message is sent, as the
// server wants it, and in pieces of cut octets when that is not 0.
func feed(t *testing.T, client *memConn, raw []byte, cut int) []byte {
	var out bytes.Buffer
	in := bufio.NewReader(client)
	for len(raw) > 0 {
		i := -1
		if at := dataCommand.FindIndex(raw); at != nil {
			i = at[0]
		}
		piece := raw
		if i >= 0 {
			piece = raw[:i+6]
		}
		raw = raw[len(piece):]
		for len(piece) > 0 {
			n := len(piece)
			if cut > 0 {
				n = min(n, cut)
			}
			if _, err := client.Write(piece[:n]); err != nil {
				raw, piece = nil, nil
				break
			}
			piece = piece[n:]
		}
		if i >= 0 && len(raw) > 0 && !wait354(client, in, &out) {
			break
		}
	}
	client.CloseWrite()
	client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(&out, in); err != nil {
		t.Fatalf("the server does not end: %v, after %q", err, out.Bytes())
	}
	return out.Bytes()
}

// wait354 reads replies up to a 354, or until there are no more for a moment.
func wait354(client *memConn, in *bufio.Reader, out *bytes.Buffer) bool {
	for {
		client.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		line, err := in.ReadBytes('\n')
		out.Write(line)
		if bytes.HasPrefix(line, []byte("354 ")) {
			return true
		}
		if err != nil {
			return err != io.EOF
		}
	}
}

func checkReplies(t *testing.T, out []byte) {
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		t.Fatalf("half a reply in %q", out)
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\r\n"), "\r\n") {
		if len(out) == 0 {
			break
		}
		if len(line) < 4 || len(line) > 510 || line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' || !printable(line) {
			t.Fatalf("reply %q in %q", line, out)
		}
	}
}

func checkAccepted(t *testing.T, rec *recorder, limits Limits, replies int) {
	if len(rec.ended) != 1 {
		t.Fatalf("%d endings", len(rec.ended))
	}
	if rec.ended[0].Messages > replies {
		t.Fatalf("%d messages, %d replies", rec.ended[0].Messages, replies)
	}
	for _, m := range rec.accepted() {
		if int64(len(m.data)) > limits.MessageSize || len(m.env.Recipients) == 0 || len(m.env.Recipients) > limits.Recipients {
			t.Fatalf("%+v", m)
		}
		if m.env.Body == mail.BodyBinary {
			continue
		}
		rest := strings.ReplaceAll(m.data, "\r\n", "")
		if strings.ContainsAny(rest, "\r\n\x00") {
			t.Fatalf("accepted %q", m.data)
		}
		for _, line := range strings.Split(m.data, "\r\n") {
			if len(line)+2 > limits.TextLine+1 {
				t.Fatalf("accepted a line of %d", len(line))
			}
		}
	}
}

// clientSide gives what the client of a script sends.
func clientSide(text string) []byte {
	s := script{}
	for _, line := range strings.Split(text, "\n") {
		if kind, arg, _ := strings.Cut(line, " "); kind == "C:" || kind == "C!" {
			s.step(kind, arg)
		}
	}
	return []byte(s.send.String())
}

// FuzzProxy holds readProxy to taking not an octet too much, and to addresses
// that are whole.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.5 198.51.100.2 999 25\r\nEHLO"))
	f.Add([]byte("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"))
	f.Add([]byte("PROXY UNKNOWN ffff\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02EHLO"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x03abcEHLO"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x27" + strings.Repeat("\x01", 39)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		client, local, err := readProxy(r)
		if err != nil {
			return
		}
		if client.IsValid() != local.IsValid() {
			t.Fatalf("%v and %v", client, local)
		}
		used := len(raw) - r.Len()
		again, _, err := readProxy(bytes.NewReader(raw[:used]))
		if err != nil || again != client {
			t.Fatalf("the header alone is %v, %v; was %v", again, err, client)
		}
		if raw[0] == 'P' && raw[used-1] != '\n' {
			t.Fatalf("took %q", raw[:used])
		}
	})
}
