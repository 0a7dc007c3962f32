package dbtest

import (
	"context"
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
