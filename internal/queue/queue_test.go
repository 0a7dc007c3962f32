package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

var (
	ctx = context.Background()
	now = time.UnixMilli(1_800_000_000_000)
)

func newQueue(t *testing.T, d *db.DB) *Queue {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	return &Queue{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}}
}

// store stores a body of ten octets.
func store(t *testing.T, q *Queue) blob.Stored {
	t.Helper()
	w, err := q.Bodies.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("0123456789"))
	b, err := w.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// add queues a message of sender for recipients "route/address".
func add(t *testing.T, q *Queue, sender string, next time.Time, to ...string) int64 {
	t.Helper()
	var id int64
	stored := store(t, q)
	err := q.DB.Write(ctx, func(tx *db.Tx) error {
		b, err := q.Bodies.Add(tx, stored, 1)
		if err != nil {
			return err
		}
		m := Message{Trace: "trace", Origin: Submission, Account: 2, Body: b, Prefix: []byte("P\r\n"), Size: 13,
			BodyType: mail.Body8Bit, SMTPUTF8: true, Ret: "FULL", EnvID: "e", Created: now, Expires: now.Add(time.Hour)}
		if sender != "" {
			m.From = mail.MakeAddress(sender, "here.test")
		}
		var rs []Recipient
		for _, s := range to {
			route, addr, _ := strings.Cut(s, "/")
			a, err := mail.ParseAddress(addr)
			if err != nil {
				return err
			}
			rs = append(rs, Recipient{Recipient: mail.Recipient{Address: a, Notify: mail.NotifyDelay, ORcpt: "rfc822;o"}, Route: route, Keeper: 7, Next: next})
		}
		id, err = q.Enqueue(tx, m, rs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func due(t *testing.T, q *Queue, at time.Time, limit int, exclude ...string) string {
	t.Helper()
	items, err := q.Due(ctx, at, limit, exclude)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		out = append(out, it.Local)
	}
	return strings.Join(out, " ")
}

func settle(t *testing.T, q *Queue, rs ...Result) string {
	t.Helper()
	var counted []bool
	err := q.DB.Write(ctx, func(tx *db.Tx) (err error) {
		counted, err = q.Settle(tx, rs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(counted)
}

func bodies(t *testing.T, q *Queue) (refs int) {
	t.Helper()
	if err := q.DB.Read(ctx, func(tx *db.Tx) error { return tx.Row(`SELECT COALESCE(sum(refs), 0) FROM body`).Scan(&refs) }); err != nil {
		t.Fatal(err)
	}
	return refs
}

func TestRoundTrip(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		id := add(t, q, "alice", now, "there.test/b@there.test", "there.test/c@there.test")
		items, err := q.Due(ctx, now, 10, nil)
		if err != nil || len(items) != 2 || items[0].Message != items[1].Message {
			t.Fatalf("%+v, %v", items, err)
		}
		m, r := *items[0].Message, items[0].Recipient
		want := Message{ID: id, Trace: "trace", Origin: Submission, Account: 2, From: mail.MakeAddress("alice", "here.test"), Body: m.Body, Ref: m.Ref,
			Prefix: []byte("P\r\n"), Size: 13, BodyType: mail.Body8Bit, SMTPUTF8: true, Ret: "FULL", EnvID: "e", Created: now, Expires: now.Add(time.Hour)}
		if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", want) {
			t.Errorf("message\n%+v, want\n%+v", m, want)
		}
		wantR := Recipient{Recipient: mail.Recipient{Address: mail.MakeAddress("b", "there.test"), Notify: mail.NotifyDelay, ORcpt: "rfc822;o"},
			ID: r.ID, Message: id, Route: "there.test", Keeper: 7, State: Waiting, Next: now}
		if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", wantR) {
			t.Errorf("recipient\n%+v, want\n%+v", r, wantR)
		}
		select {
		case <-q.Added():
		default:
			t.Error("the runner is not woken")
		}
	})
}

func TestDue(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		add(t, q, "x", now.Add(time.Minute), "a.test/later@a.test")
		add(t, q, "x", now.Add(-time.Minute), "b.test/old@b.test")
		add(t, q, "x", now, "a.test/a@a.test", "c\"'.test/c@c.test")
		for _, c := range []struct {
			at      time.Time
			limit   int
			exclude []string
			want    string
		}{
			{now.Add(-time.Hour), 10, nil, ""},
			{now, 10, nil, "old a c"},
			{now, 2, nil, "old a"},
			{now, 10, []string{"a.test"}, "old c"},
			{now, 10, []string{"a.test", "c\"'.test", "b.test"}, ""},
			{now.Add(time.Hour), 10, []string{"b.test", "nothing"}, "a c later"},
		} {
			if got := due(t, q, c.at, c.limit, c.exclude...); got != c.want {
				t.Errorf("%v: %q, want %q", c, got, c.want)
			}
		}
		if next, err := q.NextDue(ctx, now); err != nil || !next.Equal(now.Add(time.Minute)) {
			t.Errorf("next %v, %v", next, err)
		}
		if next, err := q.NextDue(ctx, now.Add(time.Hour)); err != nil || !next.IsZero() {
			t.Errorf("next %v, %v", next, err)
		}
	})
}

