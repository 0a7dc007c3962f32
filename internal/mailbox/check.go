package mailbox

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Problem is one thing that is not as it must be.
type Problem struct {
	Account int64  // 0: it belongs to none
	Folder  int64  // 0: it belongs to none
	Body    int64  // 0: it belongs to none
	What    string // in words
}

// String gives the problem for people.
func (p Problem) String() string {
	return fmt.Sprintf("account %d folder %d body %d: %s", p.Account, p.Folder, p.Body, p.What)
}

// maxProblems bounds the answer of Check.
const maxProblems = 1000

// invariants are queries that find nothing in good order. Each row is account,
// folder, body, then two numbers for the text.
var invariants = []struct{ what, query string }{
	{"folder counts %d messages, has %d",
		`SELECT b.account, b.id, 0, b.messages, COALESCE(c.n, 0) FROM mailbox b ` + counted + ` WHERE b.messages <> COALESCE(c.n, 0)`},
	{"folder counts %d unseen, has %d",
		`SELECT b.account, b.id, 0, b.unseen, COALESCE(c.unseen, 0) FROM mailbox b ` + counted + ` WHERE b.unseen <> COALESCE(c.unseen, 0)`},
	{"folder counts %d octets, has %d",
		`SELECT b.account, b.id, 0, b.size, COALESCE(c.size, 0) FROM mailbox b ` + counted + ` WHERE b.size <> COALESCE(c.size, 0)`},
	{"next UID is %d, highest is %d",
		`SELECT b.account, b.id, 0, b.uidnext, c.uid FROM mailbox b ` + counted + ` WHERE b.uidnext <= c.uid`},
	{"mod-sequence is %d, a message has %d",
		`SELECT b.account, b.id, 0, b.modseq, c.modseq FROM mailbox b ` + counted + ` WHERE b.modseq < c.modseq`},
	{"next UID is %d, expunged is %d",
		`SELECT b.account, b.id, 0, b.uidnext, e.uid FROM mailbox b JOIN expunged e ON e.mailbox = b.id WHERE e.uid >= b.uidnext`},
	{"mod-sequence is %d, an expunged message has %d",
		`SELECT b.account, b.id, 0, b.modseq, e.modseq FROM mailbox b JOIN expunged e ON e.mailbox = b.id WHERE e.modseq > b.modseq`},
	{"message %d is expunged and there, mod-sequence %d",
		`SELECT b.account, b.id, 0, e.uid, e.modseq FROM mailbox b JOIN expunged e ON e.mailbox = b.id
		JOIN message m ON m.mailbox = e.mailbox AND m.uid = e.uid`},
	{"account counts %d octets, its folders have %d",
		`SELECT a.id, 0, 0, a.used, COALESCE(c.size, 0) FROM account a ` + perAccount + ` WHERE a.used <> COALESCE(c.size, 0)`},
	{"account counts %d messages, its folders have %d",
		`SELECT a.id, 0, 0, a.messages, COALESCE(c.n, 0) FROM account a ` + perAccount + ` WHERE a.messages <> COALESCE(c.n, 0)`},
	{"account has %d folders, %d of them INBOX",
		`SELECT account, 0, 0, count(*), sum(CASE WHEN name = 'INBOX' THEN 1 ELSE 0 END) FROM mailbox
		GROUP BY account HAVING sum(CASE WHEN name = 'INBOX' THEN 1 ELSE 0 END) <> 1`},
	{"UIDVALIDITY %d is newer than the account's newest, %d",
		`SELECT a.id, b.id, 0, b.uidvalidity, a.uidvalid FROM mailbox b JOIN account a ON a.id = b.account WHERE b.uidvalidity > a.uidvalid`},
	{"message %d has a size other than prefix and body by %d",
		`SELECT b.account, b.id, m.body, m.uid, m.size - o.size - length(m.prefix) FROM message m JOIN mailbox b ON b.id = m.mailbox
		JOIN body o ON o.id = m.body WHERE m.size <> o.size + length(m.prefix)`},
	{"no account %d, but a grant of rights %d to it",
		`SELECT b.account, b.id, 0, g.grantee, g.rights FROM mailbox_grant g JOIN mailbox b ON b.id = g.mailbox
		WHERE g.grantee <> 0 AND NOT EXISTS (SELECT 1 FROM account a WHERE a.id = g.grantee)`},
	{"a grant to account %d, the owner or without rights: %d",
		`SELECT b.account, b.id, 0, g.grantee, g.rights FROM mailbox_grant g JOIN mailbox b ON b.id = g.mailbox
		WHERE g.grantee = b.account OR g.rights <= 0`},
	{"annotations of account %d, which is not there, of folder %d",
		`SELECT DISTINCT 0, 0, 0, account, mailbox FROM annotation WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = annotation.account)`},
	{"annotations of account %d of folder %d, which is not there",
		`SELECT DISTINCT account, 0, 0, account, mailbox FROM annotation WHERE mailbox <> 0 AND NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.id = annotation.mailbox)`},
	{"body counts %d references, has %d",
		`SELECT 0, 0, o.id, o.refs, ` + references + ` FROM body o WHERE o.refs <> ` + references},
}

