package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Item is a recipient with its message. Items of one message share it.
type Item struct {
	Message *Message
	Recipient
}

const itemColumns = `SELECT r.id, r.message, r.address, r.route, r.orcpt, r.notify, r.keeper, r.state, r.holder, r.attempts,
	r.next, r.warned, r.last, r.host, r.code, r.enhanced, r.reply,
	m.trace, m.origin, m.account, m.sender, m.body, b.ref, m.prefix, m.size, m.bodytype, m.smtputf8, m.ret, m.envid,
	m.created, m.expires
	FROM queue_recipient r JOIN queue_message m ON m.id = r.message JOIN body b ON b.id = m.body `

// Due gives at most limit waiting recipients whose time has come, longest due
// first, leaving out routes in exclude.
func (q *Queue) Due(ctx context.Context, now time.Time, limit int, exclude []string) ([]Item, error) {
	if len(exclude) == 0 {
		return q.items(ctx, itemColumns+`WHERE r.state = 'waiting' AND r.next <= ? ORDER BY r.next, r.route LIMIT ?`,
			"", now.UnixMilli(), limit)
	}
	names, err := json.Marshal(exclude)
	if err != nil {
		return nil, fmt.Errorf("read due recipients: %w", err)
	}
	return q.items(ctx,
		itemColumns+`WHERE r.state = 'waiting' AND r.next <= ?
			AND r.route NOT IN (SELECT value FROM json_each(?)) ORDER BY r.next, r.route LIMIT ?`,
		itemColumns+`WHERE r.state = 'waiting' AND r.next <= ?
			AND r.route NOT IN (SELECT json_array_elements_text(CAST(? AS json))) ORDER BY r.next, r.route LIMIT ?`,
		now.UnixMilli(), string(names), limit)
}

// NextDue tells when the first waiting recipient behind now is due; zero when
// there is none.
func (q *Queue) NextDue(ctx context.Context, now time.Time) (time.Time, error) {
	var ms *int64
	err := q.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT min(next) FROM queue_recipient WHERE state = 'waiting' AND next > ?`, now.UnixMilli()).Scan(&ms)
	})
	if err != nil || ms == nil {
		return time.Time{}, err
	}
	return time.UnixMilli(*ms), nil
}

// Expired gives at most limit waiting recipients of messages whose lifetime is
// over.
func (q *Queue) Expired(ctx context.Context, now time.Time, limit int) ([]Item, error) {
	return q.items(ctx, itemColumns+`WHERE m.expires <= ? AND r.state = 'waiting' ORDER BY m.expires, m.id LIMIT ?`,
		"", now.UnixMilli(), limit)
}

// Delayed gives at most limit waiting recipients of users' messages older than
// before, whose delay nobody has been told of.
func (q *Queue) Delayed(ctx context.Context, before time.Time, limit int) ([]Item, error) {
	return q.items(ctx, itemColumns+`WHERE m.account <> 0 AND m.origin = 'submission' AND m.created <= ?
		AND r.state = 'waiting' AND r.warned = 0 ORDER BY m.id LIMIT ?`, "", before.UnixMilli(), limit)
}

// Count gives the number of recipients in each state.
func (q *Queue) Count(ctx context.Context) (map[State]int64, error) {
	n := map[State]int64{}
	err := q.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Each(`SELECT state, count(*) FROM queue_recipient GROUP BY state`, nil, func(scan func(...any) error) error {
			var s string
			var c int64
			if err := scan(&s, &c); err != nil {
				return err
			}
			n[State(s)] = c
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("count queue: %w", err)
	}
	return n, nil
}

// items reads recipients by query, or by the PostgreSQL form where it differs.
func (q *Queue) items(ctx context.Context, query, postgres string, args ...any) ([]Item, error) {
	var out []Item
	messages := map[int64]*Message{}
	err := q.DB.Read(ctx, func(tx *db.Tx) error {
		if postgres != "" {
			query = tx.Pick(query, postgres)
		}
		return tx.Each(query, args, func(scan func(...any) error) error {
			it, err := scanItem(scan)
			if err != nil {
				return err
			}
			if m := messages[it.Message.ID]; m != nil {
				it.Message = m
			}
			messages[it.Message.ID] = it.Message
			out = append(out, it)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	return out, nil
}

func scanItem(scan func(...any) error) (Item, error) {
	it := Item{Message: &Message{}}
	r, m := &it.Recipient, it.Message
	var address, state, trace, origin, sender, ref, bodytype string
	var notify, warned, utf8 int
	var next, last, created, expires int64
	err := scan(&r.ID, &m.ID, &address, &r.Route, &r.ORcpt, &notify, &r.Keeper, &state, &r.Holder, &r.Attempts,
		&next, &warned, &last, &r.Last.Host, &r.Last.Code, &r.Last.Enhanced, &r.Last.Text,
		&trace, &origin, &m.Account, &sender, &m.Body, &ref, &m.Prefix, &m.Size, &bodytype, &utf8, &m.Ret, &m.EnvID,
		&created, &expires)
	if err != nil {
		return Item{}, err
	}
	r.Address, r.Notify, r.State, r.Warned = stored(address), mail.Notify(notify), State(state), warned != 0
	r.Message, r.Next = m.ID, time.UnixMilli(next)
	if last != 0 {
		r.Last.Time = time.UnixMilli(last)
	}
	m.Trace, m.Origin, m.From, m.Ref = mail.TraceID(trace), Origin(origin), stored(sender), blob.Ref(ref)
	m.BodyType, m.SMTPUTF8 = mail.BodyType(bodytype), utf8 != 0
	m.Created, m.Expires = time.UnixMilli(created), time.UnixMilli(expires)
	return it, nil
}

// stored reads an address of our own tables. One that does not parse any more,
// after a stricter release, keeps its wire form, so that it can fail in peace.
func stored(wire string) mail.Address {
	if wire == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(wire)
	if err != nil {
		return mail.Address{Local: wire, Wire: wire}
	}
	return a
}

// clean makes a peer's words fit for both databases: valid UTF-8 without NUL,
// of bounded length.
func clean(s string) string {
	const most = 2000
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}
