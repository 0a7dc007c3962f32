package edge

import (
	"slices"

	"github.com/dchest/siphash"
)

// contacts are the recipients an account has written to: a hash table with
// open addressing, its length a power of two, at most three quarters full. An
// entry is 48 bits of the recipient's hash, 14 bits for the day it was last
// written to, and two marks.
type contacts struct {
	slots []uint64
	count int
}

// The marks of an entry.
const (
	contactOpen  = 1 << 0 // written to for the first time, and what it is has not been learnt yet
	contactFresh = 1 << 1 // written to for the first time since the day began
)

const (
	contactHash = ^uint64(0xffff)
	contactBase = 20000 // day number 0 of an entry, in days since 1970: they last until 2069
)

func contactDay(e uint64) uint32 { return uint32(e>>2&0x3fff) + contactBase }

func contactWith(e uint64, d uint32, marks uint64) uint64 {
	return e&contactHash | uint64(min(max(d, contactBase)-contactBase, 0x3fff))<<2 | marks
}

// contactKey is the hash by which a recipient is remembered, never 0. It is
// keyed, so that the saved state tells nobody whom an account writes to.
func contactKey(secret [2]uint64, recipient string) uint64 {
	return siphash.Hash(secret[0], secret[1], []byte(recipient)) | 1<<16
}

// find gives the place of a key: of its entry, or of the empty slot for it; -1
// when there is no table yet.
func (c *contacts) find(key uint64) int {
	if len(c.slots) == 0 {
		return -1
	}
	mask := uint64(len(c.slots) - 1)
	for i := key >> 16 & mask; ; i = (i + 1) & mask {
		if e := c.slots[i]; e == 0 || e&contactHash == key&contactHash {
			return int(i)
		}
	}
}

// touch notes that the account writes to key today. isNew: it never did before;
// again: it did so today already. When there is no room for one more recipient
// it counts as known, so that nobody is judged by what is not remembered.
func (c *contacts) touch(key uint64, today uint32) (isNew, again bool) {
	if i := c.find(key); i >= 0 && c.slots[i] != 0 {
		e := c.slots[i]
		c.slots[i] = contactWith(e, today, e&3)
		return false, contactDay(e) == today
	}
	if !c.room(today) {
		return false, false
	}
	c.add(contactWith(key, today, contactOpen|contactFresh))
	return true, false
}

// add enters e, making room for it. It tells whether e can be entered: an empty
// hash, or one that is there, cannot.
func (c *contacts) add(e uint64) bool {
	if e&contactHash == 0 {
		return false
	}
	if 4*(c.count+1) > 3*len(c.slots) {
		c.grow()
	}
	i := c.find(e)
	if c.slots[i] != 0 {
		return false
	}
	c.slots[i] = e
	c.count++
	return true
}

func (c *contacts) grow() {
	c.rebuild(max(16, 2*len(c.slots)), func(e uint64) (uint64, bool) { return e, true })
}

// settle tells whether what becomes of key is to be learnt, once for each new
// recipient.
func (c *contacts) settle(key uint64) bool {
	i := c.find(key)
	if i < 0 || c.slots[i]&contactOpen == 0 {
		return false
	}
	c.slots[i] &^= contactOpen
	return true
}

// room tells whether there is room for one more entry, and makes some by
// forgetting who was not written to for longest.
func (c *contacts) room(today uint32) bool {
	if 4*(c.count+1) <= 3*len(c.slots) {
		return true
	}
	if c.count < contactsMost {
		c.grow()
		return true
	}
	days := make([]uint32, 0, c.count)
	for _, e := range c.slots {
		if e != 0 {
			days = append(days, contactDay(e))
		}
	}
	slices.Sort(days)
	limit := min(days[len(days)/2], today-1)
	c.rebuild(len(c.slots), func(e uint64) (uint64, bool) { return e, contactDay(e) > limit })
	return c.count < contactsMost
}

// rebuild makes the table anew with so many slots and what keep leaves.
func (c *contacts) rebuild(size int, keep func(uint64) (uint64, bool)) {
	old := c.slots
	c.slots, c.count = make([]uint64, size), 0
	for _, e := range old {
		if e == 0 {
			continue
		}
		if e, ok := keep(e); ok {
			c.slots[c.find(e)] = e
			c.count++
		}
	}
}

// accept takes the recipients of the day that ended for the account's own.
func (c *contacts) accept(today uint32) {
	c.rebuild(len(c.slots), func(e uint64) (uint64, bool) {
		return e &^ contactFresh, contactDay(e)+contactDays >= today
	})
}

// forget drops the recipients first written to since the day began.
func (c *contacts) forget() {
	c.rebuild(len(c.slots), func(e uint64) (uint64, bool) { return e, e&contactFresh == 0 })
}
