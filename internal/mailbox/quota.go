package mailbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Usage is what an account holds and may hold (RFC 9208).
type Usage struct {
	Used     int64 // octets
	Messages int64
	Limit    int64 // octets; 0: none
}

// Usage gives what an account holds and may hold.
func (s *Store) Usage(ctx context.Context, account int64) (u Usage, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		u, err = usage(tx, account)
		return err
	})
	if err != nil {
		return Usage{}, fmt.Errorf("usage of account %d: %w", account, err)
	}
	return u, nil
}

const noLimit = 1<<63 - 1

func usage(tx *db.Tx, account int64) (u Usage, err error) {
	err = tx.Row(tx.Pick(`SELECT used, messages, `+limitSQLite+` FROM account WHERE id = ?`,
		`SELECT used, messages, `+limitPostgres+` FROM account WHERE id = ?`), account).Scan(&u.Used, &u.Messages, &u.Limit)
	if errors.Is(err, sql.ErrNoRows) {
		return u, ErrNoAccount
	}
	if u.Limit == noLimit {
		u.Limit = 0
	}
	return u, err
}

// Recount sets the counters of an account and its folders to what is there,
// and gives the account's.
func (s *Store) Recount(ctx context.Context, account int64) (u Usage, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if err := lockAccount(tx, account); err != nil {
			return err
		}
		if err := recount(tx, account); err != nil {
			return err
		}
		u, err = usage(tx, account)
		return err
	})
	if err != nil {
		return Usage{}, fmt.Errorf("recount account %d: %w", account, err)
	}
	return u, nil
}

// recount raises uidnext and modseq where they must, never lowers them.
func recount(tx *db.Tx, account int64) error {
	_, err := tx.Exec(`UPDATE mailbox SET
		messages = (SELECT count(*) FROM message m WHERE m.mailbox = mailbox.id),
		unseen = (SELECT count(*) FROM message m WHERE m.mailbox = mailbox.id AND m.flags & 1 = 0),
		size = COALESCE((SELECT CAST(sum(m.size) AS BIGINT) FROM message m WHERE m.mailbox = mailbox.id), 0),
		uidnext = COALESCE((SELECT max(t.n) FROM (
			SELECT mailbox.uidnext AS n UNION ALL SELECT max(m.uid) + 1 FROM message m WHERE m.mailbox = mailbox.id
			UNION ALL SELECT max(e.uid) + 1 FROM expunged e WHERE e.mailbox = mailbox.id) t), 1),
		modseq = COALESCE((SELECT max(t.n) FROM (
			SELECT mailbox.modseq AS n UNION ALL SELECT max(m.modseq) FROM message m WHERE m.mailbox = mailbox.id
			UNION ALL SELECT max(e.modseq) FROM expunged e WHERE e.mailbox = mailbox.id) t), 1)
		WHERE account = ?`, account)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE account SET
		used = COALESCE((SELECT CAST(sum(size) AS BIGINT) FROM mailbox WHERE account = account.id), 0),
		messages = COALESCE((SELECT CAST(sum(messages) AS BIGINT) FROM mailbox WHERE account = account.id), 0)
		WHERE id = ?`, account)
	return err
}
