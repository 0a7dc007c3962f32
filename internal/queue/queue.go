// Package queue keeps accepted mail until every recipient is settled.
//
// # States
//
// A message has one row, each of its recipients another with a state of its
// own:
//
//	waiting    to be tried at its time
//	held       not tried until it is released; see Holder for by whom
//	delivered  settled: another host, or a mailbox, has taken it
//	failed     settled: given up, and whoever must know has been told
//
// When the last recipient is settled, all rows of the message go and its body
// loses the reference.
//
// # Who owns what
//
// The database is the truth. The one process that delivers keeps in memory
// only which recipients it is working on; it asks Due for more and reports by
// Settle, which changes a recipient only while it is still waiting or held.
// Nothing is written when work on a recipient begins: after a crash the
// recipient is simply still waiting, so a message is never lost, and only one
// whose 250 had not been recorded yet is sent again.
//
// The command line works on the same tables from another process. After each
// change it publishes a notice on the bus (Topic), upon which the delivering
// process forgets what it has not begun and reads again.
package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Topic is the bus topic of changes that operators make to the queue.
const Topic = "queue"

// Origin says how a message came to us; it decides who hears of a failure.
type Origin string

// The origins of messages.
const (
	MX         Origin = "mx"         // from a stranger: never hears from us again
	Submission Origin = "submission" // from a user of ours, who gets reports
	Forward    Origin = "forward"    // sent on for a user, who keeps what fails
	DSN        Origin = "dsn"        // a report of ours; its failure is a double bounce
)

// State of a recipient.
type State string

// The states of a recipient.
const (
	Waiting   State = "waiting"
	Held      State = "held"
	Delivered State = "delivered"
	Failed    State = "failed"
)

// Message is a queued message without its recipients.
type Message struct {
	ID       int64
	Trace    mail.TraceID
	Origin   Origin
	Account  int64        // who submitted it; 0: nobody
	From     mail.Address // null for reports
	Body     int64        // id in the body store
	Ref      blob.Ref     // the body's name in the blob store; not needed by Enqueue
	Prefix   []byte       // header fields in front of the body, each ending in CRLF
	Size     int64        // octets, prefix and body
	BodyType mail.BodyType
	SMTPUTF8 bool
	Ret      string // "FULL", "HDRS" or ""
	EnvID    string
	Created  time.Time
	Expires  time.Time // when waiting recipients are given up
}

// Recipient is one recipient of a queued message.
type Recipient struct {
	mail.Recipient
	ID       int64
	Message  int64
	Route    string // next hop, by which recipients are grouped
	Keeper   int64  // account that keeps the mail if it fails for good; 0: none
	State    State
	Holder   Holder // why it is Held
	Attempts int
	Next     time.Time // when to try
	Warned   bool      // its delay was reported
	Last     Outcome   // of the newest attempt; zero before the first
}

// Outcome is what an attempt came to.
type Outcome struct {
	Time     time.Time
	Host     string // the peer; empty when none was reached
	Code     int    // its SMTP reply, or the one that fits our own finding
	Enhanced string
	Text     string // the peer's words, or ours when there was no peer
}

// Queue gives access to the tables.
type Queue struct {
	DB     *db.DB
	Bodies *body.Store
	Bus    *bus.Bus // may be nil in tests

	once  sync.Once
	added chan struct{}
}

// Added gives a value after new mail is on disk; several additions may share
// one.
func (q *Queue) Added() <-chan struct{} { return q.news() }

func (q *Queue) news() chan struct{} {
	q.once.Do(func() { q.added = make(chan struct{}, 1) })
	return q.added
}

func (q *Queue) wake() {
	select {
	case q.news() <- struct{}{}:
	default:
	}
}

// Enqueue adds a message with its recipients inside the caller's transaction.
// It does not count the reference to the body: add one for each Enqueue.
func (q *Queue) Enqueue(tx *db.Tx, m Message, rcpts []Recipient) (int64, error) {
	id, err := tx.Insert(`INSERT INTO queue_message
		(trace, origin, account, sender, body, prefix, size, bodytype, smtputf8, ret, envid, created, expires)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		string(m.Trace), string(m.Origin), m.Account, m.From.Wire, m.Body, m.Prefix, m.Size, string(m.BodyType),
		flag(m.SMTPUTF8), m.Ret, m.EnvID, m.Created.UnixMilli(), m.Expires.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("queue message: %w", err)
	}
	for _, r := range rcpts {
		if r.State == "" {
			r.State = Waiting
		}
		_, err := tx.Exec(`INSERT INTO queue_recipient (message, address, route, orcpt, notify, keeper, state, next)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			id, r.Wire, r.Route, r.ORcpt, int(r.Notify), r.Keeper, string(r.State), r.Next.UnixMilli())
		if err != nil {
			return 0, fmt.Errorf("queue recipient: %w", err)
		}
	}
	tx.OnCommit(q.wake)
	return id, nil
}

