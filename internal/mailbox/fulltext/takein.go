package fulltext

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// MaxText bounds the normal text that is taken in of one message, in octets. A
// message that has more is always looked at when a text is searched for.
const MaxText = 1 << 20

// Rebuild makes the indexes of all folders of an account anew and gives the
// number of its messages.
func (x *Index) Rebuild(ctx context.Context, account int64) (messages int64, err error) {
	folders, err := x.Mailboxes.Folders(ctx, account)
	for _, f := range folders {
		for _, src := range []source{{f.ID, inBody}, {f.ID, inHeader}} {
			if err == nil {
				err = x.drop(ctx, src)
			}
			if err == nil {
				err = x.takeIn(ctx, src)
			}
			if err != nil {
				return messages, fmt.Errorf("index %v: %w", src, err)
			}
		}
		messages += f.Messages
	}
	return messages, err
}

// errShort means that there is no room for an index.
var errShort = errors.New("room on the disk is short")

// takeIn brings an index up to date.
func (x *Index) takeIn(ctx context.Context, src source) error {
	if x.Mailboxes.Bodies.Short() {
		return errShort
	}
	release, err := x.enter(ctx, src)
	if err != nil {
		return err
	}
	defer release()
	for range 10 { // others may be at it, too, in other processes
		from, err := x.mark(ctx, src)
		if err == nil {
			err = x.takeInFrom(ctx, src, from)
		}
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errConflict
}

// maxSlots bounds how many folders are taken in at a time, each with some 40 MB
// of memory.
const maxSlots = 4

// enter waits until nobody in this process takes in the same, and for a slot.
func (x *Index) enter(ctx context.Context, src source) (release func(), err error) {
	done := make(chan struct{})
	for {
		x.mu.Lock()
		if x.slots == nil {
			x.slots, x.busy = make(chan struct{}, min(max(1, runtime.GOMAXPROCS(0)/2), maxSlots)), map[source]chan struct{}{}
		}
		other := x.busy[src]
		if other == nil {
			x.busy[src] = done
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
		delete(x.busy, src)
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

// takeInFrom takes in the messages above from. What is done stays, whatever
// becomes of the rest. A batch is written while the next one is read.
func (x *Index) takeInFrom(ctx context.Context, src source, from uint32) (err error) {
	if from == 1<<32-1 {
		return nil
	}
	saved := make(chan error, 1)
	saved <- nil // of no batch
	b := &batch{limit: x.tokens}
	save := func() error {
		if err := <-saved; err != nil {
			saved <- err
			return err
		}
		go func(from uint32, b *batch) { saved <- x.save(ctx, src, from, b) }(from, b)
		from, b = b.last, &batch{limit: x.tokens}
		return nil
	}
	var run *batch
	for run, err = range x.read(ctx, src, mailbox.Range{First: from + 1, Last: 1<<32 - 1}) {
		b.join(run)
		runs.Put(run)
		if err != nil || b.full() && save() != nil {
			break
		}
	}
	if b.docs > 0 && ctx.Err() == nil {
		save() // tells its error below
	}
	return errors.Join(err, <-saved)
}

// save writes a batch as a segment.
func (x *Index) save(ctx context.Context, src source, from uint32, b *batch) error {
	o := &output{index: x, source: src, seg: segment{first: b.first, last: b.last, docs: b.docs}}
	err := b.each(func(word string, list *postings) error { return o.add(ctx, word, list) })
	if err != nil {
		if o.begun {
			o.abandon()
		}
		return err
	}
	return o.finish(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE fulltext_folder SET uid = ? WHERE mailbox = ? AND field = ? AND uid = ? AND version = ?`,
			int64(b.last), src.folder, int64(src.field), int64(from), version)
		if err == nil && n == 0 {
			err = errConflict
		}
		return err
	})
}

// Messages are read in runs, each by a goroutine: of a part of what a batch
// takes, or of so many octets and one more.
const (
	runPart   = 1 << 15 // tokens of a batch for each message
	runOctets = 256 << 10
)

// read gives the tokens of the messages in r, run by run in the order of their
// UIDs. Several are read at a time. With an error comes what was read before.
func (x *Index) read(ctx context.Context, src source, r mailbox.Range) iter.Seq2[*batch, error] {
	return func(yield func(*batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		queue := x.readAhead(ctx, src, r)
		defer func() {
			cancel()
			for run := range queue {
				<-run
			}
		}()
		for next := range queue {
			if run := <-next; !yield(run.batch, run.err) || run.err != nil {
				return
			}
		}
	}
}

// run is what was read of some messages, up to one that fails.
type run struct {
	*batch
	err error
}

// readAhead begins to read messages; each run comes from a channel of its own.
// When ctx ends, so does it.
func (x *Index) readAhead(ctx context.Context, src source, r mailbox.Range) <-chan chan run {
	queue := make(chan chan run, min(runtime.GOMAXPROCS(0), 4))
	go func() {
		defer close(queue)
		for list := range x.unopened(ctx, src, r) {
			next := make(chan run, 1)
			select {
			case queue <- next:
			case <-ctx.Done():
				return
			}
			go func() { next <- x.readRun(ctx, src.field, list) }()
		}
	}()
	return queue
}

// unopened is a message that is still to be read, or that cannot be.
type unopened struct {
	mailbox.Item
	err error
}

// unopened gives the messages in r run by run.
func (x *Index) unopened(ctx context.Context, src source, r mailbox.Range) iter.Seq[[]unopened] {
	return func(yield func([]unopened) bool) {
		var run []unopened
		octets, most := int64(0), max(1, cmp.Or(x.tokens, maxTokens)/runPart)
		for it, err := range x.Mailboxes.Items(ctx, src.folder, []mailbox.Range{r}, mailbox.NeedText) {
			run = append(run, unopened{it, err})
			if octets += it.Size; len(run) < most && octets < runOctets {
				continue
			}
			if !yield(run) {
				return
			}
			run, octets = nil, 0
		}
		if len(run) > 0 {
			yield(run)
		}
	}
}

// runs keeps batches, for their memory.
var runs = sync.Pool{New: func() any { return &batch{} }}

// readRun reads the messages of a run.
func (x *Index) readRun(ctx context.Context, f field, list []unopened) run {
	r := run{batch: runs.Get().(*batch)}
	r.reset()
	for i := range list {
		uid, err := list[i].UID, list[i].err
		var texts []string
		var whole bool
		if err == nil {
			texts, whole, err = x.readOne(ctx, f, &list[i].Item)
		}
		switch {
		case errors.Is(err, mailbox.ErrNoMessage):
		case uid != 0 && (errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrCorrupt)):
			// It is damaged for good, and must always be looked at.
			r.add(uid, nil, false)
		case err != nil:
			r.err = fmt.Errorf("read message %d: %w", uid, err)
			return r
		default:
			r.add(uid, texts, whole)
		}
	}
	return r
}

// readOne reads the normal texts of a message.
func (x *Index) readOne(ctx context.Context, f field, it *mailbox.Item) (texts []string, whole bool, err error) {
	c, err := x.Mailboxes.OpenItem(ctx, it)
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	if f == inBody {
		return normalTexts(c)
	}
	text, whole, err := Header(c)
	return []string{text}, whole, err
}

// errEnough ends the reading of a message whose text is long.
var errEnough = errors.New("enough text")

// buffers are for texts as they are read.
var buffers = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// normalTexts gives the normal texts of a message, up to MaxText.
func normalTexts(r io.Reader) (texts []string, whole bool, err error) {
	left := MaxText
	raw := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(raw)
	err = Texts(r, func(text io.Reader) error {
		raw.Reset()
		if _, err := raw.ReadFrom(io.LimitReader(text, int64(left)+1)); err != nil {
			return err
		}
		if raw.Len() > left {
			return errEnough
		}
		if t := normalOctets(raw.Bytes()); len(t) <= left {
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
