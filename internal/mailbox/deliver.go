package mailbox

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// NewMessage is what a mailbox takes in.
type NewMessage struct {
	Body     int64  // id in the body store; for AppendAll and Replace may be 0: Stored
	BodySize int64  // octets
	Counted  bool   // the caller has counted this reference to Body already, as body.Store.Add does
	Prefix   []byte // header fields in front of the body, each ending in CRLF
	Received time.Time
	Trace    mail.TraceID
	Flags    Flags
	Keywords []string
	Stored   blob.Stored // a body without an id yet, when Body is 0; it gets one
}

// overQuota is what a sender hears when an account is full (RFC 3463 X.2.2).
var overQuota = mail.Reply{Code: 452, Enhanced: "4.2.2", Text: "Mailbox full, try again later"}

// Quarantine is the folder of mail that is kept apart. It is made when the first
// message comes into it; moving one to the INBOX releases it.
const Quarantine = "Quarantine"

// ErrNoAccount means that there is no account of this number.
var ErrNoAccount = errors.New("no such account")

// Deliver puts a message into the folder of an account, the INBOX when folder
// is empty or does not exist, inside the caller's transaction. A folder such
// as `\Junk` is the one with that special use, whatever its name. It adds the
// reference to the body unless m.Counted. A full quota is a *mail.Reply
// 452 4.2.2; nothing was changed then, and the transaction may go on.
func (s *Store) Deliver(tx *db.Tx, account int64, folder string, m NewMessage) (uid uint32, err error) {
	keywords, err := joinKeywords(m.Keywords)
	if err != nil {
		return 0, fmt.Errorf("deliver to account %d: %w", account, err)
	}
	key := folderKey{account, deliveryName(folder)}
	id := s.folders.get(key)
	for try := 0; ; try++ {
		if id == 0 {
			if id, key.name, err = s.find(tx, account, key.name); err != nil {
				return 0, fmt.Errorf("deliver to account %d: %w", account, err)
			}
			// Only what is on disk may be remembered.
			tx.OnCommit(func() { s.folders.put(key, id) })
		}
		uid, err = s.insert(tx, account, id, key.name, m, keywords)
		if !errors.Is(err, ErrNoFolder) || try > 0 {
			break
		}
		s.folders.drop(key)
		id = 0
	}
	if err != nil {
		return 0, fmt.Errorf("deliver to account %d: %w", account, err)
	}
	return uid, nil
}