// Open opens the body of m, which may have been moved since m was read.
func (q *Queue) Open(ctx context.Context, m *Message) (blob.Reader, error) {
	r, err := q.Bodies.Blobs.Open(ctx, m.Ref)
	if errors.Is(err, blob.ErrNotFound) {
		return q.Bodies.Open(ctx, m.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("open body of message %d: %w", m.ID, err)
	}
	return r, nil
}

// Result is what became of one recipient in an attempt.
type Result struct {
	Recipient int64
	Message   int64
	State     State     // Waiting: try again at Next
	Next      time.Time // for Waiting
	Outcome   Outcome
}

// Settle records results inside the caller's transaction. Recipients that an
// operator has deleted meanwhile, or that are settled already, stay as they
// are; a held one stays held unless it was delivered or failed. Messages
// without open recipients go. It tells which results counted.
func (q *Queue) Settle(tx *db.Tx, results []Result) (counted []bool, err error) {
	counted = make([]bool, len(results))
	var closing []int64
	for i, r := range results {
		n, err := settleOne(tx, r)
		if err != nil {
			return nil, fmt.Errorf("settle recipient %d: %w", r.Recipient, err)
		}
		counted[i] = n > 0
		if r.State != Waiting && n > 0 && (len(closing) == 0 || closing[len(closing)-1] != r.Message) {
			closing = append(closing, r.Message)
		}
	}
	for _, id := range closing {
		if err := q.finish(tx, id); err != nil {
			return nil, err
		}
	}
	return counted, nil
}

func settleOne(tx *db.Tx, r Result) (int64, error) {
	o := r.Outcome
	if r.State == Waiting {
		return tx.Exec(`UPDATE queue_recipient SET attempts = attempts + 1, next = ?,
			last = ?, host = ?, code = ?, enhanced = ?, reply = ? WHERE id = ? AND state IN ('waiting', 'held')`,
			r.Next.UnixMilli(), o.Time.UnixMilli(), o.Host, o.Code, o.Enhanced, clean(o.Text), r.Recipient)
	}
	return tx.Exec(`UPDATE queue_recipient SET attempts = attempts + 1, state = ?,
		last = ?, host = ?, code = ?, enhanced = ?, reply = ? WHERE id = ? AND state IN ('waiting', 'held')`,
		string(r.State), o.Time.UnixMilli(), o.Host, o.Code, o.Enhanced, clean(o.Text), r.Recipient)
}

// finish removes message id when no recipient is open any more.
func (q *Queue) finish(tx *db.Tx, id int64) error {
	n, err := tx.Exec(`DELETE FROM queue_recipient WHERE message = ? AND NOT EXISTS
		(SELECT 1 FROM queue_recipient WHERE message = ? AND state IN ('waiting', 'held'))`, id, id)
	if err != nil {
		return fmt.Errorf("remove recipients of message %d: %w", id, err)
	}
	if n == 0 {
		return nil
	}
	var body int64
	if err := tx.Row(`DELETE FROM queue_message WHERE id = ? RETURNING body`, id).Scan(&body); err != nil {
		return fmt.Errorf("remove message %d: %w", id, err)
	}
	return q.Bodies.Retain(tx, body, -1)
}

// Postpone moves all waiting recipients of a dead route to a later time. It
// counts no attempt: they were not tried one by one.
func (q *Queue) Postpone(tx *db.Tx, route string, until time.Time, o Outcome) (int64, error) {
	n, err := tx.Exec(`UPDATE queue_recipient SET next = ?, last = ?, host = ?, code = ?, enhanced = ?, reply = ?
		WHERE route = ? AND state = 'waiting' AND next < ?`,
		until.UnixMilli(), o.Time.UnixMilli(), o.Host, o.Code, o.Enhanced, clean(o.Text), route, until.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("postpone %s: %w", route, err)
	}
	return n, nil
}

// Reroute records another next hop for a recipient, after the routes changed.
func (q *Queue) Reroute(tx *db.Tx, recipient int64, route string) error {
	if _, err := tx.Exec(`UPDATE queue_recipient SET route = ? WHERE id = ?`, route, recipient); err != nil {
		return fmt.Errorf("reroute recipient %d: %w", recipient, err)
	}
	return nil
}

// MarkWarned records that the delay of these recipients has been reported.
func (q *Queue) MarkWarned(tx *db.Tx, recipients []Recipient) error {
	for _, r := range recipients {
		if _, err := tx.Exec(`UPDATE queue_recipient SET warned = 1 WHERE id = ?`, r.ID); err != nil {
			return fmt.Errorf("mark recipient %d: %w", r.ID, err)
		}
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
