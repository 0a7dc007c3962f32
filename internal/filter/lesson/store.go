// Package lesson learns from what users do: mail that is moved into the Junk
// folder teaches the filters what its owner does not want, mail moved out of it
// what he does. Moving it back takes the lesson back.
package lesson

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/filter/learned"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Store keeps what accounts have taught in the database. It is a
// learned.Store, whose accounts are named by their addresses.
type Store struct{ DB *db.DB }

// Counts implements learned.Store.
func (s *Store) Counts(ctx context.Context, account string, hashes []uint64) (learned.Counts, error) {
	var c learned.Counts
	err := s.DB.Read(ctx, func(tx *db.Tx) error {
		c = learned.Counts{}
		var id int64
		err := tx.Row(`SELECT l.account, l.spam, l.ham FROM learned l JOIN account a ON a.id = l.account
			WHERE a.addresskey = ? AND l.version = ?`, account, learned.TokenVersion).Scan(&id, &c.Spam, &c.Ham)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		c.Tokens, err = wordCounts(tx, id, hashes)
		return err
	})
	if err != nil {
		return learned.Counts{}, fmt.Errorf("read what %s has taught: %w", account, err)
	}
	return c, nil
}

// wordCounts asks PostgreSQL once, and SQLite, where a question costs
// microseconds, for each word.
func wordCounts(tx *db.Tx, account int64, hashes []uint64) (map[uint64]learned.Count, error) {
	out := make(map[uint64]learned.Count, len(hashes))
	words := make([]int64, len(hashes))
	for i, h := range hashes {
		words[i] = int64(h)
	}
	if all := tx.Pick("", `SELECT word, spam, ham FROM learned_word WHERE account = ? AND word = ANY(?)`); all != "" {
		return out, tx.Each(all, []any{account, words}, func(scan func(...any) error) error {
			var word int64
			var c learned.Count
			err := scan(&word, &c.Spam, &c.Ham)
			out[uint64(word)] = c
			return err
		})
	}
	for _, word := range words {
		var c learned.Count
		err := tx.Row(`SELECT spam, ham FROM learned_word WHERE account = ? AND word = ?`, account, word).Scan(&c.Spam, &c.Ham)
		if err == nil {
			out[uint64(word)] = c
		} else if !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
	}
	return out, nil
}

// Add implements learned.Store.
func (s *Store) Add(ctx context.Context, account string, d learned.Delta) error {
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		var id int64
		if err := tx.Row(`SELECT id FROM account WHERE addresskey = ?`, account).Scan(&id); err != nil {
			return err
		}
		return add(tx, id, d)
	})
	if err != nil {
		return fmt.Errorf("teach for %s: %w", account, err)
	}
	return nil
}

// add changes the counts of an account. Counts of another version of the words
// are worth nothing beside these and go.
func add(tx *db.Tx, account int64, d learned.Delta) error {
	n, err := tx.Exec(`UPDATE learned SET spam = spam + ?, ham = ham + ? WHERE account = ? AND version = ?`, d.Spam, d.Ham, account, learned.TokenVersion)
	if err != nil {
		return err
	}
	if n == 0 {
		for _, forget := range []string{`DELETE FROM learned WHERE account = ?`, `DELETE FROM learned_word WHERE account = ?`} {
			if _, err := tx.Exec(forget, account); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`INSERT INTO learned (account, version, spam, ham) VALUES (?, ?, ?, ?)`, account, learned.TokenVersion, d.Spam, d.Ham); err != nil {
			return err
		}
	}
	for _, h := range d.Hashes {
		if _, err := tx.Exec(`INSERT INTO learned_word (account, word, spam, ham) VALUES (?, ?, ?, ?)
			ON CONFLICT (account, word) DO UPDATE SET spam = learned_word.spam + excluded.spam, ham = learned_word.ham + excluded.ham`,
			account, int64(h), d.Spam, d.Ham); err != nil {
			return err
		}
	}
	_, err = tx.Exec(`DELETE FROM learned_word WHERE account = ? AND spam <= 0 AND ham <= 0`, account)
	return err
}
