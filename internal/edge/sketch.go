package edge

import "sync/atomic"

// sketch counts by hash in little memory, and forgets once a day: two rows, of
// which the smaller count holds. It may count too much, never too little.
type sketch struct {
	day  atomic.Uint32
	rows [2][sketchSize]atomic.Uint32 // four counts of 8 bits each
}

const sketchSize = 1 << 15

func newSketch() *sketch { return &sketch{} }

// under counts one for the hash and tells whether there were less than limit
// before; over the limit nothing is counted. The limit is at most 255.
func (c *sketch) under(hash uint64, now Time, limit int) bool {
	if day := uint32(now / 86400); c.day.Load() != day && c.day.Swap(day) != day {
		for r := range c.rows {
			for i := range c.rows[r] {
				c.rows[r][i].Store(0)
			}
		}
	}
	if c.count(0, hash) >= limit && c.count(1, hash) >= limit {
		return false
	}
	for r := range c.rows {
		if c.count(r, hash) < 255 {
			w, shift := c.cell(r, hash)
			w.Add(1 << shift)
		}
	}
	return true
}

func (c *sketch) count(row int, hash uint64) int {
	w, shift := c.cell(row, hash)
	return int(w.Load() >> shift & 0xff)
}

func (c *sketch) cell(row int, hash uint64) (*atomic.Uint32, uint) {
	h := mix(hash, 0x2545f4914f6cdd1d*uint64(2*row+1))
	return &c.rows[row][h>>2%sketchSize], uint(h&3) * 8
}
