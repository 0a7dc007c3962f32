package main

import (
	"context"
	"sync"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// memory is a learned.Store for measuring, which forgets when the run ends.
type memory struct {
	mu       sync.Mutex
	accounts map[string]*learned.Counts
}

func newMemory() *memory { return &memory{accounts: map[string]*learned.Counts{}} }

// Counts implements learned.Store.
func (m *memory) Counts(_ context.Context, account string, hashes []uint64) (learned.Counts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := learned.Counts{Tokens: make(map[uint64]learned.Count)}
	a := m.accounts[account]
	if a == nil {
		return out, nil
	}
	out.Spam, out.Ham = a.Spam, a.Ham
	for _, h := range hashes {
		if c, ok := a.Tokens[h]; ok {
			out.Tokens[h] = c
		}
	}
	return out, nil
}

// Add implements learned.Store.
func (m *memory) Add(_ context.Context, account string, d learned.Delta) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.accounts[account]
	if a == nil {
		a = &learned.Counts{Tokens: map[uint64]learned.Count{}}
		m.accounts[account] = a
	}
	a.Spam, a.Ham = a.Spam+d.Spam, a.Ham+d.Ham
	for _, h := range d.Hashes {
		c := a.Tokens[h]
		a.Tokens[h] = learned.Count{Spam: c.Spam + d.Spam, Ham: c.Ham + d.Ham}
	}
	return nil
}
