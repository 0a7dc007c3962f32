package reputation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Left is what a message counts that was left where it came.
const Left = 0.1

const (
	half     = 30 * 24 * time.Hour
	forgotIn = 6 * half
	maxCount = 20  // of one account about one source
	maxVoice = 200 // accounts that are heard about a source, those that spoke last

	cacheTime = time.Minute
	maxKept   = 20_000 // names in the cache, and deliveries that wait to be written
)

// Store keeps what accounts have made of mail. Deliveries are in memory until
// Flush.
type Store struct {
	DB *db.DB

	mu      sync.Mutex
	known   map[string]cached
	waiting map[delivery]float64
}

type cached struct {
	Voices
	until time.Time
}

type delivery struct {
	name    string
	account int64
}

// Voices gives what is said of a source; it may be a minute old.
func (s *Store) Voices(ctx context.Context, name string) (v Voices, err error) {
	now := time.Now()
	s.mu.Lock()
	c, ok := s.known[name]
	s.mu.Unlock()
	if ok && now.Before(c.until) {
		return c.Voices, nil
	}
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		v = Voices{}
		return tx.Each(`SELECT spam, ham, at FROM reputation WHERE name = ? ORDER BY at DESC LIMIT ?`, []any{name, maxVoice}, func(scan func(...any) error) error {
			var spam, ham float64
			var at int64
			if err := scan(&spam, &ham, &at); err != nil || spam+ham <= 0 {
				return err
			}
			fade := faded(now, at)
			voice := min(1, (spam+ham)*fade)
			v.Spam += voice * spam / (spam + ham)
			v.Ham += voice * ham / (spam + ham)
			return nil
		})
	})
	if err != nil {
		return Voices{}, fmt.Errorf("read reputation: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxKept {
		s.known = map[string]cached{}
	}
	s.known[name] = cached{v, now.Add(cacheTime)}
	return v, nil
}

// faded is what a count of that time, in ms since 1970, is worth now.
func faded(now time.Time, at int64) float64 {
	return math.Exp2(-max(0, float64(now.UnixMilli()-at)) / float64(half.Milliseconds()))
}

// Add counts for an account what it has made of mail of a source; negative
// counts take back.
func Add(tx *db.Tx, account int64, names []string, spam, ham float64) error {
	now := time.Now()
	for _, name := range names {
		was := Voices{}
		var at int64
		err := tx.Row(`SELECT spam, ham, at FROM reputation WHERE name = ? AND account = ?`, name, account).Scan(&was.Spam, &was.Ham, &at)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read reputation: %w", err)
		}
		fade := faded(now, at)
		sum := func(was, more float64) float64 { return min(max(was*fade+more, 0), maxCount) }
		_, err = tx.Exec(`INSERT INTO reputation (name, account, spam, ham, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name, account) DO UPDATE SET spam = excluded.spam, ham = excluded.ham, at = excluded.at`,
			name, account, sum(was.Spam, spam), sum(was.Ham, ham), now.UnixMilli())
		if err != nil {
			return fmt.Errorf("write reputation: %w", err)
		}
	}
	return nil
}

// Delivered counts a message that came to lie in the INBOX of an account.
func (s *Store) Delivered(account int64, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[delivery]float64{}
	}
	for _, name := range names {
		d := delivery{name, account}
		if _, known := s.waiting[d]; known || len(s.waiting) < maxKept {
			s.waiting[d] += Left
		}
	}
}

// Flush writes what was delivered, and forgets what has faded.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for d, n := range waiting {
			err := tx.Row(`SELECT 1 FROM account WHERE id = ?`, d.account).Scan(new(int))
			if errors.Is(err, sql.ErrNoRows) {
				continue // gone meanwhile
			}
			if err == nil {
				err = Add(tx, d.account, []string{d.name}, 0, n)
			}
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(`DELETE FROM reputation WHERE at < ?`, time.Now().Add(-forgotIn).UnixMilli())
		return err
	})
}

// flushEvery is how often deliveries are written.
const flushEvery = 30 * time.Second

// Run flushes until ctx ends, and then once more. Errors go to fault.
func (s *Store) Run(ctx context.Context, fault func(error)) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := s.Flush(flush); err != nil {
			fault(err)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}
