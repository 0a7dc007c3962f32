package mailbox

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// BenchmarkDeliver delivers small messages to 1,000 accounts, each in its own
// Write, as sessions do; the bodies' rows are added, their bytes are not.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprintf("sqlite/%d", n), func(b *testing.B) { benchmarkDeliver(b, dbtest.SQLite(b), n) })
		b.Run(fmt.Sprintf("postgres/%d", n), func(b *testing.B) { benchmarkDeliver(b, dbtest.Postgres(b), n) })
	}
}

func benchmarkDeliver(b *testing.B, d *db.DB, sessions int) {
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
	stored := keep(b, s, testBody(1))
	one := func(i int64) error {
		return d.Write(context.Background(), func(tx *db.Tx) error {
			id, err := s.Bodies.Add(tx, stored, 1)
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

func BenchmarkList(b *testing.B) {
	s := newStore(b, dbtest.SQLite(b))
	a := addAccount(b, s, "a", 0)
	const n = 100_000
	fill(b, s, a, n)
	in := folder(b, s, a, "")
	b.Run("messages", func(b *testing.B) {
		for b.Loop() {
			if got := len(list(b, s, in.ID)); got != n {
				b.Fatal(got)
			}
		}
	})
	b.Run("UIDs", func(b *testing.B) {
		for b.Loop() {
			if uids, err := s.UIDs(b.Context(), in.ID); err != nil || len(uids) != n {
				b.Fatal(err)
			}
		}
	})
	b.Run("expunge and copy 1000", func(b *testing.B) {
		for b.Loop() {
			f := folder(b, s, a, "")
			if _, err := s.Copy(b.Context(), in.ID, in.ID, []Range{{f.UIDNext - 1000, f.UIDNext}}); err != nil {
				b.Fatal(err)
			}
			if _, _, err := s.Expunge(b.Context(), in.ID, []Range{{f.UIDNext - 1000, f.UIDNext - 1}}, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
