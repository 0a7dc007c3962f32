package e2e

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
)

// fakeHost is another mail server whose answers to RCPT a test decides.
type fakeHost struct {
	Addr string

	mu       sync.Mutex
	answer   string // to RCPT; empty: 250
	messages []string
	tries    int
}

func newFakeHost(t *testing.T, answer string) *fakeHost {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{Addr: l.Addr().String(), answer: answer}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
	return h
}

// say changes the answer to RCPT.
func (h *fakeHost) say(answer string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// seen gives the messages that were taken, each behind its envelope, and the
// number of RCPTs.
func (h *fakeHost) seen() ([]string, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.messages...), h.tries
}

func (h *fakeHost) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	reply := func(s string) { c.Write([]byte(s + "\r\n")) }
	reply("220 fake.test")
	var envelope strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "EHLO":
			reply("250-fake.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN")
		case "MAIL":
			envelope.Reset()
			envelope.WriteString(line)
			reply("250 ok")
		case "RCPT":
			h.mu.Lock()
			answer := h.answer
			h.tries++
			h.mu.Unlock()
			if answer == "" {
				answer = "250 ok"
			}
			envelope.WriteString(line)
			reply(answer)
		case "DATA":
			reply("354 go on")
			for {
				text, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if text == ".\r\n" {
					break
				}
				envelope.WriteString(strings.TrimPrefix(text, "."))
			}
			h.mu.Lock()
			h.messages = append(h.messages, envelope.String())
			h.mu.Unlock()
			reply("250 taken")
		case "QUIT":
			reply("221 bye")
			return
		default:
			reply("250 ok")
		}
	}
}
