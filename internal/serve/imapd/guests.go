package imapd

import "errors"

// errDismissed ends the sessions of an account that may not log in any more.
var errDismissed = errors.New("account is not in use")

// enter notes that c has logged in to an account. It gives false when so many
// sessions from other machines are, and this is one more.
func (s *Shelf) enter(c *conn, account int64, far bool, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, other := range s.guests[account] {
		if other {
			n++
		}
	}
	if far && n >= most {
		return false
	}
	if s.guests == nil {
		s.guests = map[int64]map[*conn]bool{}
	}
	if s.guests[account] == nil {
		s.guests[account] = map[*conn]bool{}
	}
	s.guests[account][c] = far
	return true
}

// exit ends an enter.
func (s *Shelf) exit(c *conn, account int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guests[account], c)
	if len(s.guests[account]) == 0 {
		delete(s.guests, account)
	}
}

// Review asks of each account that has sessions whether it may have them, and
// ends them where it may not.
func (s *Shelf) Review(may func(account int64) bool) {
	s.mu.Lock()
	accounts := make([]int64, 0, len(s.guests))
	for a := range s.guests {
		accounts = append(accounts, a)
	}
	s.mu.Unlock()
	for _, a := range accounts {
		if may(a) {
			continue
		}
		s.mu.Lock()
		var out []*conn
		for c := range s.guests[a] {
			out = append(out, c)
		}
		s.mu.Unlock()
		for _, c := range out {
			go c.hangUp(errDismissed) // a slow client holds nobody up
		}
	}
}
