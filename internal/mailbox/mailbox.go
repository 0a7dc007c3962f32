// Package mailbox keeps messages for their readers: folders, messages, flags,
// UIDs, quotas, and notices of what changed. It is all that IMAP and POP3
// servers need below their protocols.
//
// # Folders
//
// An account has an INBOX and, from its first use on, Archive, Drafts, Junk,
// Sent and Trash with their special use (RFC 6154). Names are UTF-8 in NFC,
// levels separated by "/" (NormalName); a level above may be missing. Deleting
// a folder leaves those below it, renaming takes them along.
// A UIDVALIDITY is the second of the folder's creation, or one more than the
// account's newest when that is not smaller: no name of an account ever has
// the same one twice, not even when the clock goes back. Folder ids are never
// used again.
//
// # Messages
//
// A message is a prefix, header fields of this recipient's own, and a body of
// the body store, which many messages may share. It is named by folder id and
// UID. Every change of a folder takes a new mod-sequence (RFC 7162); what one
// call changes shares one, but each new message has its own. The ids and
// mod-sequences of expunged messages are remembered, the newest expungedKept a
// folder; Folder.Forgotten is where that memory begins.
//
// # Sharing
//
// The owner of a folder has all rights in it and can grant others some (RFC
// 4314). A new folder begins with the grants of the nearest one above it; they
// stay with it under another name. Copies into another account's folder are
// charged to that account. Annotations (RFC 5464) are private to an account or
// shared with the folder; they go with the folder, and stay with it under
// another name.
//
// # Outlines
//
// What a body's header and structure say (package outline) is kept in a table
// of its own beside the bodies: a column would make every change of a body's
// reference count write it again. It is made when it is first needed. Making
// it at delivery took delivery from some 3,000 messages/s to some 1,000 on a
// busy two-core machine (BenchmarkDeliverOutline), also for messages that only
// POP3 will ever ask for. On first need a message of 4 KiB costs 0.1 ms of
// processor time, once (BenchmarkItems).
//
// # Locks
//
// A call that changes what an account holds takes the account's row first,
// then folders in the order of their ids, then the rest. SQLite has one
// writer and needs none of it; on PostgreSQL other processes write, too.
//
// # Counters
//
// account.used and account.messages, and messages, unseen and size of a
// folder, are kept in the transactions that change them. Check counts again.
package mailbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// What the methods of Store may answer beside database errors.
var (
	ErrName      = errors.New("invalid folder name")
	ErrNoFolder  = errors.New("no such folder")
	ErrExists    = errors.New("folder exists")
	ErrInbox     = errors.New("not possible with INBOX")
	ErrNoMessage = errors.New("no such message")
	ErrKeyword   = errors.New("invalid or too many keywords")
	ErrTooMany   = errors.New("too many folders")
	ErrUIDs      = errors.New("no UIDs left in the folder")
)

// Store is all mailboxes of the installation. Its methods may be called from
// many goroutines.
type Store struct {
	DB     *db.DB
	Bodies *body.Store
	Bus    *bus.Bus // nil: no notices
	// Vet looks at a message before Open and OpenItem give its text, and may
	// keep it back by an error; nil: all are given.
	Vet func(ctx context.Context, folder int64, uid uint32) error

	folders  idCache
	watchers watchers
}

// Flags are the system flags of a message (RFC 9051 section 2.3.2) as bits of
// column message.flags.
type Flags uint32

// The system flags.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft

	allFlags = Seen | Answered | Flagged | Deleted | Draft
)

// Message is what is known of a message without reading it.
type Message struct {
	UID      uint32
	Size     int64 // octets, prefix and body
	Flags    Flags
	Keywords []string // sorted, without case-folded repetition
	Received time.Time
	Saved    time.Time // SAVEDATE (RFC 8514)
	ModSeq   int64
	EmailID  int64 // OBJECTID (RFC 8474): the same for copies of one message, never used again
	Body     int64 // id in the body store
	Trace    mail.TraceID
}

// idCache remembers folder ids by account and name for Deliver. An entry may
// be wrong: its user checks it in the statement that uses it.
type idCache struct {
	mu  sync.Mutex
	ids map[folderKey]int64
}

type folderKey struct {
	account int64
	name    string
}

const maxCachedIDs = 1 << 18

func (c *idCache) get(k folderKey) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[k]
}

func (c *idCache) put(k folderKey, id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil || len(c.ids) >= maxCachedIDs {
		c.ids = map[folderKey]int64{}
	}
	c.ids[k] = id
}

func (c *idCache) drop(k folderKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ids, k)
}
