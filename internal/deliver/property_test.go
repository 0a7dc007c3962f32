package deliver

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// moody is a server that refuses, defers and hangs up at random. It knows what
// it took and what it refused for good.
type moody struct {
	ln net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	taken   map[string]int // 250 written
	refused map[string]int // 5xx written
}

func (m *moody) serve() {
	for {
		c, err := m.ln.Accept()
		if err != nil {
			return
		}
		m.wg.Go(func() { m.dialogue(c) })
	}
}

func (m *moody) dialogue(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	say := func(s string) bool { _, err := c.Write([]byte(s + "\r\n")); return err == nil }
	say("220 moody")
	var to []string
	for {
		line, err := br.ReadString('\n')
		if err != nil || rand.N(60) == 0 {
			return
		}
		reply := "250 ok"
		switch verb := strings.ToUpper(line[:4]); {
		case verb == "EHLO":
			reply = "250-moody\r\n250 PIPELINING"
		case verb == "MAIL":
			to = nil
		case verb == "RCPT" && rand.N(8) == 0:
			reply = "450 4.2.0 mood"
		case verb == "RCPT" && rand.N(8) == 0:
			reply = "550 5.1.1 mood"
			m.count(m.refused, []string{strings.TrimSpace(line[8:])})
		case verb == "RCPT":
			to = append(to, strings.TrimSpace(line[8:]))
		case verb == "DATA" && len(to) == 0:
			reply = "503 5.5.1 nobody"
		case verb == "DATA":
			say("354 go")
			for line != ".\r\n" {
				if line, err = br.ReadString('\n'); err != nil {
					return
				}
			}
			if rand.N(10) == 0 {
				reply = "451 4.3.0 mood"
			} else {
				m.count(m.taken, to)
			}
		case verb == "QUIT":
			say("221 bye")
			return
		}
		if !say(reply) {
			return
		}
	}
}

func (m *moody) count(in map[string]int, to []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range to {
		in[a]++
	}
}

// TestEveryRecipientIsSettledOnce: against a server of bad manners, through
// stops and starts of the runner, every recipient is either taken exactly once
// or refused and reported exactly once.
func TestEveryRecipientIsSettledOnce(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &moody{ln: ln, taken: map[string]int{}, refused: map[string]int{}}
	m.wg.Go(m.serve)
	t.Cleanup(func() { ln.Close(); m.wg.Wait() })
	s.route(ln.Addr().String())
	s.runner.Limits.Retry, s.runner.Limits.RetryMax, s.runner.Limits.DeadMax = 5*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	var all []string
	for i := range 120 {
		var to []string
		for j := range 1 + i%4 {
			to = append(to, fmt.Sprintf("u%d-%d@there.test", i, j))
		}
		all = append(all, to...)
		s.accept(func(a *Accepted) {
			for i := range a.Recipients {
				a.Recipients[i].Notify = mail.NotifyFailure
			}
		}, to...)
	}
	for !s.empty() {
		stop := s.run()
		time.Sleep(300 * time.Millisecond)
		stop()
	}
	reported := map[string]int{}
	for _, r := range s.inbox(2) {
		for _, p := range strings.Split(r, "Final-Recipient: rfc822; ")[1:] {
			reported[strings.TrimSpace(strings.Split(p, "\r\n")[0])]++
		}
	}
	for _, a := range all {
		taken, refused := m.taken["<"+a+">"], m.refused["<"+a+">"]
		if taken+reported[a] != 1 || reported[a] > refused {
			t.Errorf("%s: taken %d times, refused %d, reported %d", a, taken, refused, reported[a])
		}
	}
	s.checkBodies()
}
