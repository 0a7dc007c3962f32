package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// mode is what a session has enabled.
type mode int

const (
	plain mode = iota
	condstore
	qresync
	modes
)

// memory is what a session with QRESYNC keeps of a mailbox when it leaves it.
type memory struct {
	uidValidity uint32
	modseq      uint64
	messages    []message
}

// session is one client: its connection and its view. The view lives on when
// the connection has ended, as a memory.
type session struct {
	*Checker
	id     int
	mode   mode
	random *rand.Rand
	conn   *client.Conn
	view   view
	memory map[string]memory
	log    []string // the last lines
}

// broken is an error of the connection, not of what was said on it.
type broken struct{ error }

func (s *session) note(direction byte, text []byte) {
	line := fmt.Sprintf("%c: %s", direction, client.Brief(string(text)))
	if s.log = append(s.log, line); len(s.log) > 400 {
		s.log = s.log[1:]
	}
}

// run does random commands until ctx ends.
func (s *session) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.connect()
		for err == nil && ctx.Err() == nil {
			err = s.random1()
		}
		if err == nil {
			return nil // the connection stays for the end
		}
		s.leave()
		if s.conn != nil {
			s.conn.Close()
			s.conn = nil
		}
		var b broken
		if !errors.As(err, &b) || !s.mayBreak(ctx) {
			return fmt.Errorf("session %d (%v): %w\n%s", s.id, s.mode, err, strings.Join(s.log, "\n"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// mayBreak waits for the word whether the server was killed just now: it may
// come a moment after the connections' end.
func (s *session) mayBreak(ctx context.Context) bool {
	for range 20 {
		if ctx.Err() != nil || s.Breaking.Load() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

func (s *session) connect() error {
	if s.conn != nil {
		return nil
	}
	c, err := s.Server.Login(s.Account.User, s.Account.Password)
	if err != nil {
		return broken{err}
	}
	s.conn = c
	c.Log = s.note
	s.view = view{}
	if s.mode == qresync {
		if _, err := s.do(false, "ENABLE QRESYNC"); err != nil {
			return err
		}
	}
	if err := s.notify(); err != nil {
		return err
	}
	return s.selectBox(s.boxes[s.random.IntN(len(s.boxes))])
}

// notify has half of the sessions hear news of their mailbox between commands,
// but not what would change numbers, and of all others.
func (s *session) notify() error {
	if s.id%2 == 0 || !s.has["NOTIFY"] {
		return nil
	}
	items := "UID FLAGS"
	if s.mode != plain {
		items += " MODSEQ"
	}
	_, err := s.do(false, "NOTIFY SET (SELECTED-DELAYED (MessageNew (%s) MessageExpunge FlagChange)) "+
		"(PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))", items)
	return err
}

// do sends a command, takes all responses in, and gives them; the last one ends
// the command. NO is no error, BAD is.
func (s *session) do(expunges bool, format string, args ...any) ([]*client.Response, error) {
	command := fmt.Sprintf(format, args...)
	s.view.expunges = expunges
	s.Commands.Add(1)
	all, err := s.conn.Do(command)
	for _, r := range all {
		if r.Tag == "*" {
			if err := s.take(r); err != nil {
				return all, fmt.Errorf("%s: %w", client.Brief(command), err)
			}
		}
	}
	if err != nil {
		return all, broken{err}
	}
	if last := all[len(all)-1]; last.Status("BAD") {
		return all, fmt.Errorf("%s: %s", client.Brief(command), last)
	}
	return all, nil
}

// take takes one untagged response in and compares it with the ledger.
func (s *session) take(r *client.Response) error {
	if r.Status("BYE") {
		return broken{errors.New(r.String())}
	}
	if err := s.view.apply(r); err != nil {
		return err
	}
	if r.Name() != "FETCH" {
		return nil
	}
	i, err := s.view.index(r)
	if err != nil {
		return err
	}
	m := s.view.messages[i]
	s.ledger.sawModseq(s.view.box, m.modseq)
	items := r.Values[2].List
	for k := 0; k+1 < len(items); k += 2 {
		if !strings.HasPrefix(items[k].Text, "BODY[HEADER.FIELDS") || m.uid == 0 {
			continue
		}
		token := strings.TrimSpace(strings.TrimPrefix(items[k+1].Text, "Subject:"))
		if err := s.ledger.is(place{s.view.box, s.view.uidValidity, m.uid}, token, false); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	return nil
}

// leave keeps what QRESYNC needs to come back.
func (s *session) leave() {
	v := &s.view
	if s.mode != qresync || v.box == "" || v.highest == 0 {
		return
	}
	m := memory{uidValidity: v.uidValidity, modseq: v.highest}
	for _, known := range v.messages {
		if known.uid > 0 { // new ones, without a UID yet, stand behind
			m.messages = append(m.messages, known)
		}
	}
	if len(m.messages) > 0 {
		s.memory[v.box] = m
	}
	v.box = ""
}

// selectBox selects a mailbox and learns all of it.
func (s *session) selectBox(box string) error {
	s.leave()
	uid, modseq := s.ledger.marks(box)
	s.view = view{box: box, vanished: s.mode == qresync, expunges: true}
	parameter := ""
	old, known := s.memory[box]
	switch {
	case s.mode == condstore:
		parameter = " (CONDSTORE)"
	case s.mode == qresync && known:
		parameter = fmt.Sprintf(" (QRESYNC (%d %d))", old.uidValidity, old.modseq)
	}
	all, err := s.conn.Do("SELECT " + box + parameter)
	s.Commands.Add(1)
	if err != nil {
		return broken{err}
	}
	if last := all[len(all)-1]; !last.Status("OK") {
		return fmt.Errorf("SELECT %s: %s", box, last)
	}
	if closed := slices.IndexFunc(all, func(r *client.Response) bool { return r.CodeIs("CLOSED") }); closed >= 0 {
		all = all[closed+1:] // what comes before is about the mailbox before
	}
	if err := s.selected(all, old); err != nil {
		return fmt.Errorf("SELECT %s%s: %w", box, parameter, err)
	}
	v := &s.view
	if v.uidNext <= uid || v.highest < modseq && s.mode != plain {
		return fmt.Errorf("SELECT %s: UIDNEXT %d, HIGHESTMODSEQ %d, but UID %d and MODSEQ %d were seen before", box, v.uidNext, v.highest, uid, modseq)
	}
	s.ledger.sawModseq(box, v.highest)
	if parameter != "" && s.mode == qresync {
		return s.compareResync()
	}
	return s.learn()
}

// selected takes the responses to SELECT in. What QRESYNC tells is about the
// mailbox as it was known: first the size and what has vanished, then flags.
func (s *session) selected(all []*client.Response, old memory) error {
	for _, r := range all {
		if r.Tag == "*" && r.Name() == "OK" {
			s.view.code(r)
		}
		if r.Tag == "*" && r.Name() == "EXISTS" {
			if err := s.view.apply(r); err != nil {
				return err
			}
		}
	}
	if old.uidValidity != s.view.uidValidity {
		return nil
	}
	left := slices.Clone(old.messages)
	for _, r := range all {
		if r.Tag != "*" || r.Name() != "VANISHED" {
			continue
		}
		uids, err := parseSet(r.Values[len(r.Values)-1].Text)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(m message) bool { return slices.Contains(uids, m.uid) })
	}
	return s.resync(left, all)
}

// resync makes the view of what was known and has not vanished, and of what
// FETCH tells: that is every message that is new or has changed.
func (s *session) resync(left []message, all []*client.Response) error {
	var news []*client.Response
	for _, r := range all {
		if r.Tag != "*" || r.Name() != "FETCH" || len(r.Values) != 3 {
			continue
		}
		news = append(news, r)
		var m message
		for k, items := 0, r.Values[2].List; k+1 < len(items); k += 2 {
			if err := m.item(items[k], items[k+1]); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(left, func(l message) bool { return l.uid == m.uid }) {
			left = append(left, message{uid: m.uid})
		}
	}
	if len(left) != len(s.view.messages) {
		return fmt.Errorf("%d messages are known or were told of, but there are %d", len(left), len(s.view.messages))
	}
	slices.SortFunc(left, func(a, b message) int { return int(a.uid) - int(b.uid) })
	s.view.messages = left
	for _, r := range news {
		if err := s.take(r); err != nil {
			return err
		}
	}
	return nil
}

// compareResync compares what QRESYNC has told with the mailbox itself. Other
// sessions go on meanwhile: what is newer than SELECT is no mistake.
func (s *session) compareResync() error {
	told := map[uint32]message{}
	for _, m := range s.view.messages {
		told[m.uid] = m
	}
	highest, next := s.view.highest, s.view.uidNext
	all, err := s.do(true, "UID FETCH 1:* (UID FLAGS MODSEQ)")
	if err != nil {
		return fmt.Errorf("after QRESYNC: %w", err)
	}
	for _, r := range all {
		if r.Name() != "FETCH" {
			continue
		}
		var m message
		for k, items := 0, r.Values[2].List; k+1 < len(items); k += 2 {
			if err := m.item(items[k], items[k+1]); err != nil {
				return err
			}
		}
		before, ok := told[m.uid]
		if ok && !before.known {
			continue // the session's own STORE .SILENT
		}
		if m.uid < next && m.modseq <= highest && m.known && (!ok || !slices.Equal(before.flags, m.flags)) {
			return fmt.Errorf("QRESYNC gave UID %d the flags %v (known: %t), but since mod-sequence %d (SELECT: %d) they are %v", m.uid, before.flags, ok, m.modseq, highest, m.flags)
		}
	}
	s.Resyncs.Add(1)
	return s.learn()
}

// learn asks for the UIDs, flags and tokens of all messages.
func (s *session) learn() error {
	if len(s.view.messages) == 0 {
		return nil
	}
	items := "UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]"
	if s.mode != plain {
		items += " MODSEQ"
	}
	_, err := s.do(false, "FETCH 1:* (%s)", items)
	return err
}
