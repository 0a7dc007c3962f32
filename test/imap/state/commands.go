package state

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

var someFlags = []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, "$Label1", "$Label2"}

// random1 does one random command.
func (s *session) random1() error {
	commands := []struct {
		weight int
		do     func() error
	}{
		{12, s.append}, {14, s.store}, {5, s.delete}, {5, s.expunge}, {3, s.uidExpunge}, {4, func() error { return s.copy("COPY") }},
		{3, func() error { return s.copy("MOVE") }}, {8, s.fetch}, {4, s.search}, {8, s.noop}, {4, s.idle},
		{5, func() error { return s.selectBox(s.boxes[s.random.IntN(len(s.boxes))]) }}, {3, s.folder}, {1, s.reconnect},
	}
	all := 0
	for _, c := range commands {
		all += c.weight
	}
	n := s.random.IntN(all)
	for _, c := range commands {
		if n -= c.weight; n < 0 {
			return c.do()
		}
	}
	return nil
}

// pick chooses messages whose UIDs are known; it may give none.
func (s *session) pick() (indexes []int, numbers, uids string) {
	var ns, us []string
	for range 1 + s.random.IntN(3) {
		if len(s.view.messages) == 0 {
			break
		}
		i := s.random.IntN(len(s.view.messages))
		if s.view.messages[i].uid == 0 || slices.Contains(indexes, i) {
			continue
		}
		indexes = append(indexes, i)
		ns = append(ns, strconv.Itoa(i+1))
		us = append(us, fmt.Sprint(s.view.messages[i].uid))
	}
	return indexes, strings.Join(ns, ","), strings.Join(us, ",")
}

func (s *session) append() error {
	box, token := s.boxes[s.random.IntN(len(s.boxes))], s.ledger.fresh()
	text := "Subject: " + token + "\r\n\r\n" + strings.Repeat("x", s.random.IntN(2000)) + "\r\n"
	all, err := s.do(true, "APPEND %s (%s) {%d}\r\n%s", box, someFlags[s.random.IntN(len(someFlags))], len(text), text)
	if err != nil {
		return err
	}
	last := all[len(all)-1]
	if !last.Status("OK") {
		return fmt.Errorf("APPEND: %s", last)
	}
	if last.CodeIs("APPENDUID") && len(last.Code) == 3 {
		validity, err1 := last.Code[1].Number()
		uid, err2 := last.Code[2].Number()
		if err1 != nil || err2 != nil {
			return fmt.Errorf("APPEND: %s", last)
		}
		return s.ledger.is(place{box, uint32(validity), uint32(uid)}, token, true)
	}
	return nil
}

func (s *session) store() error {
	indexes, numbers, uids := s.pick()
	if len(indexes) == 0 {
		return nil
	}
	what := []string{"+FLAGS", "-FLAGS", "FLAGS"}[s.random.IntN(3)]
	if s.random.IntN(4) == 0 {
		what += ".SILENT"
		s.view.forget(indexes...)
	}
	if s.mode != plain && s.random.IntN(4) == 0 {
		what = fmt.Sprintf("(UNCHANGEDSINCE %d) %s", s.view.messages[indexes[0]].modseq, what)
	}
	flag := someFlags[s.random.IntN(len(someFlags))]
	if s.random.IntN(2) == 0 {
		_, err := s.do(true, "UID STORE %s %s (%s)", uids, what, flag)
		return err
	}
	_, err := s.do(false, "STORE %s %s (%s)", numbers, what, flag)
	return err
}

// doom tells the ledger that messages may disappear.
func (s *session) doom(indexes []int) {
	for _, i := range indexes {
		s.ledger.doom(s.view.box, s.view.uidValidity, s.view.messages[i].uid)
	}
}

func (s *session) delete() error {
	indexes, numbers, _ := s.pick()
	if len(indexes) == 0 {
		return nil
	}
	s.doom(indexes)
	_, err := s.do(false, `STORE %s +FLAGS (\Deleted)`, numbers)
	return err
}

func (s *session) expunge() error {
	_, err := s.do(true, "EXPUNGE")
	return err
}

func (s *session) uidExpunge() error {
	indexes, _, uids := s.pick()
	if len(indexes) == 0 || !s.has["UIDPLUS"] {
		return nil
	}
	_, err := s.do(true, "UID EXPUNGE %s", uids)
	return err
}

func (s *session) copy(command string) error {
	indexes, _, uids := s.pick()
	if len(indexes) == 0 || command == "MOVE" && !s.has["MOVE"] {
		return nil
	}
	if command == "MOVE" {
		s.doom(indexes)
	}
	_, err := s.do(true, "UID %s %s %s", command, uids, s.boxes[s.random.IntN(len(s.boxes))])
	return err
}

func (s *session) fetch() error {
	indexes, numbers, uids := s.pick()
	if len(indexes) == 0 {
		return s.learn()
	}
	items := "UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]"
	if s.mode != plain {
		items += " MODSEQ"
	}
	if s.random.IntN(2) == 0 {
		_, err := s.do(true, "UID FETCH %s (%s)", uids, items)
		return err
	}
	_, err := s.do(false, "FETCH %s (%s)", numbers, items)
	return err
}

// search finds numbers that the session knows, and UIDs that it may know.
func (s *session) search() error {
	known := len(s.view.messages)
	all, err := s.do(false, "SEARCH NOT DELETED")
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Name() != "SEARCH" {
			continue
		}
		for _, v := range r.Values[1:] {
			if v.Kind == client.List {
				continue // (MODSEQ 5)
			}
			if n, err := v.Number(); err != nil || n < 1 || n > uint64(max(known, len(s.view.messages))) {
				return fmt.Errorf("%s when %d messages are known", r, len(s.view.messages))
			}
		}
	}
	return nil
}

func (s *session) noop() error {
	if _, err := s.do(true, "NOOP"); err != nil {
		return err
	}
	if slices.ContainsFunc(s.view.messages, func(m message) bool { return m.uid == 0 }) {
		return s.learn()
	}
	return nil
}

// idle listens for a moment.
func (s *session) idle() error {
	tag := s.conn.NextTag()
	s.Commands.Add(1)
	s.view.expunges = true
	if err := s.conn.Send([]byte(tag + " IDLE\r\n")); err != nil {
		return broken{err}
	}
	started := false
	for {
		r, err := s.conn.Read()
		switch {
		case err != nil:
			return broken{err}
		case r.Tag == "+" && !started:
			started = true
			time.Sleep(time.Duration(s.random.IntN(30)) * time.Millisecond)
			if err := s.conn.Send([]byte("DONE\r\n")); err != nil {
				return broken{err}
			}
		case r.Tag == tag:
			if !r.Status("OK") {
				return fmt.Errorf("IDLE: %s", r)
			}
			return nil
		default:
			if err := s.take(r); err != nil {
				return fmt.Errorf("IDLE: %w", err)
			}
		}
	}
}

// folder makes, renames and deletes mailboxes that nobody has selected.
func (s *session) folder() error {
	a, b := fmt.Sprint("side", s.random.IntN(4)), fmt.Sprint("side", s.random.IntN(4))
	command := []string{"CREATE " + a, "DELETE " + a, "RENAME " + a + " " + b, "STATUS " + a + " (MESSAGES UIDNEXT)", `LIST "" *`}[s.random.IntN(5)]
	_, err := s.do(true, "%s", command)
	return err
}

func (s *session) reconnect() error {
	s.leave()
	_, err := s.do(true, "LOGOUT")
	s.conn.Close()
	s.conn = nil
	var b broken
	if err != nil && !errors.As(err, &b) {
		return err
	}
	return s.connect()
}
