package fulltext

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// count counts rows.
func (h *house) count(t testing.TB, query string, args ...any) (n int64) {
	t.Helper()
	err := h.DB.Read(t.Context(), func(tx *db.Tx) error { return tx.Row(query, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (h *house) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	err := h.DB.Write(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(query, args...); return err })
	if err != nil {
		t.Fatal(err)
	}
}

func numbered(from, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprintf("message number%d of many, 番号%dです", from+i, from+i))
	}
	return texts
}

func TestTextsAndHeaders(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.deliverRaw(t, strings.ReplaceAll(`From: =?utf-8?B?5bGx55Sw?= <yamada@example.jp>
Subject: outer
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/html; charset=iso-2022-jp

<p>im<b>port</b>ant<style>hidden</style></p>
--b
Content-Type: application/pdf; name="report 2026.pdf"
Content-Transfer-Encoding: base64

c2VjcmV0
--b
Content-Type: message/rfc822

Subject: inner one

=46orwarded
--b--
`, "\n", "\r\n"))
		for text, want := range map[string]bool{"important": true, "hidden": false, "report 2026.pdf": true, "secret": false, "inner one": true,
			"=46orwarded": true, "outer": false, "yamada": false, "preamble": false} {
			if r, err := h.Find(t.Context(), h.folder, text); err != nil || len(r.Has)+len(r.May) == 1 != want {
				t.Errorf("body %q: %+v, %v", text, r, err)
			}
		}
		for text, want := range map[string]bool{"outer": true, "山田": true, "yamada@example": true, "subject: outer": true, "inner": false, "important": false} {
			if r, err := h.FindHeader(t.Context(), h.folder, text); err != nil || len(r.Has)+len(r.May) == 1 != want {
				t.Errorf("header %q: %+v, %v", text, r, err)
			}
		}
	})
}

// TestLongTexts has messages with more text than is taken in.
func TestLongTexts(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	h.deliver(t, "short", strings.Repeat("word ", MaxText/5+1)+"end", "also short")
	if r := h.agrees(t, "end"); len(r.May) != 1 || len(r.Has) != 0 {
		t.Fatalf("%+v", r)
	}
	h.deliver(t, numbered(0, 10)...)
	h.agrees(t, "number3")
	if err := h.mergeDue(t.Context(), source{h.folder, inBody}, true); err != nil {
		t.Fatal(err)
	}
	if r := h.agrees(t, "end"); len(r.May) != 1 {
		t.Fatalf("after a merge: %+v", r)
	}
}

// TestTend merges, forgets messages that are no more, and deletes all of a
// folder that is gone.
func TestTend(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		for i := range 20 {
			h.deliver(t, numbered(i*10, 10)...)
			h.agrees(t, "number7")
		}
		segments := func() int64 {
			return h.count(t, `SELECT count(*) FROM fulltext_segment WHERE mailbox = ? AND state = 1`, h.folder)
		}
		if n := segments(); n != 20 {
			t.Fatalf("%d segments", n)
		}
		h.tend(t)
		if n := segments(); n >= width {
			t.Fatalf("%d segments after merging", n)
		}
		if n := h.count(t, `SELECT count(*) FROM fulltext_segment WHERE state <> 1`); n != 0 {
			t.Fatalf("%d unused segments are left", n)
		}
		for uid := range uint32(150) {
			h.expunge(t, uid+1)
		}
		h.tend(t)
		if n := h.count(t, `SELECT sum(docs) FROM fulltext_segment WHERE mailbox = ?`, h.folder); n != 50 {
			t.Fatalf("the index knows %d messages of 50", n)
		}
		h.agrees(t, "number7")
		h.agrees(t, "number177")
		if _, err := h.FindHeader(t.Context(), h.folder, "test"); err != nil {
			t.Fatal(err)
		}
		if err := h.DB.Write(t.Context(), func(tx *db.Tx) error { return h.Mailboxes.DeleteAll(tx, h.account) }); err != nil {
			t.Fatal(err)
		}
		h.tend(t)
		for _, table := range []string{"folder", "segment", "block"} {
			if n := h.count(t, `SELECT count(*) FROM fulltext_`+table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
	})
}

