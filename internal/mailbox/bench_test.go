package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// BenchmarkDeliver delivers small messages to 1,000 accounts, each in its own
// Write, as sessions do; the bodies' rows are added, their bytes are not.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprintf("sqlite/%d", n), func(b *testing.B) { benchmarkDeliver(b, dbtest.SQLite(b), n, false) })
		b.Run(fmt.Sprintf("postgres/%d", n), func(b *testing.B) { benchmarkDeliver(b, dbtest.Postgres(b), n, false) })
	}
}

// BenchmarkDeliverOutline is BenchmarkDeliver with an outline made and written
// at delivery, which Store does only on first need.
func BenchmarkDeliverOutline(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkDeliver(b, dbtest.SQLite(b), 20, true) })
	b.Run("postgres", func(b *testing.B) { benchmarkDeliver(b, dbtest.Postgres(b), 20, true) })
}

func benchmarkDeliver(b *testing.B, d *db.DB, sessions int, outlined bool) {
	s := &Store{DB: d, Bodies: newStore(b, d).Bodies}
	const accounts = 1000
	var first int64
	err := d.Write(context.Background(), func(tx *db.Tx) error {
		dom, err := tx.Insert(`INSERT INTO domain (name, created) VALUES ('bench.test', 1) RETURNING id`)
		for i := 0; i < accounts && err == nil; i++ {
			first, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed) VALUES (?, ?, '', 1, 1) RETURNING id`, dom, fmt.Sprint(i))
		}
		first -= accounts - 1
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	text := benchBody(1)
	stored := keep(b, s, text)
	one := func(i int64) error {
		var data []byte
		if outlined {
			o, err := outline.Read(strings.NewReader(text))
			if err != nil {
				return err
			}
			data = o.Append(nil)
		}
		return d.Write(context.Background(), func(tx *db.Tx) error {
			id, err := s.Bodies.Add(tx, stored, 1)
			if err == nil && outlined {
				err = writeOutlines(tx, []int64{id}, [][]byte{data})
			}
			if err == nil {
				_, err = s.Deliver(tx, first+i%accounts, "", NewMessage{Body: id, BodySize: stored.Size, Counted: true,
					Prefix: []byte(testPrefix), Received: time.Now(), Trace: "0123456789abcdef"})
			}
			return err
		})
	}
	for i := range int64(accounts) { // makes the folders
		if err := one(i); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range sessions {
		wg.Go(func() {
			for i := w; i < b.N; i += sessions {
				if err := one(int64(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// benchBody is a plain message of some 4 KiB with the fields that mail has.
func benchBody(n int) string {
	return fmt.Sprintf("Received: from a.example.test by b.example.test with ESMTPS id %d; Mon, 02 Feb 2026 10:00:00 +0900\r\n"+
		"Date: Mon, 02 Feb 2026 10:00:00 +0900\r\nFrom: Somebody <somebody@example.test>\r\nTo: Other <other@example.test>\r\n"+
		"Subject: Message number %d of the bench\r\nMessage-ID: <%d@example.test>\r\nIn-Reply-To: <%d@example.test>\r\n"+
		"References: <a@example.test> <%d@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s",
		n, n, n, n-1, n-1, strings.Repeat("A line of text that says nothing at all, but is long enough.\r\n", 56))
}

func BenchmarkItems(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkItems(b, dbtest.SQLite(b), 100_000) })
	b.Run("postgres", func(b *testing.B) { benchmarkItems(b, dbtest.Postgres(b), 100_000) })
}

func benchmarkItems(b *testing.B, d *db.DB, n int) {
	s := newStore(b, d)
	a := addAccount(b, s, "a", 0)
	fillDistinct(b, s, a, n, benchBody)
	in := folder(b, s, a, "")
	for _, c := range []struct {
		name string
		set  []Range
		need Need
	}{
		{"first need of 10000", []Range{{1, 10_000}}, NeedOutline},
		{"all", All, 0},
		{"all with outline", All, NeedOutline},
		{"all with text", All, NeedText},
		{"all with both", All, NeedOutline | NeedText},
	} {
		items(b, s, in.ID, c.set, c.need)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c.name[0] == 'f' {
					b.StopTimer()
					exec(b, s, `DELETE FROM outline`)
					b.StartTimer()
				}
				for _, err := range s.Items(b.Context(), in.ID, c.set, c.need) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkFolder does to a folder of 100,000 messages, all seen and a few
// with a keyword, what a session does when it selects one and works in it.
func BenchmarkFolder(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkFolder(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { benchmarkFolder(b, dbtest.Postgres(b)) })
}

func benchmarkFolder(b *testing.B, d *db.DB) {
	const n = 100_000
	s := newStore(b, d)
	a := addAccount(b, s, "a", 0)
	fillDistinct(b, s, a, n, testBody)
	id := folder(b, s, a, "").ID
	store := func(first, last uint32, c FlagChange) error {
		c.Unless = -1
		_, err := s.StoreFlags(b.Context(), id, []Range{{first, last}}, c)
		return err
	}
	if err := errors.Join(store(1, n, FlagChange{Op: Add, Flags: Seen}), store(1, n/100, FlagChange{Op: Add, Keywords: []string{"$Label1"}})); err != nil {
		b.Fatal(err)
	}
	since := folder(b, s, a, "").ModSeq
	if err := store(n/2, n/2+9, FlagChange{Op: Add, Flags: Flagged}); err != nil {
		b.Fatal(err)
	}
	turn := 0
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"contents", func() error { _, _, err := s.Contents(b.Context(), id); return err }},
		{"first unseen", func() error { _, err := s.FirstUnseen(b.Context(), id); return err }},
		{"keywords", func() error { _, err := s.Keywords(b.Context(), id); return err }},
		{"deleted", func() error { _, _, err := s.DeletedCount(b.Context(), id); return err }},
		{"10 changed", func() error { _, err := s.ChangedIn(b.Context(), id, All, since); return err }},
		{"list", func() error {
			for _, err := range s.List(b.Context(), id, All[0]) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"store 10000", func() error {
			turn++
			return store(1, 10_000, FlagChange{Op: Op(1 + turn%2), Flags: Answered})
		}},
		{"copy and expunge 10000", func() error {
			f := folder(b, s, a, "")
			_, err := s.Copy(b.Context(), id, id, []Range{{1, 10_000}}, Shed{})
			if err == nil {
				_, _, err = s.Expunge(b.Context(), id, []Range{{f.UIDNext, f.UIDNext + 9999}}, false)
			}
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
