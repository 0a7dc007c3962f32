package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func domain(name string) func(*db.Tx) error {
	return func(tx *db.Tx) error {
		_, err := tx.Insert(`INSERT INTO domain (name, created) VALUES (?, ?) RETURNING id`, name, time.Now().UnixMilli())
		return err
	}
}

func count(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	err := d.Read(t.Context(), func(tx *db.Tx) error { return tx.Row(`SELECT count(*) FROM domain`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestValuesComeBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		want := []byte("\x00\xff\r\n汀")
		err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO secret (name, value, created) VALUES (?, ?, ?), (?, ?, ?)`,
				"汀", want, int64(1)<<40, "empty", []byte{}, 0)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Read(t.Context(), func(tx *db.Tx) error {
			var name string
			var value []byte
			var created int64
			if err := tx.Row(`SELECT name, value, created FROM secret WHERE name = ?`, "汀").Scan(&name, &value, &created); err != nil {
				return err
			}
			if name != "汀" || !bytes.Equal(value, want) || created != 1<<40 {
				t.Errorf("%q %q %d", name, value, created)
			}
			if err := tx.Row(`SELECT name FROM secret WHERE name = ?`, "none").Scan(&name); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("no row: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailuresAreTheirOwn(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		bad := errors.New("bad")
		var wg sync.WaitGroup
		var committed sync.Map
		for i := range 200 {
			wg.Go(func() {
				err := d.Write(t.Context(), func(tx *db.Tx) error {
					if err := domain(fmt.Sprintf("d%d.test", i))(tx); err != nil {
						return err
					}
					tx.OnCommit(func() { committed.Store(i, true) })
					switch i % 20 {
					case 0:
						return bad
					case 5:
						panic("at the disco")
					case 10: // goes on after a failed statement
						tx.Exec(`INSERT INTO domain (name, created) VALUES (?, 1)`, fmt.Sprintf("d%d.test", i))
					}
					return nil
				})
				_, told := committed.Load(i)
				switch i % 20 {
				case 0:
					if !errors.Is(err, bad) || told {
						t.Errorf("%d: %v, committed %v", i, err, told)
					}
				case 5:
					if err == nil || !strings.Contains(err.Error(), "at the disco") || told {
						t.Errorf("%d: %v, committed %v", i, err, told)
					}
				case 10:
					if !db.IsUnique(err) || told {
						t.Errorf("%d: %v, committed %v", i, err, told)
					}
				default:
					if err != nil || !told {
						t.Errorf("%d: %v, committed %v", i, err, told)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, d); n != 170 {
			t.Errorf("%d domains, want 170", n)
		}
		s := d.Stats()
		if s.Writes != 200 || s.Batches > 200 || s.Batches == 0 || s.Writing == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestBeforeCommit: rows become durable with what stands before them, or not at
// all, and one f serves all that share a commit.
func TestBeforeCommit(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var ran atomic.Int64
		var wg sync.WaitGroup
		lost := errors.New("lost")
		write := func(name string, f func() error) error {
			return d.Write(t.Context(), func(tx *db.Tx) error {
				tx.BeforeCommit("disk", f)
				return domain(name)(tx)
			})
		}
		for i := range 50 {
			wg.Go(func() {
				err := write(fmt.Sprintf("d%d.test", i), func() error { ran.Add(1); time.Sleep(time.Millisecond); return nil })
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := ran.Load(); n != d.Stats().Batches {
			t.Errorf("ran %d times in %d commits", n, d.Stats().Batches)
		}
		if err := write("lost.test", func() error { return lost }); !errors.Is(err, lost) {
			t.Errorf("what stands before has failed: %v", err)
		}
		if n := count(t, d); n != 50 {
			t.Errorf("%d domains, want 50", n)
		}
	})
}

func TestReadersCannotWrite(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		if err := d.Read(t.Context(), domain("a.test")); err == nil {
			t.Error("Read has written")
		}
		var kept *db.Tx
		d.Write(t.Context(), func(tx *db.Tx) error { kept = tx; return nil })
		if _, err := kept.Exec(`DELETE FROM domain`); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("after its function: %v", err)
		}
		if err := d.Write(t.Context(), domain("a.test")); err != nil || count(t, d) != 1 {
			t.Error(err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	dbtest.Postgres(t) // the server's own goroutine is not counted
	before := goleak.IgnoreCurrent()
	for _, dsn := range []string{"sqlite:" + filepath.Join(t.TempDir(), "test.db"), dbtest.PostgresDSN(t)} {
		d, err := db.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				err := d.Write(context.Background(), domain(fmt.Sprintf("d%d.test", i)))
				if err != nil && !errors.Is(err, db.ErrClosed) {
					t.Error(err)
				}
			})
		}
		d.Close()
		d.Close()
		wg.Wait()
		if err := d.Read(t.Context(), domain("x")); !errors.Is(err, db.ErrClosed) {
			t.Error(err)
		}
	}
	goleak.VerifyNone(t, before)
}

// TestServerRestarts: while PostgreSQL is gone both ways fail soon and say so;
// when it is back they work, and what was acknowledged is there.
func TestServerRestarts(t *testing.T) {
	server, dsn := dbtest.NewServer(t)
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	read := func() error {
		return d.Read(t.Context(), func(tx *db.Tx) error {
			var n int
			return tx.Row(`SELECT count(*) FROM domain`).Scan(&n)
		})
	}
	for round := range 2 {
		if err := d.Write(t.Context(), domain(fmt.Sprintf("before%d.test", round))); err != nil {
			t.Fatal(err)
		}
		server.Stop()
		for i := range 3 {
			if err := d.Write(t.Context(), domain(fmt.Sprintf("down%d-%d.test", round, i))); !errors.Is(err, db.ErrUnavailable) {
				t.Errorf("write without server: %v", err)
			}
			if err := read(); !errors.Is(err, db.ErrUnavailable) {
				t.Errorf("read without server: %v", err)
			}
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		for range 10 { // every reader's connection is broken
			if err := read(); err != nil {
				t.Errorf("read after restart: %v", err)
			}
		}
		if err := d.Write(t.Context(), domain(fmt.Sprintf("after%d.test", round))); err != nil {
			t.Errorf("write after restart: %v", err)
		}
	}
	if n := count(t, d); n != 4 {
		t.Errorf("%d domains, want 4", n)
	}
	// Connections that break unseen: a write notices at BEGIN and tries again.
	for range 2 {
		d.Read(t.Context(), func(tx *db.Tx) error {
			return tx.Each(`SELECT pg_terminate_backend(pid)::int FROM pg_stat_activity WHERE pid <> pg_backend_pid()`, nil,
				func(scan func(...any) error) error { var n int; return scan(&n) })
		})
		if err := d.Write(t.Context(), domain(fmt.Sprintf("%d.test", time.Now().UnixNano()))); err != nil {
			t.Errorf("on a broken connection: %v", err)
		}
	}
}

// TestDeadlocksRunAgain: two processes take the same rows the other way round.
func TestDeadlocksRunAgain(t *testing.T) {
	dsn := dbtest.PostgresDSN(t)
	var both [2]*db.DB
	for i := range both {
		d, err := db.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		both[i] = d
		if err := d.Write(t.Context(), domain(fmt.Sprintf("d%d.test", i))); err != nil {
			t.Fatal(err)
		}
	}
	met := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for i, d := range both {
		wg.Go(func() {
			first := true
			err := d.Write(context.Background(), func(tx *db.Tx) error {
				for _, j := range []int{i, 1 - i} {
					if _, err := tx.Exec(`UPDATE domain SET created = created + 1 WHERE name = ?`, fmt.Sprintf("d%d.test", j)); err != nil {
						return err
					}
					if first {
						first = false
						met <- struct{}{}
						for len(met) < 2 {
							time.Sleep(time.Millisecond)
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := both[0].Stats().Retries + both[1].Stats().Retries; n == 0 {
		t.Error("there was no deadlock")
	}
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Write(t.Context(), domain("a.test")); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(path + "*")
	if len(files) != 3 {
		t.Errorf("files: %v", files)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

// TestLogIsEmptied: steady readers do not let SQLite's log grow.
func TestLogIsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	d, err := db.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				d.Read(context.Background(), func(tx *db.Tx) error {
					var n int
					err := tx.Row(`SELECT count(*) FROM domain`).Scan(&n)
					time.Sleep(10 * time.Millisecond)
					return err
				})
			}
		})
	}
	defer cancel()
	for i := range 50 {
		if err := d.Write(ctx, domain(fmt.Sprintf("d%d.test", i))); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(path + "-wal"); err == nil && info.Size() == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the log is not emptied when writing rests")
		}
	}
}

// TestCommitsAreDurable: every connection writes to the disk at each commit,
// whatever the server's defaults are.
func TestCommitsAreDurable(t *testing.T) {
	ask := func(d *db.DB, query, want string) {
		t.Helper()
		look := func(tx *db.Tx) error {
			var got string
			if err := tx.Row(query).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %q, want %q", query, got, want)
			}
			return nil
		}
		if err := d.Write(t.Context(), look); err != nil {
			t.Error(err)
		}
		for range 20 { // more than there are readers
			if err := d.Read(t.Context(), look); err != nil {
				t.Error(err)
			}
		}
	}
	lite := dbtest.SQLite(t)
	ask(lite, `PRAGMA synchronous`, "2")
	ask(lite, `PRAGMA journal_mode`, "wal")
	ask(lite, `PRAGMA foreign_keys`, "1")

	dsn := dbtest.PostgresDSN(t)
	if strings.Contains(dsn, "?") {
		dsn += "&synchronous_commit=off"
	} else {
		dsn += "?synchronous_commit=off"
	}
	pg, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close()
	ask(pg, `SELECT current_setting('synchronous_commit')`, "on")
}
