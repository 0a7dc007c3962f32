package imapd

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// newest asks for a folder as the store has it now.
const newest = math.MaxInt64

// Bounds of the shelf.
const (
	shelvedUIDs     = 4 << 20 // UIDs kept of folders that nobody has selected
	shelvedFolders  = 4096    // such folders
	shelvedChanges  = 1000    // messages kept of the last step of a folder
	shelvedKeywords = 1000    // keywords of a folder that are listed
)

// edition is a folder as it was at one mod-sequence. Its slices are shared by
// all who look at it and never changed.
type edition struct {
	folder   mailbox.Folder
	uids     []uint32
	keywords []string // all that were seen in it
}

// Shelf is what sessions share: one edition of each selected folder, so that the
// others find what the first one reads, which messages are \Recent, and who is
// logged in (guests.go). Its zero value is empty. All servers of a process
// should have the same.
type Shelf struct {
	mu      sync.Mutex
	folders map[int64]*shelved
	unused  int // UIDs of folders without readers
	recent  map[int64]uint32
	begun   time.Time
	guests  map[int64]map[*conn]bool // who is logged in, by account; true: from another machine
}

// shelved is a folder on the shelf.
type shelved struct {
	shelf   *Shelf
	id      int64
	readers int // under Shelf.mu
	kept    int // what it adds to Shelf.unused

	mu      sync.Mutex // held while the store is read: whoever waits finds what was read
	edition            // folder.ID is 0 before the first look
	from    int64      // the mod-sequence of the edition before
	changed []mailbox.Message
	seen    int64  // the mod-sequence at which unseen was right
	unseen  uint32 // the first UID without \Seen, 0 when there is none
}

// take gives the place of a folder, for a reader who will leave it.
func (s *Shelf) take(id int64) *shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folders == nil {
		s.folders = map[int64]*shelved{}
	}
	f := s.folders[id]
	if f == nil {
		f = &shelved{shelf: s, id: id}
		s.folders[id] = f
	}
	f.readers++
	s.unused -= f.kept
	f.kept = 0
	return f
}

// leave ends a take. What nobody reads stays as long as there is room: most
// folders are selected again soon.
func (f *shelved) leave() {
	f.mu.Lock()
	size, known := len(f.uids), f.folder.ID != 0
	f.mu.Unlock()
	s := f.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.readers--; f.readers > 0 {
		return
	}
	if !known {
		delete(s.folders, f.id)
		return
	}
	f.kept = size + 1
	s.unused += f.kept
	for id, other := range s.folders {
		if s.unused <= shelvedUIDs && len(s.folders) <= shelvedFolders {
			return
		}
		if other.readers == 0 {
			delete(s.folders, id)
			s.unused -= other.kept
		}
	}
}

// changes are the messages that changed up to an edition. Sessions hold them
// while they write to their clients, so many are not kept but read again.
type changes struct {
	few  []mailbox.Message
	many []uint32 // UIDs, in order, instead
}

func (ch changes) none() bool { return len(ch.few)+len(ch.many) == 0 }

// uids gives the UIDs, in order.
func (ch changes) uids() []uint32 {
	if ch.many != nil {
		return ch.many
	}
	uids := make([]uint32, len(ch.few))
	for i, m := range ch.few {
		uids[i] = m.UID
	}
	return uids
}

// each calls yield for the messages that are still there, in order. What has
// changed again since the edition is left for the next one.
func (ch changes) each(ctx context.Context, store *mailbox.Store, e edition, yield func(mailbox.Message)) error {
	for _, m := range ch.few {
		yield(m)
	}
	for it, err := range store.Items(ctx, e.folder.ID, mailbox.Ranges(ch.many), 0) {
		if err != nil {
			return err
		}
		if it.ModSeq <= e.folder.ModSeq {
			yield(it.Message)
		}
	}
	return nil
}

