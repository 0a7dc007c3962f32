// Package state checks that an IMAP server tells all its sessions one truth.
//
// Several sessions do random commands on the same mailboxes at the same time,
// some with CONDSTORE, some with QRESYNC, and each keeps its own view from the
// responses alone. While they run, no response may refer to a message that the
// session does not know, no EXPUNGE may come where RFC 9051 forbids it, UIDs
// ascend, no UID is ever seen with other content, mod-sequences do not go
// back, and what QRESYNC tells makes the old state the present one. At the
// end, every view equals the mailbox as a fresh session sees it, and every
// message that was promised is there unless somebody asked to delete it.
// The server may be killed and started again while they run.
package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/migiwa/migiwa/test/imap/client"
)

// Checker is a run with one account of a server.
type Checker struct {
	Server  client.Server
	Account client.Account
	// POP3, when set, is the host:port of a POP3 server with TLS on the same
	// mailboxes: one client reads and deletes there.
	POP3 string
	// Sessions is how many there are.
	Sessions int
	// Seed makes the sessions' choices.
	Seed uint64
	// Breaking is set while connections may end without a word.
	Breaking atomic.Bool
	// Commands, Resyncs and Retrieved count what was done, POP3's deletions in
	// the last.
	Commands, Resyncs, Retrieved atomic.Int64

	boxes    []string
	has      map[string]bool
	sessions []*session
	ledger   *ledger
}

// Begin makes the mailboxes.
func (c *Checker) Begin() error {
	c.boxes, c.ledger = []string{"INBOX", "shared"}, newLedger()
	conn, err := c.Server.Login(c.Account.User, c.Account.Password)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.OK("CREATE shared"); err != nil {
		return err
	}
	if c.has, err = conn.Capabilities(); err != nil {
		return err
	}
	for i := range c.Sessions {
		m := mode(i) % modes
		if m == qresync && !c.has["QRESYNC"] || m == condstore && !c.has["CONDSTORE"] {
			m = plain
		}
		c.sessions = append(c.sessions, &session{Checker: c, id: i, mode: m, memory: map[string]memory{}, random: rand.New(rand.NewPCG(c.Seed, uint64(i)))})
	}
	return nil
}

// Run lets the sessions work until ctx ends. It may be called again.
func (c *Checker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range c.sessions {
		all.Go(func() {
			if err := s.run(ctx); err != nil {
				c.ledger.fail(err)
				cancel()
			}
		})
	}
	if c.POP3 != "" {
		all.Go(func() {
			if err := c.pop3(ctx); err != nil {
				c.ledger.fail(err)
				cancel()
			}
		})
	}
	all.Wait()
	return c.ledger.err()
}

// End compares every view with the mailboxes. Nobody may change them.
func (c *Checker) End() error {
	truth := map[string][]message{}
	for _, box := range c.boxes {
		fresh := &session{Checker: c, id: -1, random: rand.New(rand.NewPCG(0, 0)), memory: map[string]memory{}}
		var err error
		if fresh.conn, err = c.Server.Login(c.Account.User, c.Account.Password); err != nil {
			return err
		}
		err = fresh.selectBox(box)
		fresh.conn.Close()
		if err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
		truth[box] = fresh.view.messages
		has := map[uint32]bool{}
		for _, m := range fresh.view.messages {
			has[m.uid] = true
		}
		if err := c.ledger.lost(box, has); err != nil {
			return err
		}
	}
	var all []error
	for _, s := range c.sessions {
		if err := s.compare(truth); err != nil {
			all = append(all, fmt.Errorf("session %d (%v): %w\n%s", s.id, s.mode, err, strings.Join(s.log, "\n")))
		}
	}
	return errors.Join(all...)
}

// compare compares a session's view after a NOOP.
func (s *session) compare(truth map[string][]message) error {
	if s.conn == nil {
		if err := s.connect(); err != nil {
			return err
		}
	}
	defer s.conn.Close()
	if _, err := s.do(true, "NOOP"); err != nil {
		return err
	}
	want := truth[s.view.box]
	if len(want) != len(s.view.messages) {
		return fmt.Errorf("%s has %d messages, the session knows %d", s.view.box, len(want), len(s.view.messages))
	}
	for i, m := range s.view.messages {
		if m.uid > 0 && m.uid != want[i].uid {
			return fmt.Errorf("%s: message %d has the UID %d, the session knows %d", s.view.box, i+1, want[i].uid, m.uid)
		}
		if m.known && !slices.Equal(m.flags, want[i].flags) {
			return fmt.Errorf("%s: message %d (UID %d) has the flags %v, the session knows %v", s.view.box, i+1, want[i].uid, want[i].flags, m.flags)
		}
	}
	return nil
}
