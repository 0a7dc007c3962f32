package pop3d

import (
	"context"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
)

// session is the INBOX of who is logged in, as it was at login.
type session struct {
	store   *mailbox.Store
	name    string // of the account
	folder  mailbox.Folder
	entries []entry
	unlock  func()
	toMark  []uint32 // retrieved, not yet marked \Seen
}

// entry is one message: 16 octets, so that a large mailbox costs little.
type entry struct {
	size    int64
	uid     uint32
	deleted bool
	seen    bool
}

// markEvery is how many retrieved messages share a transaction that marks
// them: one each would cost an fsync for each.
const markEvery = 100

// openSession locks the mailbox of the account that SASL named and looks at it.
func (c *conn) openSession(ctx context.Context, name string) error {
	account, err := c.srv.Account(ctx, name)
	if err != nil {
		return fmt.Errorf("find account %s: %w", name, err)
	}
	unlock, err := c.srv.Locks.lock(account)
	if err != nil {
		return err
	}
	if c.srv.Address != nil {
		if a, err := c.srv.Address(ctx, account); err == nil && a != "" {
			name = a
		}
	}
	s := &session{store: c.srv.Mailboxes, name: name, unlock: unlock}
	if err := s.load(ctx, account); err != nil {
		unlock()
		return err
	}
	c.session = s
	return nil
}

func (s *session) load(ctx context.Context, account int64) (err error) {
	if s.folder, err = s.store.Folder(ctx, account, "INBOX"); err != nil {
		return err
	}
	s.entries = make([]entry, 0, s.folder.Messages)
	for m, err := range s.store.List(ctx, s.folder.ID, mailbox.Range{First: 1, Last: s.folder.UIDNext - 1}) {
		if err != nil {
			return err
		}
		s.entries = append(s.entries, entry{size: m.Size, uid: m.UID, seen: m.Flags&mailbox.Seen != 0})
	}
	return nil
}

// total counts what is not deleted.
func (s *session) total() (n int, size int64) {
	for i := range s.entries {
		if !s.entries[i].deleted {
			n++
			size += s.entries[i].size
		}
	}
	return n, size
}

// appendID writes the unique id of a message (RFC 1939 section 7, UIDL).
func (s *session) appendID(b []byte, e *entry) []byte {
	return fmt.Appendf(b, "%08x%08x", s.folder.UIDValidity, e.uid)
}

// marked gives the UIDs of what was deleted.
func (s *session) marked() (gone []uint32) {
	for i := range s.entries {
		if s.entries[i].deleted {
			gone = append(gone, s.entries[i].uid)
		}
	}
	return gone
}

// leaving notes which messages are about to be removed, so that it can be told
// when they are. Nothing fails for it.
func (c *conn) leaving(ctx context.Context) (tell func()) {
	gone := c.session.marked()
	if c.srv.Events == nil || len(gone) == 0 {
		return func() {}
	}
	origins, err := c.session.store.Origins(ctx, c.session.folder.ID, mailbox.Ranges(gone), false, mailbox.MaxOrigins)
	if err != nil {
		c.srv.Logger.Warn("events will not tell what QUIT removes", "trace", string(c.trace), "err", err)
	}
	return func() {
		e := c.event(event.Remove)
		e.Verb, e.Mailbox = "DELE", "INBOX"
		for _, o := range origins {
			one := e
			if o.Trace != "" {
				one.Session, one.Trace = c.trace, o.Trace
			}
			one.Size = o.Size
			c.srv.Events.Record(one)
		}
		if more := len(gone) - len(origins); more > 0 {
			e.Count = int64(more)
			c.srv.Events.Record(e)
		}
	}
}

// update removes what was deleted, in one transaction: the UPDATE state. On a
// full disk, where there may be no room for a large one, it takes smaller ones:
// to delete is what must be possible there.
func (s *session) update(ctx context.Context) error {
	gone := s.marked()
	for at := len(gone); len(gone) > 0; {
		at = min(at, len(gone))
		_, _, err := s.store.Expunge(ctx, s.folder.ID, mailbox.Ranges(gone[:at]), false)
		switch {
		case err == nil:
			gone = gone[at:]
		case errors.Is(err, db.ErrFull) && at > 1:
			at /= 2
		default:
			return err
		}
	}
	return nil
}

// markSeen marks the retrieved messages. Those that are gone are left out.
func (s *session) markSeen(ctx context.Context) error {
	if len(s.toMark) == 0 {
		return nil
	}
	set := make([]mailbox.Range, len(s.toMark))
	for i, u := range s.toMark {
		set[i] = mailbox.Range{First: u, Last: u}
	}
	s.toMark = s.toMark[:0]
	_, err := s.store.StoreFlags(ctx, s.folder.ID, set, mailbox.FlagChange{Op: mailbox.Add, Flags: mailbox.Seen, Unless: -1})
	if errors.Is(err, mailbox.ErrNoFolder) {
		return nil
	}
	return err
}

// send answers RETR, or TOP with a number of lines that is not negative.
func (c *conn) send(ctx context.Context, i, lines int) error {
	e := &c.session.entries[i]
	text, err := c.handOut(ctx, e, lines)
	if errors.Is(err, mailbox.ErrNoMessage) {
		c.reply("-ERR Message is gone, another client removed it")
		return nil
	}
	if err != nil {
		c.srv.Logger.Error("opening a message", "account", c.session.name, "uid", e.uid, "err", err)
		c.reply("-ERR [SYS/TEMP] Temporary problem, try again later")
		return nil
	}
	defer text.Close()
	if lines < 0 {
		c.reply(fmt.Sprintf("+OK %d octets", text.Size()))
	} else {
		c.reply("+OK")
	}
	if err := writeText(c.out, text, lines); err != nil {
		// Whatever came is not the message: the peer must not take it for one.
		return errors.Join(errEnd, err)
	}
	if lines >= 0 || e.seen {
		return nil
	}
	e.seen = true
	c.session.toMark = append(c.session.toMark, e.uid)
	if len(c.session.toMark) < markEvery {
		return nil
	}
	if err := c.session.markSeen(ctx); err != nil {
		c.srv.Logger.Error("marking messages as seen", "account", c.session.name, "err", err)
	}
	return nil
}

// handOut opens a message for its reader. Every message that leaves goes
// through here.
func (c *conn) handOut(ctx context.Context, e *entry, lines int) (*mailbox.Content, error) {
	m, err := c.session.store.Message(ctx, c.session.folder.ID, e.uid)
	if err != nil {
		return nil, err
	}
	text, err := c.session.store.Open(ctx, c.session.folder.ID, e.uid)
	if err != nil {
		return nil, err
	}
	ev := c.event(event.Retrieve)
	if m.Trace != "" {
		ev.Session, ev.Trace = c.trace, m.Trace // so that it stands beside what else happened to the message
	}
	ev.Size, ev.Verb, ev.Mailbox = text.Size(), "RETR", "INBOX"
	if lines >= 0 {
		ev.Verb = "TOP"
	}
	c.srv.Events.Record(ev)
	return text, nil
}