// TestDamage spoils an index in many ways: no search gives a wrong answer, and
// the next one has an index again.
func TestDamage(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		var log bytes.Buffer
		h.Logger = slog.New(slog.NewTextHandler(&log, nil))
		h.deliver(t, numbered(0, 300)...)
		for _, spoil := range []string{
			`UPDATE fulltext_block SET data = ? WHERE kind = 0`,
			`UPDATE fulltext_block SET data = ? WHERE kind = 1`,
			`UPDATE fulltext_block SET data = ? WHERE kind = 2`,
			`DELETE FROM fulltext_block WHERE kind = 0 AND ? <> ''`,
			`DELETE FROM fulltext_block WHERE kind = 1 AND ? <> ''`,
			`DELETE FROM fulltext_block WHERE ? <> ''`,
			`UPDATE fulltext_folder SET version = 0 WHERE ? <> ''`,
		} {
			h.agrees(t, "message number7")
			h.exec(t, spoil, []byte("damaged"))
			h.agrees(t, "message number7")
			if r := h.agrees(t, "message number7"); r.Upto != 300 || len(r.Has) != 11 {
				t.Fatalf("after %s: %+v", spoil, r)
			}
			h.exec(t, spoil, []byte("damaged"))
			if err := h.mergeDue(t.Context(), source{h.folder, inBody}, true); err != nil {
				t.Fatalf("merging after %s: %v", spoil, err)
			}
		}
		if n := strings.Count(log.String(), "built anew"); n < 10 {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
	})
}

// TestSpoiltRows has rows that are wrong but for their checksum.
func TestSpoiltRows(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	h.deliver(t, numbered(0, 50)...)
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		h.agrees(t, "message number7")
		k := r.IntN(int(kinds))
		var data []byte
		err := h.DB.Read(t.Context(), func(tx *db.Tx) error {
			return tx.Row(`SELECT b.data FROM fulltext_block b JOIN fulltext_segment s ON s.id = b.segment WHERE s.state = 1 AND kind = ?`, k).Scan(&data)
		})
		if err != nil {
			t.Fatal(err)
		}
		data = data[:len(data)-4]
		data[r.IntN(len(data))] = byte(r.Uint32())
		h.exec(t, `UPDATE fulltext_block SET data = ? WHERE kind = ?`, seal(data), k)
		// What it finds is of no use; that it ends is.
		if _, err := h.Find(t.Context(), h.folder, "message number7"); err != nil {
			t.Fatal(err)
		}
		if err := h.mergeDue(t.Context(), source{h.folder, inBody}, true); err != nil {
			t.Fatal(err)
		}
		h.dropAll(t)
		h.tend(t)
	}
}

// TestManyAtOnce has two processes' indexes take in one folder while mail comes
// and goes, and searches while both merge.
func TestManyAtOnce(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.tokens = 200
		other := &Index{DB: d, Mailboxes: h.Mailboxes, tokens: 300}
		h.deliver(t, numbered(0, 100)...)
		stop := make(chan struct{})
		var beside sync.WaitGroup
		for i, x := range []*Index{h.Index, other, h.Index, other} {
			beside.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					r, err := x.Find(context.Background(), h.folder, "number77")
					if err != nil || r.Upto >= 100 && len(r.Has) == 0 {
						t.Errorf("%+v, %v", r, err)
					}
					if (n+i)%3 == 0 {
						if err := x.Tend(context.Background()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for i := range 10 {
			h.deliver(t, numbered(100+i*10, 10)...)
			h.expunge(t, uint32(i*3+1))
		}
		close(stop)
		beside.Wait()
		h.agrees(t, "number17")
		h.agrees(t, "番号")
		if n := h.count(t, `SELECT sum(docs) FROM fulltext_segment WHERE mailbox = ? AND state = 1`, h.folder); n < 190 || n > 200 {
			t.Errorf("%d messages in the index", n)
		}
	})
}

// TestCancelled ends a search while it takes in. What was done stays.
func TestCancelled(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	h.tokens = 100
	h.deliver(t, numbered(0, 500)...)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for n := 0; n < 3; {
			h.DB.Read(context.Background(), func(tx *db.Tx) error { return tx.Row(`SELECT count(*) FROM fulltext_segment`).Scan(&n) })
		}
		cancel()
	}()
	if _, err := h.Find(ctx, h.folder, "number3"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	at, err := h.mark(t.Context(), source{h.folder, inBody})
	if err != nil || at == 0 || at == 500 {
		t.Fatalf("mark %d, %v", at, err)
	}
	h.agrees(t, "number3")
}

// TestUnreadable has a message whose body is gone.
func TestUnreadable(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	h.deliver(t, numbered(0, 10)...)
	h.exec(t, `UPDATE body SET ref = ref || '9' WHERE id IN (SELECT body FROM message WHERE uid = 4)`)
	var log bytes.Buffer
	h.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r, err := h.Find(t.Context(), h.folder, "number7")
	if err != nil {
		t.Fatal(err)
	}
	if r.Upto != 10 || len(r.Has) != 1 || len(r.May) != 1 {
		t.Fatalf("%+v\n%s", r, log.String())
	}
}
