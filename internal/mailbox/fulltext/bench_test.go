package fulltext

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

var benchMessages = flag.Int("messages", 5_000, "messages of the folder that benchmarks search")

// BenchmarkFind takes in a folder and searches it, and says how large the
// index is; "scan" reads every message.
func BenchmarkFind(b *testing.B) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *db.DB
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		for _, japanese := range []bool{false, true} {
			c := newCorpus(japanese)
			language, queries := "english", []struct{ name, text string }{
				{"rare", "id0000017x"}, {"frequent", c.vocabulary[3]}, {"inner", c.vocabulary[40_000][1:]}, {"letter", "e"},
				{"phrase", c.vocabulary[2] + " " + c.vocabulary[10]}, {"punctuated", c.vocabulary[2] + ", " + c.vocabulary[10]}, {"absent", "zzzyx"},
			}
			if japanese {
				language, queries = "japanese", []struct{ name, text string }{
					{"rare", "id0000017x"}, {"greeting", "お世話になっております"}, {"two", string([]rune(c.vocabulary[3] + c.vocabulary[4])[:2])},
					{"one", "す"}, {"mixed", c.vocabulary[5] + "の" + c.vocabulary[2]}, {"rare-compound", c.vocabulary[30_000]}, {"absent", "龍龍龍"},
				}
			}
			b.Run(d.name+"/"+language, func(b *testing.B) {
				h := newHouse(b, d.open(b))
				h.fill(b, c)
				for _, q := range queries {
					b.Run(q.name, func(b *testing.B) { benchmarkFind(b, h, q.text) })
				}
				b.Run("scan", func(b *testing.B) { benchmarkScan(b, h) })
			})
		}
	}
}

// BenchmarkFindReal does it in real mail.
func BenchmarkFindReal(b *testing.B) {
	messages := realMail(b)
	h := newHouse(b, dbtest.SQLite(b))
	for i, uid := range h.deliverRaw(b, messages...) {
		texts, _, err := normalTexts(strings.NewReader(messages[i]))
		if err != nil {
			b.Fatal(err)
		}
		h.texts[uid] = strings.Join(texts, "\x00")
	}
	for _, q := range []struct{ name, text string }{{"rare", "sysadmins"}, {"frequent", "mail"}, {"inner", "nsubscrib"}, {"phrase", "mailing list"},
		{"hyphenated", "e-mail"}, {"host", "lists.sourceforge.net"}, {"punctuated", "e-mail!"}, {"two", "会社"}, {"mixed", "お願い"}, {"absent", "zzzyx"}} {
		b.Run(q.name, func(b *testing.B) { benchmarkFind(b, h, q.text) })
	}
	b.Run("header", func(b *testing.B) {
		find := func() {
			if _, err := h.FindHeader(b.Context(), h.folder, "spamassassin"); err != nil {
				b.Fatal(err)
			}
		}
		find() // takes in
		for b.Loop() {
			find()
		}
		size := h.count(b, `SELECT sum(size) FROM fulltext_segment WHERE state = 1 AND field = ?`, int64(inHeader))
		b.ReportMetric(float64(size)/float64(len(messages)), "octets/message")
	})
	b.Run("scan", func(b *testing.B) { benchmarkScan(b, h) })
}

func benchmarkFind(b *testing.B, h *house, text string) {
	if h.Logger == nil {
		prepare(b, h)
	}
	var r Result
	var err error
	for b.Loop() {
		if r, err = h.Find(b.Context(), h.folder, text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(r.Has)), "has")
	b.ReportMetric(float64(len(r.May)), "may")
}

// prepare takes in the folder, and measures that.
func prepare(b *testing.B, h *house) {
	h.Logger = h.log()
	begin, busy := time.Now(), processorTime()
	h.agrees(b, "id0000001x")
	took, worked := time.Since(begin), processorTime()-busy
	begin = time.Now()
	h.tend(b)
	var octets, size, segments int64
	for _, t := range h.texts {
		octets += int64(len(t))
	}
	err := h.DB.Read(b.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT count(*), CAST(sum(size) AS BIGINT) FROM fulltext_segment WHERE state = 1`).Scan(&segments, &size)
	})
	if err != nil {
		b.Fatal(err)
	}
	var byKind string
	err = h.DB.Read(b.Context(), func(tx *db.Tx) error {
		return tx.Each(`SELECT kind, CAST(sum(length(data)) AS BIGINT) FROM fulltext_block GROUP BY kind ORDER BY kind`, nil, func(scan func(...any) error) error {
			var k, n int64
			err := scan(&k, &n)
			byKind += fmt.Sprintf(" %.3f", float64(n)/float64(octets))
			return err
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d messages, %d octets of text, taken in in %v (%v of processors; %.0f messages/s), tended in %v; %d segments, %.3f octets of index for each of text (words, messages, places:%s)",
		len(h.texts), octets, took, worked, float64(len(h.texts))/took.Seconds(), time.Since(begin), segments, float64(size)/float64(octets), byKind)
}

// processorTime is what this process has used of processors, PostgreSQL's not
// included.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDeliveryDelay delivers messages one after the other, alone and while
// a folder is taken in and merged.
func BenchmarkDeliveryDelay(b *testing.B) {
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("sqlite/beside=%v", beside), func(b *testing.B) { benchmarkDelay(b, dbtest.SQLite(b), beside) })
		b.Run(fmt.Sprintf("postgres/beside=%v", beside), func(b *testing.B) { benchmarkDelay(b, dbtest.Postgres(b), beside) })
	}
}

func benchmarkDelay(b *testing.B, d *db.DB, beside bool) {
	var indexer sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	if beside {
		h := newHouse(b, d)
		h.fill(b, newCorpus(false))
		indexer.Go(func() {
			for ctx.Err() == nil {
				h.Find(ctx, h.folder, "absent")
				h.Tend(ctx)
				h.drop(ctx, source{h.folder, inBody})
			}
		})
	}
	h := newHouse(b, d)
	var delays []time.Duration
	for b.Loop() {
		begin := time.Now()
		h.deliver(b, "a message")
		delays = append(delays, time.Since(begin))
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	indexer.Wait()
	slices.Sort(delays)
	for name, i := range map[string]int{"ms/median": len(delays) / 2, "ms/99%": len(delays) * 99 / 100, "ms/most": len(delays) - 1} {
		b.ReportMetric(float64(delays[i].Microseconds())/1000, name)
	}
}

// fill delivers the messages of a benchmark.
func (h *house) fill(b *testing.B, c *corpus) {
	for n := 0; n < *benchMessages; {
		var texts []string
		for ; len(texts) < 200; n++ {
			texts = append(texts, c.text(n))
		}
		h.deliver(b, texts...)
	}
}

func benchmarkScan(b *testing.B, h *house) {
	for b.Loop() {
		for _, err := range h.read(b.Context(), source{h.folder, inBody}, mailbox.All[0]) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkTakeIn takes a folder in anew each time: messages of 4 KiB in ASCII.
func BenchmarkTakeIn(b *testing.B) {
	h, c := newHouse(b, dbtest.SQLite(b)), newCorpus(false)
	for n := 0; n < *benchMessages; {
		var texts []string
		for ; len(texts) < 200; n++ {
			texts = append(texts, c.text(n)+c.text(n))
		}
		h.deliver(b, texts...)
	}
	b.ResetTimer()
	before := processorTime()
	for b.Loop() {
		h.dropAll(b)
		if _, err := h.Find(b.Context(), h.folder, "absent"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N*len(h.texts)), "cpu-µs/message")
}
