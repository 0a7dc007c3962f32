package body

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// text gives n octets that key determines.
func text(key, n int) []byte {
	var s [32]byte
	s[0], s[1], s[2] = byte(key), byte(key>>8), byte(key>>16)
	b := make([]byte, n)
	rand.NewChaCha8(s).Read(b)
	return b
}

func openStore(t testing.TB, d *db.DB) *Store {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	s := &Store{DB: d, Blobs: blobs, Grace: time.Nanosecond}
	if err := addMailbox(d); err != nil {
		t.Fatal(err)
	}
	return s
}

// addMailbox makes mailbox 1.
func addMailbox(d *db.DB) error {
	return d.Write(context.Background(), func(tx *db.Tx) error {
		for _, q := range []string{
			`INSERT INTO domain (id, name, created) VALUES (1, 'a.test', 1)`,
			`INSERT INTO account (id, domain, addresskey, address, created, changed) VALUES (1, 1, 'a@a.test', 'a@a.test', 1, 1)`,
			`INSERT INTO mailbox (id, account, name, uidvalidity, created) VALUES (1, 1, 'INBOX', 1, 1)`,
		} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
}

// store puts a body on the disk.
func (s *Store) put(b []byte) (blob.Stored, error) {
	w, err := s.Create(context.Background())
	if err != nil {
		return blob.Stored{}, err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return blob.Stored{}, err
	}
	return w.Commit(context.Background())
}

// deliver makes message uid of mailbox 1 with a body of n octets.
func (s *Store) deliver(uid, n int) (id int64, err error) {
	stored, err := s.put(text(uid, n))
	if err != nil {
		return 0, err
	}
	return s.record(uid, n, stored)
}

// record makes message uid of a stored body.
func (s *Store) record(uid, n int, stored blob.Stored) (id int64, err error) {
	err = s.DB.Write(context.Background(), func(tx *db.Tx) error {
		if id, err = s.Add(tx, stored, 1); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO message (mailbox, uid, body, size, received, saved, modseq, emailid, prefix)
			VALUES (1, ?, ?, ?, 1, 1, 1, 1, ?)`, uid, id, n, []byte("X-Prefix: \x00\xff\r\n"))
		return err
	})
	return id, err
}

// expunge deletes message uid.
func (s *Store) expunge(uid int) error {
	return s.DB.Write(context.Background(), func(tx *db.Tx) error {
		id, err := tx.Insert(`DELETE FROM message WHERE mailbox = 1 AND uid = ? RETURNING body`, uid)
		if err != nil {
			return err
		}
		return s.Retain(tx, id, -1)
	})
}

func (s *Store) get(id int64) ([]byte, error) {
	r, err := s.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (s *Store) problems(t *testing.T) (list []string) {
	t.Helper()
	err := s.Check(t.Context(), func(p Problem) error { list = append(list, p.String()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// restart seals the open segment, as a restart does.
func (s *Store) restart(t *testing.T, dir string) {
	t.Helper()
	s.Blobs.Close()
	blobs, err := blob.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	blobs.SegmentSize = 1 << 20
	t.Cleanup(func() { blobs.Close() })
	s.Blobs = blobs
}

func TestCollectGivesRoomBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := openStore(t, d)
		dir := t.TempDir()
		s.restart(t, dir)
		const n = 100
		ids := make([]int64, n)
		for i := range n {
			size := 10_000
			if i%20 == 0 {
				size = 200_000
			}
			var err error
			if ids[i], err = s.deliver(i, size); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.put(text(n, 300_000)); err != nil { // no transaction comes
			t.Fatal(err)
		}
		for i := range n {
			if i%3 != 1 {
				if err := s.expunge(i); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.restart(t, dir)
		time.Sleep(20 * time.Millisecond) // file times are coarse
		before := s.usage(t, dir)
		reader, err := s.Open(t.Context(), ids[1])
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		c, err := s.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.Bodies != 67 || c.Files != 5 || c.Segments != 1 || c.Moved == 0 {
			t.Errorf("%+v", c)
		}
		if after := s.usage(t, dir); after > before/2 {
			t.Errorf("%d octets on disk, before %d", after, before)
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, text(1, 10_000)) {
			t.Errorf("reader of a removed segment: %d octets, %v", len(got), err)
		}
		for i := range n {
			got, err := s.get(ids[i])
			if i%3 != 1 {
				if !errors.Is(err, ErrGone) {
					t.Errorf("body %d: %v", i, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(got[:100], text(i, 100)) {
				t.Errorf("body %d: %v", i, err)
			}
		}
		if p := s.problems(t); p != nil {
			t.Error(p)
		}
		err = d.Write(t.Context(), func(tx *db.Tx) error { return s.Retain(tx, ids[0], 1) })
		if !errors.Is(err, ErrGone) {
			t.Errorf("retained a deleted body: %v", err)
		}
	})
}

func (s *Store) usage(t *testing.T, dir string) (octets int64) {
	t.Helper()
	for _, kind := range []string{"segments", "files"} {
		list, err := os.ReadDir(dir + "/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			info, _ := e.Info()
			octets += info.Size()
		}
	}
	return octets
}

func TestCollectWaitsForTransactions(t *testing.T) {
	s := openStore(t, dbtest.SQLite(t))
	dir := t.TempDir()
	s.restart(t, dir)
	s.Grace = time.Hour
	small, err := s.put(text(1, 1000))
	if err != nil {
		t.Fatal(err)
	}
	large, err := s.put(text(2, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	// Even when the clock of the file times jumps.
	for _, kind := range []string{"segments", "files"} {
		list, _ := os.ReadDir(dir + "/" + kind)
		old := time.Now().Add(-48 * time.Hour)
		os.Chtimes(dir+"/"+kind+"/"+list[0].Name(), old, old)
	}
	if c, err := s.Collect(t.Context()); err != nil || c != (Collected{}) {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, b := range []blob.Stored{small, large} {
		err := s.DB.Write(t.Context(), func(tx *db.Tx) error {
			id, err := s.Add(tx, b, 0)
			if err == nil {
				_, err = tx.Exec(`UPDATE body SET refs = 0 WHERE id = ?`, id)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := s.problems(t); p != nil {
		t.Error(p)
	}
}

// TestAddFindsItsBodyOrFails: whatever the time between storing a body and
// adding its row, no row names a body that was collected.
func TestAddFindsItsBodyOrFails(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := openStore(t, d) // with no Grace to speak of
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			for ctx.Err() == nil {
				if err := s.Blobs.Seal(context.Background()); err != nil {
					t.Error(err)
				}
				if _, err := s.Collect(context.Background()); err != nil && !errors.Is(err, fs.ErrInvalid) {
					t.Error(err) // fs.ErrInvalid: it came upon a segment as that was begun
				}
			}
		})
		var added, late atomic.Int64
		var adders sync.WaitGroup
		for i := range 6 {
			adders.Go(func() {
				for n := range 60 {
					uid, size := i*1000+n+1, 500+n%2*100_000
					stored, err := s.put(text(uid, size))
					if err == nil {
						time.Sleep(rand.N(5 * time.Millisecond))
						_, err = s.record(uid, size, stored)
					}
					switch {
					case err == nil:
						added.Add(1)
					case errors.Is(err, blob.ErrNotFound):
						late.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
		adders.Wait()
		cancel()
		group.Wait()
		if p := s.problems(t); p != nil {
			t.Errorf("%d problems, first %s", len(p), p[0])
		}
		t.Logf("%d bodies added, %d came too late", added.Load(), late.Load())
		if added.Load() == 0 || late.Load() == 0 && d.Dialect() == db.SQLite { // the other is rarely quick enough
			t.Error("it was not a race")
		}
	})
}

// TestCollectWhenRoomIsShort: what is dead goes at once, out of the segment
// that is being written, too.
func TestCollectWhenRoomIsShort(t *testing.T) {
	s := openStore(t, dbtest.SQLite(t))
	for uid := range 30 {
		if _, err := s.deliver(uid+1, 10_000); err != nil {
			t.Fatal(err)
		}
	}
	s.Blobs.Reserve = 1 << 62
	if _, err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Blobs.Active(); !ok {
		t.Fatal("a segment full of mail was sealed")
	}
	for uid := range 25 {
		if err := s.expunge(uid + 1); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.Collect(t.Context())
	if err != nil || c.Segments != 1 || c.Moved != 5 || c.Octets < 250_000 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := s.Collect(t.Context()); err != nil || c != (Collected{}) {
		t.Errorf("the next one finds %+v, %v", c, err)
	}
	if p := s.problems(t); p != nil {
		t.Error(p)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := openStore(t, d)
		var ids []int64
		for i := range 5 {
			id, err := s.deliver(i, 1000)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if p := s.problems(t); p != nil {
			t.Fatal(p)
		}
		err := d.Write(t.Context(), func(tx *db.Tx) error {
			for i, q := range []string{`UPDATE body SET refs = 7 WHERE id = ?`, `UPDATE body SET refs = 0 WHERE id = ?`,
				`UPDATE body SET size = 7 WHERE id = ?`, `UPDATE body SET ref = 'sabcdefghijkl.16.1000' WHERE id = ?`} {
				if _, err := tx.Exec(q, ids[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := s.Collect(t.Context()); err != nil || c.Bodies != 0 {
			t.Errorf("collected a body in use: %+v, %v", c, err)
		}
		p := s.problems(t)
		for i, want := range []string{"says 7 references, has 1", "says 0 references, has 1", "says 7 octets, has 1000", "no such message body"} {
			if i >= len(p) || !strings.Contains(p[i], want) || !strings.HasPrefix(p[i], fmt.Sprintf("body %d ", ids[i])) {
				t.Errorf("%d: %q, want %q", i, p, want)
			}
		}
		for _, id := range ids[:2] {
			if err := s.Repair(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if p := s.problems(t); len(p) != 2 {
			t.Errorf("after repair: %q", p)
		}
	})
}

// TestCollectBesideEverything: bodies move and go while others come and are read.
func TestCollectBesideEverything(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := openStore(t, d)
		s.Grace = 300 * time.Millisecond
		s.Blobs.SegmentSize = 100_000
		var done atomic.Bool
		var wg sync.WaitGroup
		var total Collected
		wg.Go(func() {
			defer done.Store(true)
			start := time.Now()
			for time.Since(start) < time.Second || total.Moved == 0 && time.Since(start) < 20*time.Second {
				c, err := s.Collect(t.Context())
				if err != nil {
					t.Error(err)
				}
				total.Segments += c.Segments
				total.Moved += c.Moved
				time.Sleep(5 * time.Millisecond)
			}
		})
		for w := range 4 {
			wg.Go(func() {
				for i := w; !done.Load(); i += 4 {
					id, err := s.deliver(i, 2000)
					if err != nil {
						t.Error(err)
						return
					}
					if old := i - 40; old >= 0 && old%4 == w && i%3 != 0 {
						if err := s.expunge(old); err != nil {
							t.Error(err)
						}
					}
					if got, err := s.get(id); err != nil || !bytes.Equal(got, text(i, 2000)) {
						t.Errorf("body %d: %v", i, err)
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for !done.Load() {
					if p := s.problems(t); p != nil {
						t.Error(p)
					}
				}
			})
		}
		wg.Wait()
		if total.Segments == 0 || total.Moved == 0 {
			t.Errorf("nothing was moved: %+v", total)
		}
	})
}
