package dbtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
)

func TestEveryDatabaseIsFresh(t *testing.T) {
	for range 2 {
		Run(t, func(t *testing.T, d *db.DB) {
			err := d.Write(context.Background(), func(tx *db.Tx) error {
				_, err := tx.Insert(`INSERT INTO domain (name, created) VALUES (?, ?) RETURNING id`, "a.test", 1)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestServerStopsAndStarts(t *testing.T) {
	s, _ := NewServer(t)
	s.Stop()
	if err := s.admin(`SELECT 1`); err == nil {
		t.Fatal("it answers after Stop")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestServerIsKilledAndLeavesNothing(t *testing.T) {
	s, err := StartServer(true)
	demand(t, err)
	dsn, err := s.NewDatabase()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drop(dsn); err != nil {
		t.Errorf("after two crashes: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", s.dir, err)
	}
	if err := s.admin(`SELECT 1`); err == nil {
		t.Error("it still answers")
	}
}
