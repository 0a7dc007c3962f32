package dnsbl

import (
	"container/list"
	"sync"
	"time"
)

// How long verdicts are kept.
const (
	minKeep = 10 * time.Second
	maxKeep = time.Hour
	// notListed is short, since a source is worst in the minutes before it is
	// listed. The resolver keeps a denial for as long as its zone says.
	notListed = time.Minute
)

// CacheSize is the number of verdicts that a Cache keeps if it is not told:
// some 30 MB.
const CacheSize = 100_000

// Cache keeps the verdicts on names for the lists of a Filter. It drops what was
// not used for longest. It is safe for concurrent use.
type Cache struct {
	// Size is how many verdicts are kept; 0 is CacheSize. Set before use.
	Size int

	mu      sync.Mutex
	entries map[string]*list.Element // of *cached, by full name
	recent  *list.List               // most recently used first
}

type cached struct {
	name string
	verdict
	till time.Time
}

func (c *Cache) get(name string, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[name]
	if !ok {
		return verdict{}, false
	}
	e := el.Value.(*cached)
	if !now.Before(e.till) {
		c.recent.Remove(el)
		delete(c.entries, name)
		return verdict{}, false
	}
	c.recent.MoveToFront(el)
	return e.verdict, true
}

func (c *Cache) put(name string, v verdict, now time.Time, keep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries, c.recent = map[string]*list.Element{}, list.New()
	}
	if el, ok := c.entries[name]; ok {
		c.recent.Remove(el)
	}
	c.entries[name] = c.recent.PushFront(&cached{name, v, now.Add(min(max(keep, minKeep), maxKeep))})
	size := c.Size
	if size <= 0 {
		size = CacheSize
	}
	for len(c.entries) > size {
		e := c.recent.Remove(c.recent.Back()).(*cached)
		delete(c.entries, e.name)
	}
}

// Len gives the number of verdicts.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
