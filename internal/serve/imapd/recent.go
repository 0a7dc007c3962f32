package imapd

import (
	"context"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// maxRecent is for how many folders a Shelf knows what is \Recent.
const maxRecent = 1 << 18

// \Recent (RFC 3501 section 2.3.2) is for the first session that is told of a
// message. It is kept in memory only: after a start, what was saved before is
// not recent any more. IMAP4rev2 has no such thing.

// begin notes when the process began.
func (s *Shelf) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
}

// firstRecent gives the first UID of a folder that no session was told of. With
// claim, the caller's is the one that is told, up to f.UIDNext.
func (s *Shelf) firstRecent(ctx context.Context, store *mailbox.Store, f mailbox.Folder, claim bool) (uint32, error) {
	if s.begun.After(time.Now()) {
		return f.UIDNext, nil // the clock went back: nothing is recent until it is right
	}
	s.mu.Lock()
	first, known := s.recent[f.ID]
	s.mu.Unlock()
	if !known {
		var err error
		if first, err = store.SavedSince(ctx, f.ID, s.begun); err != nil {
			return 0, err
		}
	}
	if !claim {
		return first, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if told, known := s.recent[f.ID]; known {
		first = told
	}
	if s.recent == nil || len(s.recent) >= maxRecent {
		s.recent = map[int64]uint32{}
	}
	s.recent[f.ID] = max(first, f.UIDNext)
	return first, nil
}

// countRecent gives the number of messages of a folder that no session was told
// of (STATUS RECENT).
func (c *conn) countRecent(ctx context.Context, f mailbox.Folder) (n int, err error) {
	first, err := c.srv.Shelf.firstRecent(ctx, c.srv.Mailboxes, f, false)
	if err != nil || first >= f.UIDNext {
		return 0, err
	}
	for _, err := range c.srv.Mailboxes.List(ctx, f.ID, mailbox.Range{First: first, Last: 1<<32 - 1}) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
