package e2e

import (
	"fmt"
	"net/smtp"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// The power is cut while messages come in, are looked at by all filters and a
// milter that changes them, and go to users with different choices. Each message
// that was acknowledged is there, once for each, and no mailbox is damaged.
func TestKillWhileFiltering(t *testing.T) {
	t.Parallel()
	scanner := peers.ClamavMilter(t, peers.Clamd(t, nil))
	s := start(t, fmt.Sprintf("[[filter.milter]]\naddress = %q\n", scanner.Address), "kon", "koff")
	s.run("", "filter", "set", "koff@"+domain, "all=off")
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for round := range 3 {
		var senders sync.WaitGroup
		for i := range 4 {
			senders.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("id-%d-%d-%d", round, i, n)
					if err := s.plainMail(id); err != nil {
						return // the server is gone
					}
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(800 * time.Millisecond)
		s.kill()
		senders.Wait()
		s.serve()
	}
	id := regexp.MustCompile(`\bid-\d+-\d+-\d+\b`)
	for _, user := range []string{"kon", "koff"} {
		seen := map[string]int{}
		for _, text := range s.inbox(user) {
			seen[id.FindString(text)]++
			if on := strings.Contains(text, "X-Virus-Status"); on != (user == "kon") {
				t.Errorf("%s: changed by the milter: %v", user, on)
			}
		}
		for id, n := range seen {
			if n > 1 {
				t.Errorf("%s has %s %d times", user, id, n)
			}
		}
		for id := range acknowledged {
			if seen[id] == 0 {
				t.Errorf("%s has lost %s", user, id)
			}
		}
	}
	t.Logf("%d messages were acknowledged", len(acknowledged))
	if len(acknowledged) < 10 {
		t.Errorf("only %d messages were acknowledged", len(acknowledged))
	}
	s.run("", "mailbox", "check")
}

// plainMail sends one message to both users in a session of its own.
func (s *server) plainMail(id string) error {
	c, err := smtp.Dial(s.addr(25))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("a@far.test"); err != nil {
		return err
	}
	for _, user := range []string{"kon", "koff"} {
		if err := c.Rcpt(user + "@" + domain); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "From: a@far.test\r\nSubject: %s\r\n\r\nHello.\r\n", id); err != nil {
		return err
	}
	return w.Close()
}
