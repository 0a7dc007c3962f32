package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is what the clients were told.
type ledger struct {
	mu       sync.Mutex
	offered  map[string]bool // end of message sent, answer unknown or 4xx
	acked    map[string]bool // answered with 250
	deleted  map[string]bool // by POP3, QUIT answered with +OK
	doomed   map[string]bool // by POP3, QUIT without an answer
	deferred int             // 4xx replies
	problems []string
}

func newLedger() *ledger {
	return &ledger{offered: map[string]bool{}, acked: map[string]bool{}, deleted: map[string]bool{}, doomed: map[string]bool{}}
}

func (l *ledger) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < 50 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) note(which map[string]bool, ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		which[id] = true
	}
}

// answer notes what became of message id.
func (l *ledger) answer(id string, err error) {
	var reply *textproto.Error
	switch {
	case err == nil:
		l.note(l.acked, id)
	case errors.As(err, &reply) && reply.Code >= 500:
		l.problem("message %s was refused: %v", id, err)
	case errors.As(err, &reply):
		l.mu.Lock()
		l.deferred++
		l.mu.Unlock()
	}
}

// count gives the number of messages answered with 250 so far.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// load runs senders clients and one POP3 client that deletes carol's mail,
// until ctx ends; then it waits for those that still have a server to talk to.
func (l *ledger) load(ctx context.Context, s *server, name string, senders int) (wait func()) {
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() { l.sender(ctx, s, fmt.Sprintf("%s-%d", name, i), i%3 == 2) })
	}
	group.Go(func() {
		for ctx.Err() == nil {
			ids, quit, err := deleteSome(s, "carol", func(int, int) bool { return rand.IntN(2) == 0 })
			l.deletion(ids, quit, err)
			pause(ctx, 20*time.Millisecond)
		}
	})
	return group.Wait
}

func (l *ledger) deletion(ids []string, quit bool, err error) {
	var no errNo
	switch {
	case err == nil:
		l.note(l.deleted, ids...)
	case quit:
		l.note(l.doomed, ids...)
	case errors.As(err, &no) && !strings.Contains(string(no), "[SYS/TEMP]") && !strings.Contains(string(no), "[IN-USE]"):
		l.problem("POP3: %v", err)
	}
}

// sender sends one message after the other and connects again when it loses
// the connection.
func (l *ledger) sender(ctx context.Context, s *server, name string, chunked bool) {
	var c *client
	for n := 0; ctx.Err() == nil; n++ {
		if c == nil {
			var err error
			if c, err = dialSMTP(s.addr(25)); err != nil {
				c = nil
				pause(ctx, 5*time.Millisecond)
				continue
			}
		}
		m := newMessage(fmt.Sprintf("%s-%d", name, n))
		err := c.send(m, chunked, func() { l.note(l.offered, m.id) })
		l.answer(m.id, err)
		if err != nil {
			c.Close()
			c = nil
			pause(ctx, 20*time.Millisecond)
		}
	}
	if c != nil {
		c.Close()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// found counts the messages of one mailbox by id.
func found(t testing.TB, s *server, user string) map[string]int {
	t.Helper()
	texts, err := readAll(s, user)
	if err != nil {
		t.Fatalf("reading %s's mailbox: %v", user, err)
	}
	count := map[string]int{}
	for _, text := range texts {
		id, trace, err := identify(text)
		if err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		if !strings.HasPrefix(string(trace), "Return-Path: <a@sender.test>\r\n") {
			t.Errorf("%s: message %s begins with %.100q", user, id, trace)
		}
		count[id]++
	}
	return count
}

// verify compares what there is with the ledger, when all is delivered, and
// gives the number of copies that the sink got more than once.
func (l *ledger) verify(t testing.TB, s *server, k *sink) (again int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range append(l.problems, k.problems...) {
		t.Error(p)
	}
	boxes := map[string]map[string]int{}
	for _, user := range []string{"alice", "bob", "carol"} {
		boxes[user] = found(t, s, user)
		for id := range boxes[user] {
			if !l.offered[id] {
				t.Errorf("%s has message %s, which was never sent", user, id)
			}
		}
	}
	lost := 0
	for id := range l.offered {
		m := newMessage(id)
		there, places := 0, 0
		for _, user := range m.local {
			n := boxes[user][id]
			if n > 1 {
				t.Errorf("%s has message %s %d times", user, id, n)
			}
			switch {
			case user != "carol" || !l.deleted[id] && !l.doomed[id]:
				places++
				there += n
			case l.deleted[id] && n > 0:
				t.Errorf("message %s was deleted and is there", id)
			}
		}
		for _, r := range m.sent {
			places++
			if n := k.copies(id, r); n > 0 {
				there++
				again += n - 1
			}
		}
		if there != places && (there > 0 || l.acked[id]) {
			t.Errorf("message %s, acknowledged %t, is in %d of %d places", id, l.acked[id], there, places)
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d messages lost", lost)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.got {
		if id, _, _ := strings.Cut(key, " "); !l.offered[id] {
			t.Errorf("the sink got %s, which was never sent", key)
		}
	}
	return again
}

// delivered tells whether the sink has everything that was acknowledged.
func (l *ledger) delivered(k *sink) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acked {
		for _, r := range newMessage(id).sent {
			if k.copies(id, r) == 0 {
				return false
			}
		}
	}
	return true
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d messages offered, %d acknowledged, %d put off by 4xx, %d deleted by POP3, %d perhaps",
		len(l.offered), len(l.acked), l.deferred, len(l.deleted), len(l.doomed))
}