// look gives an edition whose mod-sequence is at least that, or the newest, and
// what changed in it after since.
func (f *shelved) look(ctx context.Context, store *mailbox.Store, since, atLeast int64) (edition, changes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folder.ID == 0 || f.folder.ModSeq < atLeast {
		if err := f.advance(ctx, store); err != nil {
			if errors.Is(err, mailbox.ErrNoFolder) {
				f.edition = edition{}
			}
			return edition{}, changes{}, err
		}
	}
	switch {
	case since >= f.folder.ModSeq:
		return f.edition, changes{}, nil
	case since == f.from && f.changed != nil:
		return f.edition, changes{few: f.changed}, nil
	}
	uids, err := store.ChangedIn(ctx, f.id, mailbox.All, since)
	if err != nil {
		return edition{}, changes{}, err
	}
	return f.edition, changes{many: uids}, nil
}

// firstUnseen gives the first UID of an edition without \Seen, 0 when there is
// none. The store looks through the whole folder for it, so it is kept.
func (f *shelved) firstUnseen(ctx context.Context, store *mailbox.Store, e edition) (uint32, error) {
	switch {
	case e.folder.Unseen == 0 || len(e.uids) == 0:
		return 0, nil
	case e.folder.Unseen == e.folder.Messages:
		return e.uids[0], nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen != e.folder.ModSeq {
		uid, err := store.FirstUnseen(ctx, e.folder.ID)
		if err != nil {
			return 0, err
		}
		f.seen, f.unseen = e.folder.ModSeq, uid
	}
	return f.unseen, nil
}

// advance reads what is new. It needs f.mu.
func (f *shelved) advance(ctx context.Context, store *mailbox.Store) error {
	if f.folder.ID == 0 {
		return f.read(ctx, store)
	}
	n, err := store.News(ctx, f.id, f.folder.ModSeq)
	if err != nil {
		return err
	}
	if !n.Complete {
		return f.read(ctx, store)
	}
	last := f.folder
	f.folder = n.Folder
	if n.Folder.ModSeq == last.ModSeq {
		return nil
	}
	f.uids = follow(f.uids, n, last.UIDNext)
	f.keywords = learn(f.keywords, n.Changed)
	f.from, f.changed = last.ModSeq, nil
	if len(n.Changed) <= shelvedChanges {
		f.changed = n.Changed
		if f.changed == nil {
			f.changed = []mailbox.Message{}
		}
	}
	return nil
}

// read reads the whole folder.
func (f *shelved) read(ctx context.Context, store *mailbox.Store) error {
	folder, uids, err := store.Contents(ctx, f.id)
	if err != nil {
		return err
	}
	keywords, err := store.Keywords(ctx, f.id)
	if err != nil {
		return err
	}
	f.edition = edition{folder: folder, uids: uids, keywords: keywords[:min(len(keywords), shelvedKeywords)]}
	f.changed = nil
	return nil
}

// follow gives the UIDs after what n tells; those from next on are new.
func follow(uids []uint32, n mailbox.News, next uint32) []uint32 {
	out := uids
	if len(n.Expunged) > 0 {
		out = missing(uids, n.Expunged)
	}
	first, _ := slices.BinarySearchFunc(n.Changed, next, func(m mailbox.Message, u uint32) int { return int(int64(m.UID) - int64(u)) })
	if first == len(n.Changed) {
		return out
	}
	// Room to grow, so that a folder that mail comes into is not copied for each:
	// older editions end before it.
	if len(n.Expunged) == 0 && cap(out)-len(out) < len(n.Changed)-first {
		out = append(make([]uint32, 0, len(out)+len(out)/16+16), out...)
	}
	for _, m := range n.Changed[first:] {
		out = append(out, m.UID)
	}
	return out
}

// learn gives keywords with those of messages.
func learn(keywords []string, messages []mailbox.Message) []string {
	var last []string
	for _, m := range messages {
		if slices.Equal(m.Keywords, last) {
			continue
		}
		last = m.Keywords
		for _, k := range m.Keywords {
			has := slices.ContainsFunc(keywords, func(w string) bool { return strings.EqualFold(w, k) })
			if !has && len(keywords) < shelvedKeywords {
				keywords = append(keywords[:len(keywords):len(keywords)], k)
			}
		}
	}
	return keywords
}

// missing gives what is in a, but not in b, both ascending.
func missing(a, b []uint32) []uint32 {
	out := make([]uint32, 0, max(0, len(a)-len(b))+16)
	for _, u := range a {
		for len(b) > 0 && b[0] < u {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != u {
			out = append(out, u)
		}
	}
	return out
}
