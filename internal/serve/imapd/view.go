package imapd

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// view is the selected mailbox as the client knows it. Sequence numbers are
// places in uids. A slice that was handed out is never changed: additions go
// behind its end, removals make a new one.
type view struct {
	folder   mailbox.Folder // as it was at SELECT; ModSeq as far as the client was told
	rights   mailbox.Rights
	readOnly bool
	cancel   func() // ends the watch of the store

	mu     sync.Mutex
	uids   []uint32
	gone   []uint32            // expunged, and the client not yet told
	silent map[uint32]int64    // mod-sequences of changes that the client made itself and knows of
	saved  []uint32            // UIDs of the last SEARCH with SAVE (RFC 5182)
	handed map[uint32]struct{} // UIDs whose text the client has had
}

// snapshot gives the UIDs by sequence number as the client knows them.
func (v *view) snapshot() []uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.uids
}

// hush notes that the client knows of a change it made itself.
func (v *view) hush(messages []mailbox.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.silent == nil {
		v.silent = map[uint32]int64{}
	}
	for _, m := range messages {
		v.silent[m.UID] = m.ModSeq
	}
}

// resolve gives the UIDs that a set of the client names, in order; those that
// are gone are among them. Sequence numbers that do not exist are BAD.
func (v *view) resolve(s wire.Set, byUID bool) ([]uint32, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Saved {
		return v.saved, nil
	}
	if byUID {
		return v.resolveUIDs(s), nil
	}
	n := uint32(len(v.uids))
	if m := s.Max(); m != wire.Star && m > n || m == wire.Star && n == 0 {
		return nil, bad("No such message")
	}
	var out []uint32
	for _, r := range s.Normal(n) {
		out = append(out, v.uids[r.First-1:r.Last]...)
	}
	return out, nil
}

func (v *view) resolveUIDs(s wire.Set) (out []uint32) {
	if len(v.uids) == 0 {
		return nil
	}
	for _, r := range s.Normal(v.uids[len(v.uids)-1]) {
		from, _ := slices.BinarySearch(v.uids, r.First)
		to, found := slices.BinarySearch(v.uids, r.Last)
		if found {
			to++
		}
		out = append(out, v.uids[from:max(from, to)]...)
	}
	return out
}

// seq gives the sequence number of a UID in a snapshot, 0 when it is not there.
func seq(uids []uint32, uid uint32) uint32 {
	i, found := slices.BinarySearch(uids, uid)
	if !found {
		return 0
	}
	return uint32(i + 1)
}

// tell tells the client what is new: flags, new messages and, where expunge is
// true, which are gone.
func (v *view) tell(ctx context.Context, c *conn, expunge bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, err := c.srv.Mailboxes.Status(ctx, v.folder.ID)
	if errors.Is(err, mailbox.ErrNoFolder) {
		return nil
	}
	if err != nil {
		return err
	}
	if now.ModSeq > v.folder.ModSeq {
		if err := v.look(ctx, c, now); err != nil {
			return err
		}
	}
	if expunge && len(v.gone) > 0 {
		v.tellGone(c)
	}
	return nil
}

// look reads what changed since the client was told, and tells all but what is
// gone.
func (v *view) look(ctx context.Context, c *conn, now mailbox.Folder) error {
	gone, complete, err := c.srv.Mailboxes.Expunged(ctx, v.folder.ID, v.folder.ModSeq)
	if err != nil {
		return err
	}
	if !complete {
		there, err := c.srv.Mailboxes.UIDs(ctx, v.folder.ID)
		if err != nil {
			return err
		}
		gone = missing(v.uids, there)
	}
	old := len(v.uids)
	var changed []mailbox.Message
	for m, err := range c.srv.Mailboxes.ChangedSince(ctx, v.folder.ID, v.folder.ModSeq) {
		if err != nil {
			return err
		}
		if old == 0 || m.UID > v.uids[old-1] {
			v.uids = append(v.uids, m.UID)
		} else if v.silent[m.UID] != m.ModSeq {
			changed = append(changed, m)
		}
		v.folder.ModSeq = max(v.folder.ModSeq, m.ModSeq)
	}
	slices.Sort(v.uids[old:])
	v.folder.ModSeq = max(v.folder.ModSeq, now.ModSeq)
	v.silent = nil
	v.gone = append(v.gone, gone...)
	if len(v.uids) > old {
		c.respond(func(e *wire.Encoder) error { e.Rawf("* %d EXISTS", len(v.uids)); return nil })
	}
	for _, m := range changed {
		v.tellFlags(c, m)
	}
	return nil
}

// tellFlags tells the flags of a message that another session changed.
func (v *view) tellFlags(c *conn, m mailbox.Message) {
	n := seq(v.uids, m.UID)
	if n == 0 {
		return
	}
	c.respond(func(e *wire.Encoder) error {
		e.Rawf("* %d FETCH (UID %d FLAGS ", n, m.UID)
		e.List(flagWords(m))
		if c.enabled.condstore {
			e.Rawf(" MODSEQ (%d)", m.ModSeq)
		}
		e.Raw(")")
		return nil
	})
}

// tellGone tells which messages are gone, the last first, so that the numbers
// of those before stay.
func (v *view) tellGone(c *conn) {
	slices.Sort(v.gone)
	rest := make([]uint32, 0, len(v.uids))
	var told []uint32
	for i, u := range v.uids {
		if _, found := slices.BinarySearch(v.gone, u); found {
			told = append(told, uint32(i+1))
		} else {
			rest = append(rest, u)
		}
	}
	v.uids, v.gone = rest, nil
	for _, n := range slices.Backward(told) {
		c.respond(func(e *wire.Encoder) error { e.Rawf("* %d EXPUNGE", n); return nil })
	}
}

// missing gives what is in a, but not in b, both ascending.
func missing(a, b []uint32) (out []uint32) {
	for _, u := range a {
		if _, found := slices.BinarySearch(b, u); !found {
			out = append(out, u)
		}
	}
	return out
}

// flagWords gives flags and keywords of a message as FETCH tells them.
func flagWords(m mailbox.Message) []string {
	words := make([]string, 0, 4+len(m.Keywords))
	for _, f := range systemFlags {
		if m.Flags&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	return append(words, m.Keywords...)
}

// systemFlags by their names.
var systemFlags = []struct {
	name string
	bit  mailbox.Flags
}{
	{`\Answered`, mailbox.Answered}, {`\Flagged`, mailbox.Flagged}, {`\Deleted`, mailbox.Deleted},
	{`\Seen`, mailbox.Seen}, {`\Draft`, mailbox.Draft},
}