func deliveryName(folder string) string {
	if strings.HasPrefix(folder, `\`) {
		return folder
	}
	name, err := NormalName(folder)
	if err != nil {
		return inbox // no such folder can exist
	}
	return name
}

// find gives the folder of this name or special use, or else the INBOX, and
// what it was found by. One that has no UIDs left is as good as none.
func (s *Store) find(tx *db.Tx, account int64, name string) (id int64, found string, err error) {
	if err := s.ensure(tx, account); err != nil {
		return 0, "", err
	}
	if role, ok := strings.CutPrefix(name, `\`); ok {
		err = tx.Row(`SELECT id FROM mailbox WHERE account = ? AND role = ? AND role <> '' AND uidnext < 4294967295`, account, role).Scan(&id)
	} else {
		err = tx.Row(`SELECT id FROM mailbox WHERE account = ? AND name = ? AND uidnext < 4294967295`, account, name).Scan(&id)
	}
	if errors.Is(err, sql.ErrNoRows) && name == Quarantine {
		f, err := s.create(tx, account, Quarantine, "")
		if err == nil {
			err = subscribe(tx, account, Quarantine)
		}
		return f.ID, name, err
	}
	if errors.Is(err, sql.ErrNoRows) {
		name = inbox
		err = tx.Row(`SELECT id FROM mailbox WHERE account = ? AND name = ?`, account, inbox).Scan(&id)
	}
	return id, name, err
}

// unlimited stands for the quota of an account that has none.
const unlimited = "9223372036854775807"

// The quota that applies to a row of account: its own, or else its domain's.
// A negative one is none.
const (
	limitSQLite = `CASE WHEN quota > 0 THEN quota WHEN quota < 0 THEN ` + unlimited + ` ELSE COALESCE(NULLIF(
		(SELECT json_extract(d.settings, '$.default_quota') FROM domain d WHERE d.id = account.domain), 0), ` + unlimited + `) END`
	limitPostgres = `CASE WHEN quota > 0 THEN quota WHEN quota < 0 THEN ` + unlimited + ` ELSE COALESCE(NULLIF(
		(SELECT (d.settings::json->>'default_quota')::bigint FROM domain d WHERE d.id = account.domain), 0), ` + unlimited + `) END`
)

// lastUIDNext is the UIDNEXT of a folder that takes no more messages. A number
// that is larger cannot be told.
const lastUIDNext = 1<<32 - 1

// The statements of one delivery. SQLite takes three short ones; PostgreSQL
// takes one, as each is a round trip. A name restricts the folder to one of this
// name or, with a backslash in front, special use; "" does not.
const (
	chargeSQLite = `UPDATE account SET used = used + ?, messages = messages + ?
		WHERE id = ? AND used + ? <= ` + limitSQLite
	chargePostgres = `UPDATE account SET used = used + ?, messages = messages + ?
		WHERE id = ? AND used + ? <= ` + limitPostgres
	nextUID = `UPDATE mailbox SET uidnext = uidnext + 1, modseq = modseq + 1, messages = messages + 1,
		unseen = unseen + ?, size = size + ? WHERE id = ? AND account = ? AND (name = ? OR '\' || role = ? OR ? = '')
		AND uidnext < 4294967295 RETURNING uidnext - 1, modseq`
	addMessage = `INSERT INTO message (mailbox, uid, body, size, received, saved, flags, keywords, modseq, emailid, trace, prefix)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	deliverPostgres = `WITH a AS (
			UPDATE account SET used = used + ?, messages = messages + 1 WHERE id = ? AND used + ? <= ` + limitPostgres + ` RETURNING id
		), m AS (
			UPDATE mailbox SET uidnext = uidnext + 1, modseq = modseq + 1, messages = messages + 1,
			unseen = unseen + ?, size = size + ? FROM a WHERE mailbox.id = ? AND account = a.id AND (name = ? OR '\' || role = ? OR ? = '')
			AND uidnext < 4294967295 RETURNING mailbox.id, uidnext - 1 AS uid, modseq
		), i AS (
			INSERT INTO message (mailbox, uid, body, size, received, saved, flags, keywords, modseq, emailid, trace, prefix)
			SELECT id, uid, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::integer, ?::text, modseq, id * 4294967296 + uid, ?::text, ?::bytea FROM m
		) SELECT a.id, COALESCE(m.uid, 0), COALESCE(m.modseq, 0) FROM a LEFT JOIN m ON true`
)

// insert adds the message to folder id. When it gives a *mail.Reply or
// ErrNoFolder it has changed nothing.
func (s *Store) insert(tx *db.Tx, account, id int64, name string, m NewMessage, keywords string) (uint32, error) {
	n := newRow{m: m, keywords: keywords, size: int64(len(m.Prefix)) + m.BodySize, saved: time.Now()}
	if n.m.Prefix == nil {
		n.m.Prefix = []byte{}
	}
	if n.m.Received.IsZero() {
		n.m.Received = n.saved
	}
	n.m.Flags &= allFlags
	var uid, modseq int64
	var err error
	if s.DB.Dialect() == db.Postgres {
		uid, modseq, err = n.insertPostgres(tx, account, id, name)
	} else {
		uid, modseq, err = n.insertSQLite(tx, account, id, name)
	}
	if err != nil {
		return 0, err
	}
	if !m.Counted {
		if err := s.Bodies.Retain(tx, m.Body, 1); err != nil {
			return 0, err
		}
	}
	s.changed(tx, Change{Account: account, Folder: id, ModSeq: modseq})
	return uint32(uid), nil
}

type newRow struct {
	m        NewMessage
	keywords string
	size     int64
	saved    time.Time
}

func (n *newRow) unseen() int64 {
	if n.m.Flags&Seen != 0 {
		return 0
	}
	return 1
}

func (n *newRow) insertSQLite(tx *db.Tx, account, id int64, name string) (uid, modseq int64, err error) {
	if err := charge(tx, account, n.size, 1); err != nil {
		return 0, 0, err
	}
	err = tx.Row(nextUID, n.unseen(), n.size, id, account, name, name, name).Scan(&uid, &modseq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, n.uncharge(tx, account)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("take a UID: %w", err)
	}
	_, err = tx.Exec(addMessage, id, uid, n.m.Body, n.size, n.m.Received.UnixMilli(), n.saved.UnixMilli(),
		int64(n.m.Flags), n.keywords, modseq, emailID(id, uid), string(n.m.Trace), n.m.Prefix)
	if err != nil {
		return 0, 0, fmt.Errorf("add message: %w", err)
	}
	return uid, modseq, nil
}

func (n *newRow) insertPostgres(tx *db.Tx, account, id int64, name string) (uid, modseq int64, err error) {
	var charged int64
	err = tx.Row(deliverPostgres, n.size, account, n.size, n.unseen(), n.size, id, name, name, name,
		n.m.Body, n.size, n.m.Received.UnixMilli(), n.saved.UnixMilli(), int64(n.m.Flags), n.keywords,
		string(n.m.Trace), n.m.Prefix).Scan(&charged, &uid, &modseq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, refused(tx, account, n.size)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("add message: %w", err)
	}
	if uid == 0 {
		return 0, 0, n.uncharge(tx, account)
	}
	return uid, modseq, nil
}

// uncharge takes back what was charged for a message that found no folder.
func (n *newRow) uncharge(tx *db.Tx, account int64) error {
	if err := discharge(tx, account, n.size, 1); err != nil {
		return err
	}
	return ErrNoFolder
}

// emailID names a message by the place where it first was. Neither folder ids
// nor UIDs come twice.
func emailID(folder, uid int64) int64 { return folder<<32 | uid }

// charge adds to what an account holds, within its quota.
func charge(tx *db.Tx, account, size, messages int64) error {
	n, err := tx.Exec(tx.Pick(chargeSQLite, chargePostgres), size, messages, account, size)
	if err != nil {
		return fmt.Errorf("count quota: %w", err)
	}
	if n == 0 {
		return refused(tx, account, size)
	}
	return nil
}

// discharge takes from what an account holds.
func discharge(tx *db.Tx, account, size, messages int64) error {
	_, err := tx.Exec(`UPDATE account SET used = used - ?, messages = messages - ? WHERE id = ?`, size, messages, account)
	if err != nil {
		return fmt.Errorf("count quota: %w", err)
	}
	return nil
}

// refused says why an account could not be charged.
func refused(tx *db.Tx, account, size int64) error {
	u, err := usage(tx, account)
	if err != nil {
		return err
	}
	return overQuota.Because(fmt.Errorf("account %d holds %d of %d octets, message has %d", account, u.Used, u.Limit, size))
}
