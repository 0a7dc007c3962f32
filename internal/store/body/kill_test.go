package body

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// sizeOf gives the size of message uid: most small, some in files.
func sizeOf(uid int) int {
	if uid%50 == 7 {
		return 100_000 + uid
	}
	return 500 + uid%4000
}

// TestKilledWriter is not a test of its own: it is the child of TestKill. It
// says what it has been told is durable: "+uid", and what it begins to delete:
// "-uid".
func TestKilledWriter(t *testing.T) {
	dir, dsn := os.Getenv("MIGIWA_KILL_DIR"), os.Getenv("MIGIWA_KILL_DSN")
	if dir == "" {
		t.Skip("runs as the child of TestKill")
	}
	s, err := openKilled(dir, dsn)
	if err != nil {
		t.Fatal(err)
	}
	var last int
	s.DB.Read(t.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT COALESCE(max(uid), 0) FROM message`).Scan(&last)
	})
	var mu sync.Mutex
	say := func(sign string, uid int) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("\n%s%d\n", sign, uid)
	}
	for w := range 20 {
		go func() {
			for uid := last + 1000 + w; ; uid += 20 {
				if _, err := s.deliver(uid, sizeOf(uid)); err != nil {
					say("!", uid)
					continue
				}
				say("+", uid)
				if uid%5 < 3 {
					say("-", uid)
					s.expunge(uid)
				}
			}
		}()
	}
	for {
		if _, err := s.Collect(t.Context()); err != nil {
			fmt.Printf("\n!collect: %v\n", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func openKilled(dir, dsn string) (*Store, error) {
	d, err := db.Open(context.Background(), dsn)
	if err != nil {
		return nil, err
	}
	blobs, err := blob.OpenDisk(filepath.Join(dir, "bodies"))
	if err != nil {
		return nil, err
	}
	blobs.SegmentSize = 1 << 20
	return &Store{DB: d, Blobs: blobs, Grace: 500 * time.Millisecond}, nil
}

// TestKill kills a process with 20 writers and a collector again and again.
// What it had been told is durable is there, once, and reads as it was written.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	dsn := "sqlite:" + filepath.Join(dir, "test.db")
	s, err := openKilled(dir, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := addMailbox(s.DB); err != nil {
		t.Fatal(err)
	}
	s.DB.Close()
	s.Blobs.Close()
	lasts := 5 * time.Second
	if os.Getenv("MIGIWA_LONG") == "1" {
		lasts = 25 * time.Second
	}
	acked := map[int]bool{}
	rounds := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); rounds++ {
		killOnce(t, dir, dsn, acked)
	}
	if rounds < 3 || len(acked) < 100 {
		t.Fatalf("only %d rounds, %d messages", rounds, len(acked))
	}
	s, err = openKilled(dir, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer s.DB.Close()
	defer s.Blobs.Close()
	verify(t, s, acked)
	t.Logf("%d rounds, %d messages durable", rounds, len(acked))
}

func killOnce(t *testing.T, dir, dsn string, acked map[int]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), "MIGIWA_KILL_DIR="+dir, "MIGIWA_KILL_DSN="+dsn)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Duration(100+rand.IntN(700))*time.Millisecond, func() { cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var uid int
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "+"):
			fmt.Sscan(line[1:], &uid)
			acked[uid] = true
		case strings.HasPrefix(line, "-"):
			fmt.Sscan(line[1:], &uid)
			delete(acked, uid)
		case line != "":
			t.Errorf("child: %s", line)
		}
	}
	cmd.Wait()
}

func verify(t *testing.T, s *Store, acked map[int]bool) {
	t.Helper()
	bodies := map[int]int64{}
	err := s.DB.Read(t.Context(), func(tx *db.Tx) error {
		return tx.Each(`SELECT uid, body FROM message WHERE mailbox = 1`, nil, func(scan func(...any) error) error {
			var uid int
			var id int64
			err := scan(&uid, &id)
			bodies[uid] = id
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for uid := range acked {
		if got, err := s.get(bodies[uid]); err != nil || !bytes.Equal(got, text(uid, sizeOf(uid))) {
			t.Errorf("message %d: %d octets, %v", uid, len(got), err)
		}
	}
	if p := s.problems(t); p != nil {
		t.Errorf("%d problems, first %s", len(p), p[0])
	}
	s.Grace = time.Nanosecond
	if _, err := s.Collect(t.Context()); err != nil {
		t.Error(err)
	}
	if p := s.problems(t); p != nil {
		t.Errorf("after Collect: %d problems, first %s", len(p), p[0])
	}
}
