package directory

import (
	"sync"
	"time"
)

// cache is a bounded map whose entries end with their time or with the
// generation they were read in. Two maps stand for young and old: when the
// young one is full it becomes the old one and the old one is forgotten, so
// that what is asked for often survives a flood of names asked for once.
type cache[K comparable, V any] struct {
	max  int           // entries in each map
	keep time.Duration // of an entry

	mu         sync.RWMutex
	young, old map[K]cached[V]
}

type cached[V any] struct {
	value      V
	generation uint64
	until      time.Time
}

func newCache[K comparable, V any](max int, keep time.Duration) *cache[K, V] {
	return &cache[K, V]{max: max, keep: keep, young: map[K]cached[V]{}}
}

// get gives the value of k as of generation, if it is still good.
func (c *cache[K, V]) get(k K, generation uint64) (V, bool) {
	c.mu.RLock()
	e, ok := c.young[k]
	aged := false
	if !ok {
		e, ok = c.old[k]
		aged = ok
	}
	c.mu.RUnlock()
	if !ok || e.generation != generation || time.Now().After(e.until) {
		var none V
		return none, false
	}
	if aged {
		c.store(k, e)
	}
	return e.value, true
}

// put keeps v, which was read from the database after generation was.
func (c *cache[K, V]) put(k K, generation uint64, v V) {
	c.store(k, cached[V]{value: v, generation: generation, until: time.Now().Add(c.keep)})
}

func (c *cache[K, V]) store(k K, e cached[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.max {
		c.old, c.young = c.young, make(map[K]cached[V], c.max/4)
	}
	c.young[k] = e
}
