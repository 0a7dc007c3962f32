package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// talk is one line-by-line dialogue with a service, in SMTP or POP3.
type talk struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

// dial connects to a standard port and leaves the greeting to be read.
func (s *server) dial(port int) *talk { s.t.Helper(); return dialTo(s.t, s.addr(port)) }

func dialTo(t testing.TB, addr string) *talk {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &talk{t: t, c: c, r: bufio.NewReader(c)}
}

// write sends octets as they are.
func (k *talk) write(text string) {
	k.t.Helper()
	if _, err := k.c.Write([]byte(text)); err != nil {
		k.t.Fatal(err)
	}
}

// line reads one line without its CRLF; "" at the end of the connection.
func (k *talk) line() string {
	line, err := k.r.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(line, "\r\n")
}

// reply reads an SMTP reply, its lines joined by newlines.
func (k *talk) reply() string {
	var lines []string
	for {
		line := k.line()
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// want reads an SMTP reply that must begin so.
func (k *talk) want(prefix string) string {
	k.t.Helper()
	got := k.reply()
	if !strings.HasPrefix(got, prefix) {
		k.t.Fatalf("got %q, want %q", got, prefix)
	}
	return got
}

// say sends a command whose reply must begin with prefix.
func (k *talk) say(prefix, format string, args ...any) string {
	k.t.Helper()
	command := fmt.Sprintf(format, args...)
	k.write(command + "\r\n")
	got := k.reply()
	if !strings.HasPrefix(got, prefix) {
		k.t.Fatalf("%.200q: got %q, want %q", command, got, prefix)
	}
	return got
}

// handshake begins TLS on the connection.
func (k *talk) handshake() *tls.Conn {
	k.t.Helper()
	c := tls.Client(k.c, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		k.t.Fatal(err)
	}
	k.c, k.r = c, bufio.NewReader(c)
	return c
}

// mx opens a dialogue with port 25 up to EHLO.
func (s *server) mx() *talk {
	s.t.Helper()
	k := s.dial(25)
	k.want("220 ")
	k.say("250", "EHLO far.test")
	return k
}

// secure opens a dialogue with port 587 up to EHLO inside TLS.
func (s *server) secure() *talk {
	s.t.Helper()
	k := s.dial(587)
	k.want("220 ")
	k.say("250", "EHLO desk.test")
	k.say("220", "STARTTLS")
	k.handshake()
	k.say("250", "EHLO desk.test")
	return k
}

// submit opens a dialogue with port 587 up to the login of user, whose
// password is its local part.
func (s *server) submit(user string) *talk {
	s.t.Helper()
	k := s.secure()
	k.say("235", "AUTH PLAIN %s", plain(user+"@"+domain, user))
	return k
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// send runs one transaction, whose end must be answered with 250.
func (k *talk) send(from string, to []string, message string) {
	k.t.Helper()
	k.say("250", "MAIL FROM:<%s>", from)
	for _, r := range to {
		k.say("250", "RCPT TO:<%s>", r)
	}
	k.data("250", message)
}

// data sends a message; its end must be answered so.
func (k *talk) data(prefix, message string) string {
	k.t.Helper()
	k.say("354", "DATA")
	message = strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n")
	k.write(strings.ReplaceAll(strings.TrimSuffix(message, "\r\n")+"\r\n", "\r\n.", "\r\n..") + ".\r\n")
	return k.want(prefix)
}

// message gives a small message.
func message(from, to, subject string) string {
	return "From: " + from + "\nTo: " + to + "\nSubject: " + subject + "\n\nHello.\n"
}

// deliver brings one message from outside by port 25.
func (s *server) deliver(subject string, to ...string) {
	s.t.Helper()
	k := s.mx()
	k.send("friend@far.test", to, message("friend@far.test", "you@"+domain, subject))
	k.say("221", "QUIT")
}

// pop opens a dialogue with port 995 up to the login.
func (s *server) pop(user, password string) *talk {
	s.t.Helper()
	k := s.dial(995)
	k.handshake()
	k.want("+OK")
	k.say("+OK", "USER %s", user)
	k.say("+OK", "PASS %s", password)
	return k
}

// text reads a multi-line POP3 answer behind its first line.
func (k *talk) text() string {
	k.t.Helper()
	var b strings.Builder
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			k.t.Fatal(err)
		}
		if line == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

// inbox gives the messages of an account whose password is its local part.
func (s *server) inbox(user string) []string {
	s.t.Helper()
	return s.inboxOf(user+"@"+domain, user)
}

func (s *server) inboxOf(address, password string) []string {
	s.t.Helper()
	k := s.pop(address, password)
	var n, size int
	if _, err := fmt.Sscanf(k.say("+OK", "STAT"), "+OK %d %d", &n, &size); err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for i := range n {
		k.say("+OK", "RETR %d", i+1)
		all = append(all, k.text())
	}
	k.say("+OK", "QUIT")
	return all
}

// arrives waits until an account has a message with all the words, and gives
// the message.
func (s *server) arrives(user string, words ...string) string {
	s.t.Helper()
	var found string
	eventually(s.t, 30*time.Second, fmt.Sprintf("%s has mail with %q", user, words), func() bool {
		for _, m := range s.inbox(user) {
			if containsAll(m, words...) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

func containsAll(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// wantAll fails for each word that the text lacks.
func wantAll(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

// header gives the header section of a message, unfolded.
func header(message string) string {
	h, _, _ := strings.Cut(message, "\r\n\r\n")
	return strings.NewReplacer("\r\n\t", " ", "\r\n ", " ").Replace(h) + "\r\n"
}
