package fulltext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// MaxText bounds the normal text that is taken in of one message, in octets. A
// message that has more is always looked at when a text is searched for.
const MaxText = 1 << 20

// takeIn brings the index of folder up to date.
func (x *Index) takeIn(ctx context.Context, folder int64) error {
	release, err := x.enter(ctx, folder)
	if err != nil {
		return err
	}
	defer release()
	for range 10 { // others may be at it, too, in other processes
		from, err := x.mark(ctx, folder)
		if err == nil {
			err = x.takeInFrom(ctx, folder, from)
		}
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errConflict
}

// enter waits until nobody in this process takes in folder, and for a slot.
func (x *Index) enter(ctx context.Context, folder int64) (release func(), err error) {
	done := make(chan struct{})
	for {
		x.mu.Lock()
		if x.slots == nil {
			x.slots, x.busy = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), map[int64]chan struct{}{}
		}
		other := x.busy[folder]
		if other == nil {
			x.busy[folder] = done
		}
		x.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	leave := func() {
		x.mu.Lock()
		delete(x.busy, folder)
		x.mu.Unlock()
		close(done)
	}
	select {
	case x.slots <- struct{}{}:
		return func() { <-x.slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// takeInFrom takes in the messages above from. Each segment that is done stays,
// whatever becomes of the rest.
func (x *Index) takeInFrom(ctx context.Context, folder int64, from uint32) error {
	if from == 1<<32-1 {
		return nil
	}
	b := batch{limit: x.batch}
	for m, err := range x.read(ctx, folder, mailbox.Range{First: from + 1, Last: 1<<32 - 1}) {
		if err != nil {
			return err
		}
		b.add(m.uid, m.texts, m.whole)
		if b.full() {
			if err := x.save(ctx, folder, from, &b); err != nil {
				return err
			}
			from, b = b.last, batch{limit: x.batch}
		}
	}
	if b.docs == 0 {
		return nil
	}
	return x.save(ctx, folder, from, &b)
}

// save writes a batch as a segment.
func (x *Index) save(ctx context.Context, folder int64, from uint32, b *batch) error {
	o := &output{index: x, folder: folder, seg: segment{first: b.first, last: b.last, docs: b.docs}}
	err := b.each(func(word string, list *postings) error { return o.add(ctx, word, list) })
	if err != nil {
		if o.begun {
			o.abandon()
		}
		return err
	}
	return o.finish(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE fulltext_folder SET uid = ? WHERE mailbox = ? AND uid = ? AND version = ?`,
			int64(b.last), folder, int64(from), version)
		if err == nil && n == 0 {
			err = errConflict
		}
		return err
	})
}

// message is what is taken in of a message.
type message struct {
	uid   uint32
	texts []string // normal
	whole bool
}

// read gives the texts of the messages of folder in r, in the order of their UIDs.
func (x *Index) read(ctx context.Context, folder int64, r mailbox.Range) func(yield func(message, error) bool) {
	return func(yield func(message, error) bool) {
		for it, err := range x.Mailboxes.Items(ctx, folder, []mailbox.Range{r}, mailbox.NeedText) {
			m := message{uid: it.UID}
			if err == nil {
				m, err = x.readOne(ctx, &it)
			}
			if errors.Is(err, mailbox.ErrNoMessage) {
				continue
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// readOne reads the text of a message. One that is damaged for good is taken
// in as one that must always be looked at.
func (x *Index) readOne(ctx context.Context, it *mailbox.Item) (message, error) {
	m := message{uid: it.UID}
	c, err := x.Mailboxes.OpenItem(ctx, it)
	if err == nil {
		m.texts, m.whole, err = normalTexts(c)
		c.Close()
	}
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrCorrupt) {
		return message{uid: it.UID}, nil
	}
	if err != nil {
		return m, fmt.Errorf("read message %d: %w", it.UID, err)
	}
	return m, nil
}

// errEnough ends the reading of a message whose text is long.
var errEnough = errors.New("enough text")

// normalTexts gives the normal texts of a message, up to MaxText.
func normalTexts(r io.Reader) (texts []string, whole bool, err error) {
	left := MaxText
	err = Texts(r, func(text io.Reader) error {
		raw, err := io.ReadAll(io.LimitReader(text, int64(left)+1))
		if err != nil {
			return err
		}
		if len(raw) > left {
			return errEnough
		}
		if t := Normal(string(raw)); len(t) <= left {
			texts = append(texts, t)
			left -= len(t)
			return nil
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return texts, false, nil
	}
	return texts, err == nil, err
}
