package learned_test

import (
	"context"
	"maps"
	"sync"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// memory is a Store that forgets.
type memory struct {
	mu       sync.Mutex
	accounts map[string]*learned.Counts
	err      error // what every call answers
}

func newMemory() *memory { return &memory{accounts: map[string]*learned.Counts{}} }

func (m *memory) Counts(_ context.Context, account string, hashes []uint64) (learned.Counts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := learned.Counts{Tokens: map[uint64]learned.Count{}}
	a := m.accounts[account]
	if a == nil || m.err != nil {
		return out, m.err
	}
	out.Spam, out.Ham = a.Spam, a.Ham
	for _, h := range hashes {
		if c, ok := a.Tokens[h]; ok {
			out.Tokens[h] = c
		}
	}
	return out, nil
}

func (m *memory) Add(_ context.Context, account string, d learned.Delta) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	a := m.accounts[account]
	if a == nil {
		a = &learned.Counts{Tokens: map[uint64]learned.Count{}}
		m.accounts[account] = a
	}
	a.Spam, a.Ham = a.Spam+d.Spam, a.Ham+d.Ham
	for _, h := range d.Hashes {
		c := a.Tokens[h]
		if c = (learned.Count{Spam: c.Spam + d.Spam, Ham: c.Ham + d.Ham}); c == (learned.Count{}) {
			delete(a.Tokens, h)
		} else {
			a.Tokens[h] = c
		}
	}
	return nil
}

// snapshot gives a copy of what is kept of an account.
func (m *memory) snapshot(account string) learned.Counts {
	a := m.accounts[account]
	if a == nil {
		return learned.Counts{Tokens: map[uint64]learned.Count{}}
	}
	return learned.Counts{Spam: a.Spam, Ham: a.Ham, Tokens: maps.Clone(a.Tokens)}
}