const (
	counted = `LEFT JOIN (SELECT mailbox, count(*) AS n, sum(1 - (flags & 1)) AS unseen, CAST(sum(size) AS BIGINT) AS size,
		max(uid) AS uid, max(modseq) AS modseq FROM message GROUP BY mailbox) c ON c.mailbox = b.id`
	perAccount = `LEFT JOIN (SELECT account, CAST(sum(messages) AS BIGINT) AS n, CAST(sum(size) AS BIGINT) AS size
		FROM mailbox GROUP BY account) c ON c.account = a.id`
	references = `((SELECT count(*) FROM message m WHERE m.body = o.id) + (SELECT count(*) FROM queue_message q WHERE q.body = o.id))`
)

// Check counts everything again and gives what is not right, on one snapshot,
// at most maxProblems. Whether bodies can be read, body.Store.Check tells.
func (s *Store) Check(ctx context.Context) (found []Problem, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		found, err = check(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check mailboxes: %w", err)
	}
	return found, nil
}

func check(tx *db.Tx) (found []Problem, err error) {
	for _, i := range invariants {
		err := tx.Each(i.query+` LIMIT ?`, []any{maxProblems - len(found)}, func(scan func(...any) error) error {
			var p Problem
			var is, want int64
			err := scan(&p.Account, &p.Folder, &p.Body, &is, &want)
			p.What = fmt.Sprintf(i.what, is, want)
			found = append(found, p)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Repair sets all counters to what is there, and takes away grants and
// annotations that belong to nobody. It takes no message away: a message
// without its body, or one that is there and expunged, stays a Problem of the
// next Check, but for the latter's memory, which goes.
func (s *Store) Repair(ctx context.Context) error {
	var accounts []int64
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		accounts = nil
		return tx.Each(`SELECT id FROM account ORDER BY id`, nil, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			accounts = append(accounts, id)
			return err
		})
	})
	for _, a := range accounts {
		if err == nil {
			err = s.DB.Write(ctx, func(tx *db.Tx) error { return s.repair(tx, a) })
		}
	}
	if err == nil {
		err = s.DB.Write(ctx, repairAll)
	}
	if err != nil {
		return fmt.Errorf("repair mailboxes: %w", err)
	}
	return nil
}

func (s *Store) repair(tx *db.Tx, account int64) error {
	if err := s.ensure(tx, account); err != nil {
		return err
	}
	for _, q := range []string{
		`UPDATE account SET uidvalid = (SELECT max(uidvalidity) FROM mailbox WHERE account = account.id)
			WHERE id = ? AND uidvalid < (SELECT max(uidvalidity) FROM mailbox WHERE account = account.id)`,
		`DELETE FROM expunged WHERE mailbox IN (SELECT id FROM mailbox WHERE account = ?)
			AND EXISTS (SELECT 1 FROM message m WHERE m.mailbox = expunged.mailbox AND m.uid = expunged.uid)`,
		`UPDATE message SET size = length(prefix) + (SELECT o.size FROM body o WHERE o.id = message.body)
			WHERE mailbox IN (SELECT id FROM mailbox WHERE account = ?)
			AND size <> length(prefix) + (SELECT o.size FROM body o WHERE o.id = message.body)`,
	} {
		if _, err := tx.Exec(q, account); err != nil {
			return err
		}
	}
	return recount(tx, account)
}

// repairAll repairs what belongs to no one account.
func repairAll(tx *db.Tx) error {
	for _, q := range []string{
		`UPDATE body SET refs = (SELECT count(*) FROM message m WHERE m.body = body.id) +
			(SELECT count(*) FROM queue_message q WHERE q.body = body.id)
			WHERE refs <> (SELECT count(*) FROM message m WHERE m.body = body.id) +
			(SELECT count(*) FROM queue_message q WHERE q.body = body.id)`,
		`DELETE FROM mailbox_grant WHERE rights <= 0 OR grantee = (SELECT b.account FROM mailbox b WHERE b.id = mailbox_grant.mailbox)
			OR grantee <> 0 AND NOT EXISTS (SELECT 1 FROM account a WHERE a.id = mailbox_grant.grantee)`,
		`DELETE FROM annotation WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = annotation.account)
			OR mailbox <> 0 AND NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.id = annotation.mailbox)`,
	} {
		if _, err := tx.Exec(q); err != nil {
			return err
		}
	}
	return nil
}
