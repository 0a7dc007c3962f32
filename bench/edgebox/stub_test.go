package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// stub is a server that defers all, or nearly all, and may be planted with a
// fault that tells valid recipients from unknown ones.
type stub struct {
	late   time.Duration // later to valid recipients
	linger time.Duration // later ends of their sessions
	texts  bool          // another text to valid recipients
	rare   bool          // another text to one in three valid recipients
	favour float64       // share of valid recipients that are answered, beside
	answer float64       // the share of unknown ones that are
}

// start serves on the loopback interface until the test ends.
func (s stub) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return l.Addr().String()
}

func (s stub) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(text string) { fmt.Fprintf(c, "%s\r\n", text) }
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "PROXY TCP4 ") {
		return
	}
	say("220 stub ESMTP")
	valid := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:4]); verb {
		case "EHLO":
			say("250-stub\r\n250 8BITMIME")
		case "RCPT":
			local, _, _ := strings.Cut(strings.TrimPrefix(line, "RCPT TO:<"), "@")
			valid = local[len(local)-1] <= '9' // see world.recipient
			say(s.rcpt(valid))
		case "DATA":
			say("354 go on")
			for text := ""; text != ".\r\n" && err == nil; {
				text, err = r.ReadString('\n')
			}
			say("250 2.0.0 taken")
		case "QUIT":
			if valid {
				time.Sleep(s.linger)
			}
			say("221 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// rcpt answers after up to 5 ms, as a busy server would.
func (s stub) rcpt(valid bool) string {
	time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
	share := s.answer
	if valid {
		share = s.favour
		time.Sleep(s.late)
	}
	answered := rand.Float64() < share
	switch {
	case answered && valid:
		return "250 2.1.5 ok"
	case answered:
		return "550 5.1.1 no such user"
	case valid && (s.texts || s.rare && rand.IntN(3) == 0):
		return "451 4.2.1 Mailbox busy, try again later"
	}
	return fmt.Sprintf("451 4.7.1 Try again later (ref %06d)", rand.IntN(1e6))
}
