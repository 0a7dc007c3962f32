package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func open(t testing.TB) *DB {
	t.Helper()
	d, err := Open(context.Background(), "sqlite:"+t.TempDir()+"/test.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func addDomain(name string) func(*Tx) error {
	return func(tx *Tx) error {
		_, err := tx.Insert(`INSERT INTO domain (name, created) VALUES (?, 1) RETURNING id`, name)
		return err
	}
}

func TestOneFailureSparesTheOthers(t *testing.T) {
	d := open(t)
	ctx := context.Background()
	bad := errors.New("bad")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := d.Write(ctx, func(tx *Tx) error {
				if err := addDomain(fmt.Sprintf("d%d.test", i))(tx); err != nil {
					return err
				}
				if i%10 == 0 {
					return bad
				}
				return nil
			})
			if (i%10 == 0) != errors.Is(err, bad) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	var n int
	if err := d.Read(ctx, func(tx *Tx) error { return tx.Row(`SELECT count(*) FROM domain`).Scan(&n) }); err != nil || n != 180 {
		t.Fatalf("%d domains, want 180, %v", n, err)
	}
	if err := d.Write(ctx, addDomain("d1.test")); !IsUnique(err) {
		t.Fatalf("duplicate: %v", err)
	}
}
