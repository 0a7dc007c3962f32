package mailbox

import (
	"context"
	"fmt"
	"iter"

	"github.com/migiwa/migiwa/internal/mail/outline"
)

// Need is what Items gives beside the Message.
type Need uint8

// Members of Need.
const (
	NeedOutline Need = 1 << iota // Outline
	NeedText                     // what OpenItem needs
)

// Item is a message with what was asked for.
type Item struct {
	Message
	Outline *outline.Outline // of the body, without Prefix
	Prefix  []byte
	folder  int64
}

// Items gives the messages of folder id with UIDs in set, in their order, as
// List does. Outlines that are not known yet are made and kept.
func (s *Store) Items(ctx context.Context, id int64, set []Range, need Need) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, r := range disjoint(set) {
			for m, err := range s.List(ctx, id, r) {
				it := Item{Message: m, folder: id}
				if err == nil && need != 0 {
					if c, e := s.Open(ctx, id, m.UID); e == nil {
						if need&NeedOutline != 0 {
							n := c.Size() - c.body.Size()
							it.Prefix = make([]byte, n)
							c.ReadAt(it.Prefix, 0)
							it.Outline, err = outline.Read(c.body)
						}
						c.Close()
					}
				}
				if !yield(it, err) {
					return
				}
			}
		}
	}
}

// OpenItem opens the text of an item that was asked for with NeedText, or gives
// ErrNoMessage when it is gone.
func (s *Store) OpenItem(ctx context.Context, it *Item) (*Content, error) {
	c, err := s.Open(ctx, it.folder, it.UID)
	if err != nil {
		return nil, fmt.Errorf("open item: %w", err)
	}
	return c, nil
}
