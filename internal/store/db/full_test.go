package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// TestFullDisk fills a small file system under 8 writers, makes room again,
// and finds every row that was acknowledged and no other.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("SKIPPED: mounting a small tmpfs needs root: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	d, err := Open(context.Background(), "sqlite:"+filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	fill := func(round string) (full bool) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 200 {
					name := fmt.Sprintf("%s-%d-%d.test", round, w, i)
					err := d.Write(context.Background(), func(tx *Tx) error {
						_, err := tx.Exec(`INSERT INTO domain (name, settings, created) VALUES (?, ?, 1)`, name, string(make([]byte, 3000)))
						return err
					})
					mu.Lock()
					switch {
					case err == nil:
						acked[name] = true
					case errors.Is(err, ErrFull):
						full = true
					default:
						t.Errorf("%s: %v", name, err)
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		return full
	}
	if !fill("a") {
		t.Fatal("the disk did not fill")
	}
	n := len(acked)
	if n == 0 {
		t.Fatal("nothing was written before")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	fill("b")
	if len(acked) == n {
		t.Error("nothing can be written after room was made")
	}
	rows := 0
	err = d.Read(t.Context(), func(tx *Tx) error {
		return tx.Each(`SELECT name FROM domain`, nil, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			if rows++; !acked[name] {
				t.Errorf("%s is there, and was refused", name)
			}
			return err
		})
	})
	if err != nil || rows != len(acked) {
		t.Errorf("%d rows, %d acknowledged, %v", rows, len(acked), err)
	}
	var ok string
	err = d.Read(t.Context(), func(tx *Tx) error { return tx.Row(`PRAGMA integrity_check`).Scan(&ok) })
	if err != nil || ok != "ok" {
		t.Errorf("integrity check: %q, %v", ok, err)
	}
}
