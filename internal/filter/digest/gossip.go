package digest

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of what waits to be told to other nodes.
const (
	maxLog     = 4096   // changes
	maxWaiting = 50_000 // fingerprints delivered since the last call of Changes
	perChange  = 1000   // deliveries in one change
)

// Change is one thing that a node tells the others: a report, or deliveries when
// Inboxes is not empty.
type Change struct {
	At       time.Time
	Reporter uint64 // keyed hashes of the account
	Domain   uint64 // and its domain
	Spam     bool
	Prints   []Print

	Inboxes []Inbox
}

// Inbox tells which accounts got a fingerprint in an epoch of 8 hours since 1970.
type Inbox struct {
	Print Print
	Epoch int64
	Set   [4]uint64 // a bit for each account, by its hash
}

// changeLog keeps what this node has to tell.
type changeLog struct {
	first   uint64 // number of changes[0]
	changes []Change
	inboxes map[seenKey][4]uint64 // not yet in changes
}

type seenKey struct {
	print Print
	epoch int64
}

func (l *changeLog) add(c Change) {
	l.changes = append(l.changes, c)
	if len(l.changes) > 2*maxLog {
		n := len(l.changes) - maxLog
		l.changes = slices.Clone(l.changes[n:])
		l.first += uint64(n)
	}
}

// deliver collects deliveries: many of one message become one.
func (l *changeLog) deliver(p Print, epoch int64, set [4]uint64) {
	k := seenKey{p, epoch}
	if old, ok := l.inboxes[k]; ok || len(l.inboxes) < maxWaiting {
		l.inboxes[k] = or(old, set)
	}
}

// flush makes changes of the deliveries that wait.
func (l *changeLog) flush(now time.Time) {
	var c Change
	for k, set := range l.inboxes {
		c.Inboxes = append(c.Inboxes, Inbox{k.print, k.epoch, set})
		if len(c.Inboxes) == perChange {
			c.At = now
			l.add(c)
			c = Change{}
		}
	}
	if len(c.Inboxes) > 0 {
		c.At = now
		l.add(c)
	}
	clear(l.inboxes)
}

// Changes gives what was reported and delivered at this node after the change
// numbered after, and the number to ask with next time. What other nodes told is
// not told on. ok is false when some of it is not kept any more, or when the node
// began anew: then a Snapshot tells all. Numbers grow over restarts as long as
// the clock does. The prints of changes are shared and must not be changed.
func (m *Memory) Changes(after uint64) (changes []Change, next uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	m.log.flush(time.Now())
	next = m.log.first + uint64(len(m.log.changes)) - 1
	if after+1 < m.log.first || after > next {
		return slices.Clone(m.log.changes), next, false
	}
	return slices.Clone(m.log.changes[after+1-m.log.first:]), next, true
}

// Merge takes in what other nodes tell. Whatever was taken before, or is too old,
// changes nothing. A change that no node of this version makes is an error, and
// the others are taken.
func (m *Memory) Merge(changes []Change) error {
	var bad error
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	for i, c := range changes {
		if err := c.check(now); err != nil {
			bad = fmt.Errorf("digest: change %d of %d: %w", i+1, len(changes), err)
			continue
		}
		for _, b := range c.Inboxes {
			m.deliver(b.Print, b.Epoch, b.Set)
		}
		if len(c.Prints) > 0 {
			m.take(c, now)
		}
	}
	return bad
}

func (c *Change) check(now time.Time) error {
	if c.At.Sub(now) > maxAhead {
		return fmt.Errorf("it is of %v from now", c.At.Sub(now).Round(time.Second))
	}
	if len(c.Prints) > maxPrints || len(c.Inboxes) > perChange || len(c.Prints) > 0 && len(c.Inboxes) > 0 {
		return fmt.Errorf("it has %d fingerprints and %d deliveries", len(c.Prints), len(c.Inboxes))
	}
	for _, p := range c.Prints {
		if p.Kind < Text || p.Kind > Part {
			return fmt.Errorf("fingerprint of kind %d", p.Kind)
		}
	}
	for _, b := range c.Inboxes {
		if b.Print.Kind < Text || b.Print.Kind > Part || b.Epoch > epochOf(now.Add(maxAhead)) || b.Epoch < 0 {
			return fmt.Errorf("delivery of kind %d in epoch %d", b.Print.Kind, b.Epoch)
		}
	}
	return nil
}
