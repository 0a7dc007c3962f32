package imapd

import (
	"slices"
	"sync"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// view is the selected mailbox as the client knows it. Sequence numbers are
// places in uids. A slice that was handed out is never changed, and may be
// shared with other sessions.
//
// tell (tell.go) alone moves it forward: telling is held while it writes to the
// client, mu only while it changes what others read.
type view struct {
	folder   mailbox.Folder // ModSeq and UIDNext as far as the client was told
	rights   mailbox.Rights
	readOnly bool
	uidOnly  bool   // UIDONLY (RFC 9586): there are no numbers
	cancel   func() // ends the watch of the store
	place    *shelved

	telling  sync.Mutex
	now      []uint32 // UIDs in the store at folder.ModSeq; others of uids are gone, and the client not yet told
	whole    int64    // the mod-sequence up to which all was told, what is gone included
	keywords int      // of the edition's that were told
	live     []*live  // searches whose results are kept up to date (context.go)
	owed     bool     // what is new is told next time whatever NOTIFY asked for
	made     []uint32 // new messages that this session made and was not told of

	mu     sync.Mutex
	uids   []uint32
	recent []mailbox.Range     // UIDs that have \Recent in this session
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

// hushed tells whether the client knows of a change.
func (v *view) hushed(m mailbox.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.silent[m.UID] == m.ModSeq
}

// resolve gives the UIDs that a set of the client names, in order; those that
// are gone are among them. Sequence numbers that do not exist are BAD. The
// result must not be changed.
func (v *view) resolve(s wire.Set, byUID bool) ([]uint32, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case s.Saved:
		return v.saved, nil
	case byUID:
		return v.resolveUIDs(s), nil
	case v.uidOnly:
		return nil, errUIDRequired
	}
	n := uint32(len(v.uids))
	ranges := s.Normal(n)
	if last := ranges[len(ranges)-1].Last; last > n || ranges[0].First == 0 {
		return nil, bad("No such message")
	}
	if len(ranges) == 1 {
		return v.uids[ranges[0].First-1 : ranges[0].Last : ranges[0].Last], nil
	}
	var out []uint32
	for _, r := range ranges {
		out = append(out, v.uids[r.First-1:r.Last]...)
	}
	return out, nil
}

func (v *view) resolveUIDs(s wire.Set) []uint32 {
	if len(v.uids) == 0 {
		return nil
	}
	ranges := s.Normal(v.uids[len(v.uids)-1])
	if len(ranges) == 1 {
		return within(v.uids, ranges[0])
	}
	var out []uint32
	for _, r := range ranges {
		out = append(out, within(v.uids, r)...)
	}
	return out
}

// within gives the part of uids that lies in a range.
func within(uids []uint32, r wire.Range) []uint32 {
	from, _ := slices.BinarySearch(uids, r.First)
	to, found := slices.BinarySearch(uids, r.Last)
	if found {
		to++
	}
	to = max(from, to)
	return uids[from:to:to]
}

// seq gives the sequence number of a UID in a snapshot, 0 when it is not there.
func seq(uids []uint32, uid uint32) uint32 {
	i, found := slices.BinarySearch(uids, uid)
	if !found {
		return 0
	}
	return uint32(i + 1)
}

// isRecent tells whether a message has \Recent in this session.
func (v *view) isRecent(uid uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.recent, func(r mailbox.Range) bool { return r.First <= uid && uid <= r.Last })
}

// countRecent gives the number of messages with \Recent.
func (v *view) countRecent() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.recent {
		n += len(within(v.uids, wire.Range(r)))
	}
	return n
}

// addRecent gives the UIDs of a range \Recent.
func (v *view) addRecent(r mailbox.Range) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.recent); n > 0 && v.recent[n-1].Last+1 == r.First {
		v.recent[n-1].Last = r.Last
		return
	}
	if r.First <= r.Last {
		v.recent = append(v.recent, r)
	}
}

// flagWords gives flags and keywords of a message as FETCH tells them, with
// \Recent where there is such a thing.
func (c *conn) flagWords(m mailbox.Message) []string {
	words := make([]string, 0, 6+len(m.Keywords))
	for _, f := range systemFlags {
		if m.Flags&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	if !c.enabled.rev2 && c.sel.isRecent(m.UID) {
		words = append(words, `\Recent`)
		slices.Sort(words)
	}
	return append(words, m.Keywords...)
}

// systemFlags by their names, in alphabetical order.
var systemFlags = []struct {
	name  string
	bit   mailbox.Flags
	right mailbox.Rights // to change it
}{
	{`\Answered`, mailbox.Answered, mailbox.WriteFlags},
	{`\Deleted`, mailbox.Deleted, mailbox.DeleteMark},
	{`\Draft`, mailbox.Draft, mailbox.WriteFlags},
	{`\Flagged`, mailbox.Flagged, mailbox.WriteFlags},
	{`\Seen`, mailbox.Seen, mailbox.KeepSeen},
}
