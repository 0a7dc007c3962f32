package dns

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

type cacheKey struct {
	name  string
	qtype uint16
}

type cacheEntry struct {
	key  cacheKey
	ans  answer
	till time.Time
	cost int
}

// cache keeps answers until their TTL ends, and drops those not used for longest
// when their size passes limit.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]*list.Element // of *cacheEntry
	recent  *list.List                 // most recently used first
	size    int
	limit   int // bytes, as estimated by cost
}

func newCache(limit int) *cache {
	return &cache{entries: make(map[cacheKey]*list.Element), recent: list.New(), limit: limit}
}

// get returns an answer whose TTL is what is left of it.
func (c *cache) get(k cacheKey, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[k]
	if !ok {
		return answer{}, false
	}
	e := el.Value.(*cacheEntry)
	if !now.Before(e.till) {
		c.remove(el)
		return answer{}, false
	}
	c.recent.MoveToFront(el)
	a := e.ans
	a.meta.TTL = e.till.Sub(now)
	return a, true
}

func (c *cache) put(k cacheKey, a answer, now time.Time, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[k]; ok {
		c.remove(el)
	}
	e := &cacheEntry{key: k, ans: a, till: now.Add(ttl), cost: cost(k, a)}
	c.entries[k] = c.recent.PushFront(e)
	c.size += e.cost
	for c.size > c.limit {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*cacheEntry)
	delete(c.entries, e.key)
	c.size -= e.cost
}

// cost estimates the memory of an entry: the record's own octets, and what Go
// spends around each record and each entry.
func cost(k cacheKey, a answer) int {
	n := 400 + len(k.name) + len(a.meta.Name)
	for _, rr := range a.rrs {
		n += 120 + dns.Len(rr)
	}
	return n
}