func TestSettle(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		id := add(t, q, "x", now, "r/a@a.test", "r/b@a.test", "r/c@a.test")
		items, err := q.List(ctx, Selection{Message: id}, 0, 10)
		if err != nil || len(items) != 3 {
			t.Fatal(items, err)
		}
		res := func(i int, s State, text string) Result {
			return Result{Recipient: items[i].ID, Message: id, State: s, Next: now.Add(time.Hour),
				Outcome: Outcome{Time: now, Host: "h", Code: 450, Enhanced: "4.2.0", Text: text}}
		}
		if got := settle(t, q, res(0, Delivered, "ok"), res(1, Waiting, "bad \xff\x00 "+strings.Repeat("語", 2000))); got != "[true true]" {
			t.Error(got)
		}
		if got := settle(t, q, res(0, Failed, "twice")); got != "[false]" {
			t.Error("a recipient was settled twice")
		}
		if got := due(t, q, now, 10); got != "c" {
			t.Errorf("due %q", got)
		}
		list, _ := q.List(ctx, Selection{State: Waiting, Address: "b@a.test"}, 0, 10)
		if l := list[0].Last; len(list) != 1 || list[0].Attempts != 1 || l.Code != 450 || !strings.HasPrefix(l.Text, "bad ?? 語") || len(l.Text) > 2010 {
			t.Errorf("%+v", list)
		}
		if n, _ := q.Hold(ctx, Selection{Address: "b@a.test"}); n != 1 {
			t.Error("not held")
		}
		settle(t, q, res(2, Failed, "no"))
		if bodies(t, q) != 1 {
			t.Error("the body was let go while a recipient is held")
		}
		if got := settle(t, q, res(1, Waiting, "again")); got != "[true]" {
			t.Error(got)
		}
		if c, err := q.Count(ctx); c[Held] != 1 || c[Delivered] != 1 || c[Failed] != 1 || err != nil {
			t.Errorf("%v, %v", c, err)
		}
		if all, _ := q.List(ctx, Selection{}, 0, 10); len(all) != 3 {
			t.Errorf("%d recipients of the message", len(all))
		}
		if open, err := q.List(ctx, Selection{Open: true}, 0, 10); len(open) != 1 || err != nil {
			t.Errorf("open are %v, %v", open, err)
		}
		settle(t, q, res(1, Delivered, "ok"))
		if list, _ := q.List(ctx, Selection{}, 0, 10); len(list) != 0 || bodies(t, q) != 0 {
			t.Errorf("left: %v, %d references", list, bodies(t, q))
		}
	})
}

func TestOperators(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		one := add(t, q, "alice", now.Add(time.Hour), "r1/a@a.test", "r2/b@b.test")
		add(t, q, "", now.Add(time.Hour), "r1/c@sub.a.test", "r1/d@A_.test")
		for _, c := range []struct {
			s    Selection
			want int
		}{
			{Selection{}, 4}, {Selection{Message: one}, 2}, {Selection{Domain: "A.test"}, 1}, {Selection{Domain: "a_.test"}, 1}, {Selection{Domain: "%"}, 0},
			{Selection{Route: "r1"}, 3}, {Selection{Sender: "alice@here.test"}, 2}, {Selection{Address: "b@b.test", Route: "r1"}, 0}, {Selection{State: Held}, 0},
		} {
			if l, err := q.List(ctx, c.s, 0, 10); len(l) != c.want || err != nil {
				t.Errorf("%+v: %d, %v", c.s, len(l), err)
			}
		}
		if l, _ := q.List(ctx, Selection{}, one, 10); len(l) != 2 {
			t.Errorf("second page: %d", len(l))
		}
		if n, err := q.Retry(ctx, Selection{Route: "r2"}); n != 1 || err != nil || due(t, q, time.Now(), 10) != "b" {
			t.Errorf("retry: %d, %v", n, err)
		}
		if gone, err := q.Delete(ctx, Selection{Message: one}); len(gone) != 2 || err != nil || bodies(t, q) != 1 {
			t.Errorf("delete: %v, %v", gone, err)
		}
		err := q.DB.Write(ctx, func(tx *db.Tx) error {
			n, err := q.Postpone(tx, "r1", now.Add(2*time.Hour), Outcome{Time: now, Code: 421, Text: "dead"})
			if n != 2 {
				return errors.Join(err, fmt.Errorf("%d postponed", n))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if e, err := q.Expired(ctx, now.Add(time.Hour), 10); len(e) != 2 || err != nil || e[0].Last.Text != "dead" || e[0].Attempts != 0 {
			t.Errorf("expired: %v, %v", e, err)
		}
		late, err := q.Delayed(ctx, now, 10)
		if len(late) != 2 || err != nil {
			t.Fatalf("delayed: %v, %v", late, err)
		}
		if err := q.DB.Write(ctx, func(tx *db.Tx) error { return q.MarkWarned(tx, []Recipient{late[0].Recipient, late[1].Recipient}) }); err != nil {
			t.Fatal(err)
		}
		if late, _ := q.Delayed(ctx, now, 10); len(late) != 0 {
			t.Errorf("warned twice: %v", late)
		}
	})
}
