package mailbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// listChunk is how many messages a list holds in memory.
const listChunk = 500

// columns takes the columns of messages row by row. All numbers are int64:
// database/sql goes through their digits for any other. Texts, which are mostly
// empty, come as NULL then, which costs the least.
type columns struct {
	names                                                    string
	uid, size, flags, received, saved, modseq, emailID, body int64
	keywords, trace                                          sql.RawBytes
	into                                                     []any
}

// newColumns takes what need does not leave out of a Message.
func newColumns(need Need) *columns {
	c := &columns{names: `uid`}
	c.into = []any{&c.uid}
	if need&SkipRest == 0 || need&(NeedOutline|NeedText) != 0 {
		c.add(`, message.size, message.body`, &c.size, &c.body)
	}
	if need&SkipFlags == 0 {
		c.add(`, flags, NULLIF(keywords, '')`, &c.flags, &c.keywords)
	}
	if need&SkipRest == 0 {
		c.add(`, received, saved, modseq, emailid, NULLIF(trace, '')`, &c.received, &c.saved, &c.modseq, &c.emailID, &c.trace)
	}
	return c
}

// add takes more columns.
func (c *columns) add(names string, into ...any) {
	c.names += names
	c.into = append(c.into, into...)
}

func (c *columns) message(scan func(...any) error) (Message, error) {
	err := scan(c.into...)
	return Message{UID: uint32(c.uid), Size: c.size, Flags: Flags(c.flags), Keywords: splitKeywords(string(c.keywords)),
		Received: time.UnixMilli(c.received), Saved: time.UnixMilli(c.saved), ModSeq: c.modseq, EmailID: c.emailID,
		Body: c.body, Trace: mail.TraceID(c.trace)}, err
}

// List gives the messages of folder id with UIDs of r, in their order. It reads
// piece by piece and holds no transaction while the caller works: a message
// that is expunged meanwhile may be missing or still be given.
func (s *Store) List(ctx context.Context, id int64, r Range) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for it, err := range s.Items(ctx, id, []Range{r}, 0) {
			if !yield(it.Message, err) {
				return
			}
		}
	}
}

// ChangedIn gives, in order, the UIDs in set of the messages of folder id whose
// mod-sequence is larger than since: what FETCH with CHANGEDSINCE (RFC 7162)
// then asks Items for.
func (s *Store) ChangedIn(ctx context.Context, id int64, set []Range, since int64) (uids []uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		uids, err = readUIDs(tx, `message WHERE mailbox = ? AND modseq > ?`, id, since)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list changes of folder %d: %w", id, err)
	}
	set = disjoint(set)
	return slices.DeleteFunc(uids, func(u uint32) bool {
		for len(set) > 0 && set[0].Last < u {
			set = set[1:]
		}
		return len(set) == 0 || u < set[0].First
	}), nil
}

// UIDs gives the UIDs of folder id in their order: what a session needs to
// number messages, four octets each.
func (s *Store) UIDs(ctx context.Context, id int64) (uids []uint32, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		uids, err = readUIDs(tx, `message WHERE mailbox = ?`, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list UIDs of folder %d: %w", id, err)
	}
	return uids, nil
}

// Expunged gives the UIDs expunged from folder id after the mod-sequence
// since. When the memory does not reach back so far complete is false: then
// every UID below UIDNext that is not in the folder may have gone since.
func (s *Store) Expunged(ctx context.Context, id, since int64) (uids []uint32, complete bool, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		var forgotten int64
		if err := tx.Row(`SELECT forgotten FROM mailbox WHERE id = ?`, id).Scan(&forgotten); err != nil {
			return err
		}
		complete = since >= forgotten
		uids, err = readUIDs(tx, `expunged WHERE mailbox = ? AND modseq > ?`, id, since)
		return err
	})
	if err != nil {
		return nil, false, folderError(err, fmt.Sprint(id))
	}
	return uids, complete, nil
}

// MaxKeywordsInUse is how many keywords of a folder Keywords tells.
const MaxKeywordsInUse = 1000

// Keywords gives the keywords in use in folder id, sorted, at most
// MaxKeywordsInUse.
func (s *Store) Keywords(ctx context.Context, id int64) ([]string, error) {
	var words map[string]bool
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		words = map[string]bool{}
		err := tx.Each(`SELECT DISTINCT keywords FROM message WHERE mailbox = ? AND keywords <> ''`, []any{id},
			func(scan func(...any) error) error {
				var k string
				err := scan(&k)
				for _, w := range splitKeywords(k) {
					words[w] = true
				}
				if len(words) >= MaxKeywordsInUse {
					return errEnough
				}
				return err
			})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keywords of folder %d: %w", id, err)
	}
	return slices.SortedStableFunc(maps.Keys(words), foldCompare), nil
}

// Message gives one message, or ErrNoMessage.
func (s *Store) Message(ctx context.Context, id int64, uid uint32) (Message, error) {
	for m, err := range s.List(ctx, id, Range{uid, uid}) {
		return m, err
	}
	return Message{}, ErrNoMessage
}

// Content reads a message: prefix, then body. It must be closed.
type Content struct {
	*io.SectionReader
	body blob.Reader
}

// Close ends reading.
func (c *Content) Close() error { return c.body.Close() }

// Open opens a message for reading, or gives ErrNoMessage. Its size is that of
// the list.
func (s *Store) Open(ctx context.Context, id int64, uid uint32) (*Content, error) {
	if err := s.vet(ctx, id, uid); err != nil {
		return nil, err
	}
	it := Item{Message: Message{UID: uid}, folder: id}
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT prefix, message.body, ref FROM message JOIN body ON body.id = message.body WHERE mailbox = ? AND uid = ?`,
			id, int64(uid)).Scan(&it.Prefix, &it.Body, &it.ref)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNoMessage
	}
	if err != nil {
		return nil, fmt.Errorf("open message %d of folder %d: %w", uid, id, err)
	}
	b, err := s.openBody(ctx, &it)
	if errors.Is(err, ErrNoMessage) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open message %d of folder %d: %w", uid, id, err)
	}
	return newContent(it.Prefix, b), nil
}

func (s *Store) vet(ctx context.Context, folder int64, uid uint32) error {
	if s.Vet == nil {
		return nil
	}
	return s.Vet(ctx, folder, uid)
}

func newContent(prefix []byte, b blob.Reader) *Content {
	both := &joined{prefix: prefix, body: b}
	return &Content{SectionReader: io.NewSectionReader(both, 0, int64(len(prefix))+b.Size()), body: b}
}

// joined is prefix and body in one.
type joined struct {
	prefix []byte
	body   blob.Reader
}

// ReadAt fulfils io.ReaderAt.
func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(j.prefix)) {
		n = copy(p, j.prefix[off:])
		if n == len(p) {
			return n, nil
		}
	}
	m, err := j.body.ReadAt(p[n:], off+int64(n)-int64(len(j.prefix)))
	return n + m, err
}
