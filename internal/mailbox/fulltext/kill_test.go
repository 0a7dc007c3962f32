package fulltext

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	storebody "github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// TestKilledIndexer is not a test of its own: it is the child of TestKill. It
// takes in a folder in small pieces, and merges them.
func TestKilledIndexer(t *testing.T) {
	dsn := os.Getenv("MIGIWA_FULLTEXT_DSN")
	if dsn == "" {
		t.Skip("runs as the child of TestKill")
	}
	folder, _ := strconv.ParseInt(os.Getenv("MIGIWA_FULLTEXT_FOLDER"), 10, 64)
	d, err := db.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	blobs, err := blob.OpenDisk(os.Getenv("MIGIWA_FULLTEXT_BODIES"))
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	x := &Index{DB: d, Mailboxes: &mailbox.Store{DB: d, Bodies: &storebody.Store{DB: d, Blobs: blobs}}, tokens: 100}
	for range 3 {
		if _, err := x.Find(context.Background(), folder, "number7"); err != nil {
			t.Fatal(err)
		}
		if err := x.Tend(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.drop(context.Background(), source{folder, inBody})
	}
}

// TestKill kills a process that takes in and merges, at any moment, again and
// again. What it leaves is right, and goes on.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	dsn := "sqlite:" + filepath.Join(dir, "test.db")
	d, err := db.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h := newHouseIn(t, d, filepath.Join(dir, "bodies"))
	h.deliver(t, numbered(0, 400)...)
	partly := 0
	for round := range 12 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledIndexer$")
		child.Env = append(os.Environ(), "MIGIWA_FULLTEXT_DSN="+dsn, "MIGIWA_FULLTEXT_BODIES="+filepath.Join(dir, "bodies"),
			fmt.Sprint("MIGIWA_FULLTEXT_FOLDER=", h.folder))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for n := int64(0); n == 0; { // until it is at work
			n = h.count(t, `SELECT count(*) FROM fulltext_segment`)
		}
		time.Sleep(time.Duration(round) * 10 * time.Millisecond)
		child.Process.Kill()
		child.Wait()
		if at, err := h.mark(t.Context(), source{h.folder, inBody}); err == nil && at > 0 && at < 400 {
			partly++
		}
		h.agrees(t, "number7")
		h.agrees(t, "番号1")
		h.exec(t, `UPDATE fulltext_segment SET created = 0 WHERE state = 0`) // as if an hour had gone
		h.tend(t)
		h.agrees(t, "番号1")
		if n := h.count(t, `SELECT count(*) FROM fulltext_segment WHERE state <> 1`); n != 0 {
			t.Fatalf("%d pieces are left", n)
		}
		if n := h.count(t, `SELECT count(*) FROM fulltext_block WHERE segment NOT IN (SELECT id FROM fulltext_segment)`); n != 0 {
			t.Fatalf("%d blocks are left", n)
		}
		h.dropAll(t)
		h.tend(t)
	}
	if partly == 0 {
		t.Error("no kill fell into the taking in")
	}
}
