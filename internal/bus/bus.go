// Package bus carries small notices between the parts of a node and between
// the processes of one data directory: "this mailbox changed", "the directory
// changed". A notice may be lost when its reader is slow; it tells where to
// look, never what to believe.
//
// # Between processes
//
// Each process binds a Unix datagram socket DIR/PID-RANDOM.sock, and sends to
// all others in DIR. A datagram is one octet, the length of the topic, then
// the topic, then the payload. Each peer has a queue and a goroutine of its
// own, so that a process that is stopped holds up nobody; what does not fit
// into its queue is lost to it. The list of peers is read again when the
// directory has changed. A socket that refuses is of a process that died, and
// whoever notices removes it. The directory is open to its owner only: who can
// write there is trusted.
//
// Nodes on different machines that share a PostgreSQL do not hear one another
// yet: the bus ends at the data directory.
package bus

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// MaxPayload is the largest payload in octets that reaches other processes.
// Larger ones stay in this one.
const MaxPayload = 4096

// maxTopic is the longest topic in octets.
const maxTopic = 255

// Bus delivers notices by topic. Its methods may be called from many
// goroutines, and from within the functions it calls.
type Bus struct {
	mu   sync.Mutex // held to change subs
	next int
	subs atomic.Pointer[map[string]map[int]func([]byte)] // never changed in place

	net *network // nil: this process only
}

// Open joins the bus of the processes that share dir. With an empty dir the
// bus is this process's own.
func Open(dir string) (*Bus, error) {
	b := &Bus{}
	b.subs.Store(&map[string]map[int]func([]byte){})
	if dir == "" {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	n, err := join(dir, b.deliver)
	if err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	b.net = n
	return b, nil
}

// Close leaves the bus. What waits to be sent is sent first, but a process that
// does not read holds it up for a second at most.
func (b *Bus) Close() error {
	if b.net == nil {
		return nil
	}
	return b.net.close()
}

// Publish hands payload to all subscribers of topic, in this process at once
// and in the others soon. It never blocks on them. The payload must not be
// changed afterwards.
func (b *Bus) Publish(topic string, payload []byte) {
	b.deliver(topic, payload)
	if b.net != nil && len(topic) <= maxTopic && len(payload) <= MaxPayload {
		b.net.send(topic, payload)
	}
}

func (b *Bus) deliver(topic string, payload []byte) {
	for _, f := range (*b.subs.Load())[topic] {
		f(payload)
	}
}

// Subscribe calls fn for every notice of topic until cancel is called; one that
// is under way then may still come. fn must be short, must not block and must
// not change the payload. It is called from several goroutines.
func (b *Bus) Subscribe(topic string, fn func(payload []byte)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	id := b.next
	b.change(topic, func(m map[int]func([]byte)) { m[id] = fn })
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.change(topic, func(m map[int]func([]byte)) { delete(m, id) })
	}
}

// change replaces the subscribers of topic by an edited copy.
func (b *Bus) change(topic string, edit func(map[int]func([]byte))) {
	all := maps.Clone(*b.subs.Load())
	of := maps.Clone(all[topic])
	if of == nil {
		of = map[int]func([]byte){}
	}
	edit(of)
	if len(of) == 0 {
		delete(all, topic)
	} else {
		all[topic] = of
	}
	b.subs.Store(&all)
}

// datagram gives the wire form of a notice.
func datagram(topic string, payload []byte) []byte {
	return slices.Concat([]byte{byte(len(topic))}, []byte(topic), payload)
}

func parseDatagram(p []byte) (topic string, payload []byte, ok bool) {
	if len(p) == 0 || len(p) < 1+int(p[0]) {
		return "", nil, false
	}
	n := 1 + int(p[0])
	return string(p[1:n]), slices.Clone(p[n:]), true
}
