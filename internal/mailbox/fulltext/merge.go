package fulltext

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/store/db"
)

// merger reads segments side by side, word by word.
type merger struct {
	index *Index
	ctx   context.Context
	there set // messages that still are
	list  postings
}

// run calls yield for every word that has messages left, in the order of
// words; list is valid only then. The segments follow one another.
func (m *merger) run(list []segment, yield func(word string, list *postings) error) error {
	var h cursors
	for i, s := range list {
		c := &cursor{merger: m, segment: s, order: i}
		if ok, err := c.next(); err != nil {
			return err
		} else if ok {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	var word []byte
	for len(h) > 0 {
		word = append(word[:0], h[0].word...)
		m.list.reset()
		for len(h) > 0 && bytes.Equal(h[0].word, word) {
			c := h[0]
			if err := c.copyTo(&m.list); err != nil {
				return err
			}
			ok, err := c.next()
			if err != nil {
				return err
			}
			if ok {
				heap.Fix(&h, 0)
			} else {
				heap.Pop(&h)
			}
		}
		if len(m.list.docs) == 0 {
			continue
		}
		if err := yield(string(word), &m.list); err != nil {
			return err
		}
	}
	return nil
}

// cursor stands at a word of a segment.
type cursor struct {
	merger *merger
	segment
	order        int   // of the segment among those that are merged
	block        int64 // to be read next
	rest         []byte
	rows         [kinds]records
	word         []byte
	docs, places []byte // of word
}

// next goes to the next word; ok is false behind the last one.
func (c *cursor) next() (ok bool, err error) {
	for len(c.rest) == 0 {
		if c.block == c.blocks {
			return false, nil
		}
		if err := c.load(); err != nil {
			return false, err
		}
	}
	end := bytes.IndexByte(c.rest, '\n')
	if end < 0 {
		return false, fmt.Errorf("%w: word", errDamaged)
	}
	c.word, c.rest = c.rest[:end], c.rest[end+1:]
	if c.docs, err = c.rows[docs].next(); err == nil {
		c.places, err = c.rows[places].next()
	}
	return err == nil, err
}

// load reads the next block.
func (c *cursor) load() error {
	if err := c.merger.ctx.Err(); err != nil {
		return err
	}
	err := c.merger.index.DB.Read(c.merger.ctx, func(tx *db.Tx) error {
		for k := range kinds {
			data, err := readRow(tx, c.id, k, c.block)
			if err != nil {
				return err
			}
			c.rows[k] = data
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.rest = c.rows[words]
	if len(c.rest) == 0 || c.rest[0] != '\n' {
		return fmt.Errorf("%w: words", errDamaged)
	}
	c.rest = c.rest[1:]
	c.block++
	return nil
}

// copyTo adds the messages of the word that are still there to list.
func (c *cursor) copyTo(list *postings) error {
	disorder := false
	err := eachPlaces(c.docs, c.places, func(uid uint32, at []uint32) {
		disorder = disorder || uid < list.last
		if !disorder && c.merger.there.has(uid) {
			list.add(uid, at)
		}
	})
	if err == nil && disorder {
		err = fmt.Errorf("%w: order of messages", errDamaged)
	}
	return err
}

// cursors are a heap by word, then by segment.
type cursors []*cursor

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	if n := bytes.Compare(h[i].word, h[j].word); n != 0 {
		return n < 0
	}
	return h[i].order < h[j].order
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(c any)   { *h = append(*h, c.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
