// Command sqlite compares the drivers of SQLite, modernc.org/sqlite (Go) and
// mattn/go-sqlite3 (C), and bodies in segments with a file each, under the
// group commit and the statements of migiwa's store: for every message a body
// of 4 KiB, its row, the message's row, and the counters of mailbox, account
// and body.
//
//	go run -C bench/sqlite . [-seconds 3] [-dir DIR]
//
// It is a module of its own, so that the C driver is no dependency of migiwa.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

var (
	seconds = flag.Float64("seconds", 3, "length of each run")
	parent  = flag.String("dir", "", "directory on the disk to be measured")
)

func main() {
	flag.Parse()
	fmt.Printf("%-34s %8s %8s %8s\n", "per second, writers:", "1", "20", "100")
	row("bodies, segments", segments)
	row("bodies, a file each", files)
	row("rows, modernc.org/sqlite", func(dir string, n int) float64 { return rows(dir, "sqlite", n) })
	row("rows, mattn/go-sqlite3", func(dir string, n int) float64 { return rows(dir, "sqlite3", n) })
	row("bodies and rows, store/db", whole)
}

func row(name string, measure func(dir string, writers int) float64) {
	fmt.Printf("%-34s", name)
	for _, n := range []int{1, 20, 100} {
		dir, err := os.MkdirTemp(*parent, "migiwa-bench")
		check(err)
		fmt.Printf(" %8.0f", measure(dir, n))
		check(os.RemoveAll(dir))
	}
	fmt.Println()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// rate runs fn from n goroutines for a while and gives how often it ran each
// second.
func rate(n int, fn func()) float64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(*seconds * float64(time.Second)))
	for range n {
		wg.Go(func() {
			for time.Now().Before(end) {
				fn()
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

var text = make([]byte, 4096)

func segments(dir string, n int) float64 {
	d, err := blob.OpenDisk(dir)
	check(err)
	defer d.Close()
	return rate(n, func() {
		segment, _ := blob.SegmentOf(put(d).Ref)
		check(d.Sync(segment))
	})
}

func put(d *blob.Disk) blob.Stored {
	w, err := d.Create(context.Background())
	check(err)
	w.Write(text)
	s, err := w.Commit(context.Background())
	check(err)
	return s
}

// files stores as Maildir does: a new file, fsync, and fsync of the directory.
func files(dir string, n int) float64 {
	var next atomic.Int64
	return rate(n, func() {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(next.Add(1))))
		check(err)
		f.Write(text)
		check(f.Sync())
		f.Close()
		f, err = os.Open(dir)
		check(err)
		check(f.Sync())
		f.Close()
	})
}

const (
	addBody    = `INSERT INTO body (ref, size, refs, created) VALUES (?, ?, 0, ?) RETURNING id`
	useAccount = `UPDATE account SET used = used + ?, messages = messages + 1 WHERE id = ?`
	nextUID    = `UPDATE mailbox SET uidnext = uidnext + 1, modseq = modseq + 1, messages = messages + 1,
		unseen = unseen + 1, size = size + ? WHERE id = ? RETURNING uidnext - 1, modseq`
	addMessage = `INSERT INTO message (mailbox, uid, body, size, received, saved, flags, keywords, modseq, emailid, trace, prefix)
		VALUES (?, ?, ?, ?, ?, ?, 0, '', ?, ?, ?, ?)`
	retain = `UPDATE body SET refs = refs + 1 WHERE id = ?`
)

var prefix = make([]byte, 400)

const mailboxes = 1000

// prepare makes a database with accounts and mailboxes.
func prepare(dir string) (*db.DB, string) {
	path := filepath.Join(dir, "bench.db")
	d, err := db.Open(context.Background(), "sqlite:"+path)
	check(err)
	check(d.Write(context.Background(), func(tx *db.Tx) error {
		tx.Exec(`INSERT INTO domain (id, name, created) VALUES (1, 'a.test', 1)`)
		for i := range mailboxes {
			if _, err := tx.Exec(`INSERT INTO account (id, domain, addresskey, address, created, changed) VALUES (?, 1, ?, '', 1, 1)`, i, fmt.Sprint(i)); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO mailbox (id, account, name, uidvalidity, created) VALUES (?, ?, 'INBOX', 1, 1)`, i, i); err != nil {
				return err
			}
		}
		return nil
	}))
	return d, path
}

var number atomic.Int64

// whole stores bodies and rows as the server does.
func whole(dir string, n int) float64 {
	d, _ := prepare(dir)
	defer d.Close()
	b, err := blob.OpenDisk(filepath.Join(dir, "bodies"))
	check(err)
	defer b.Close()
	return rate(n, func() {
		s := put(b)
		box, now := number.Add(1)%mailboxes, time.Now().UnixMilli()
		segment, _ := blob.SegmentOf(s.Ref)
		check(d.Write(context.Background(), func(tx *db.Tx) error {
			tx.BeforeCommit(segment, func() error { return b.Sync(segment) })
			id, err := tx.Insert(addBody, string(s.Ref), s.Size, now)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(useAccount, s.Size, box); err != nil {
				return err
			}
			var uid, modseq int64
			if err := tx.Row(nextUID, s.Size, box).Scan(&uid, &modseq); err != nil {
				return err
			}
			if _, err := tx.Exec(addMessage, box, uid, id, s.Size, now, now, modseq, id, "trace", prefix); err != nil {
				return err
			}
			_, err = tx.Exec(retain, id)
			return err
		}))
	})
}

// rows runs the statements under the same kind of group commit on one driver.
func rows(dir, driver string, n int) float64 {
	d, path := prepare(dir)
	check(d.Close())
	dsn := "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)&_pragma=cache_size(-16000)&_pragma=wal_autocheckpoint(4000)"
	if driver == "sqlite3" {
		dsn = "file:" + path + "?_journal_mode=WAL&_synchronous=FULL&_foreign_keys=ON&_cache_size=-16000"
	}
	pool, err := sql.Open(driver, dsn)
	check(err)
	defer pool.Close()
	ctx := context.Background()
	c, err := pool.Conn(ctx)
	check(err)
	defer c.Close()
	_, err = c.ExecContext(ctx, "PRAGMA wal_autocheckpoint = 4000")
	check(err)
	var stmts [5]*sql.Stmt
	for i, q := range []string{addBody, useAccount, nextUID, addMessage, retain} {
		stmts[i], err = c.PrepareContext(ctx, q)
		check(err)
		defer stmts[i].Close()
	}
	queue := make(chan chan struct{}, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for first := range queue {
			batch := []chan struct{}{first}
			for more := true; more && len(batch) < 256; {
				select {
				case w, ok := <-queue:
					if more = ok; ok {
						batch = append(batch, w)
					}
				default:
					more = false
				}
			}
			_, err := c.ExecContext(ctx, "BEGIN IMMEDIATE")
			check(err)
			for range batch {
				message(stmts)
			}
			_, err = c.ExecContext(ctx, "COMMIT")
			check(err)
			for _, w := range batch {
				close(w)
			}
		}
	})
	result := rate(n, func() {
		w := make(chan struct{})
		queue <- w
		<-w
	})
	close(queue)
	writer.Wait()
	return result
}

func message(s [5]*sql.Stmt) {
	n := number.Add(1)
	box, now := n%mailboxes, time.Now().UnixMilli()
	var id, uid, modseq int64
	check(s[0].QueryRow(fmt.Sprintf("sabcdefghijkl.%d.4096", n*4116), 4096, now).Scan(&id))
	_, err := s[1].Exec(4096, box)
	check(err)
	check(s[2].QueryRow(4096, box).Scan(&uid, &modseq))
	_, err = s[3].Exec(box, uid, id, 4096, now, now, modseq, id, "trace", prefix)
	check(err)
	_, err = s[4].Exec(id)
	check(err)
}
