package mailbox

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Appended says what messages became (APPENDUID, RFC 9051 section 7.1).
type Appended struct {
	UIDValidity uint32
	UIDs        []uint32
	ModSeq      int64 // of the folder they were appended to
}

// Append puts a message into folder id of an account inside the caller's
// transaction, as IMAP's APPEND does. Unlike Deliver it does not look for
// another folder: ErrNoFolder.
func (s *Store) Append(tx *db.Tx, account, id int64, m NewMessage) (uid uint32, err error) {
	keywords, err := joinKeywords(m.Keywords)
	if err == nil {
		uid, err = s.insert(tx, account, id, "", m, keywords)
	}
	if err != nil {
		return 0, fmt.Errorf("append to folder %d: %w", id, err)
	}
	return uid, nil
}

// AppendAll puts messages into folder id, in their order: all of them, or none
// and an error (MULTIAPPEND, RFC 3502). The account is that of the folder; a
// full quota is a *mail.Reply 452 4.2.2.
func (s *Store) AppendAll(ctx context.Context, id int64, messages []NewMessage) (a Appended, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		f, err := lockBoth(tx, id)
		if err == nil {
			a, err = s.appendAll(tx, f, messages)
		}
		return err
	})
	if err != nil {
		return Appended{}, fmt.Errorf("append to folder %d: %w", id, err)
	}
	return a, nil
}

// appendAll adds messages to a locked folder.
func (s *Store) appendAll(tx *db.Tx, f Folder, messages []NewMessage) (Appended, error) {
	a := Appended{UIDValidity: f.UIDValidity, ModSeq: f.ModSeq + int64(len(messages))}
	if int64(f.UIDNext)+int64(len(messages)) > lastUIDNext {
		return a, ErrUIDs
	}
	for _, m := range messages {
		if m.Body == 0 {
			id, err := s.Bodies.Add(tx, m.Stored, 1)
			if err != nil {
				return a, err
			}
			m.Body, m.BodySize, m.Counted = id, m.Stored.Size, true
		}
		uid, err := s.Append(tx, f.Account, f.ID, m)
		if err != nil {
			return a, err
		}
		a.UIDs = append(a.UIDs, uid)
	}
	return a, nil
}

// Replace expunges message uid of folder from and puts another one into folder
// to, which may be the same: both or neither (RFC 8508). Of the quota only what
// the new one has more counts. ErrNoMessage when the old one is gone. It also
// gives the mod-sequence of folder from.
func (s *Store) Replace(ctx context.Context, from int64, uid uint32, to int64, m NewMessage) (a Appended, modseq int64, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		src, dst, err := lockPair(tx, from, to)
		if err != nil {
			return err
		}
		var gone []uint32
		gone, modseq, err = s.expunge(tx, src, []Range{{uid, uid}}, 0, true)
		if err != nil {
			return err
		}
		if len(gone) == 0 {
			return ErrNoMessage
		}
		if from == to {
			dst.ModSeq = modseq
		}
		if a, err = s.appendAll(tx, dst, []NewMessage{m}); from == to {
			modseq = a.ModSeq
		}
		return err
	})
	if err != nil {
		return Appended{}, 0, fmt.Errorf("replace message %d of folder %d: %w", uid, from, err)
	}
	return a, modseq, nil
}
