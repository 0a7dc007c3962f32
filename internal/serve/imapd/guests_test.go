package imapd

import "testing"

// TestReview: who may not log in any more is sent away, also while idling, and
// others are not.
func TestReview(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Shelf = &Shelf{} })
	alice, idle, bob := h.login(t, "alice"), h.login(t, "alice"), h.login(t, "bob")
	idle.send("i IDLE\r\n")
	idle.line()
	h.Shelf.Review(func(account int64) bool { return account != 1 })
	for _, c := range []*client{alice, idle} {
		if line := c.line(); line != "* BYE This account is not in use any more" {
			t.Error(line)
		}
	}
	bob.ok("NOOP")
}
