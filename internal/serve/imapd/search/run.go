package search

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Mailbox is where a search looks.
type Mailbox struct {
	Store  *mailbox.Store
	Folder int64
	UIDs   []uint32          // by sequence number, as the client knows them: no other message is found
	Only   []uint32          // of UIDs those that are looked at; nil: all
	Saved  []uint32          // what "$" stands for, in order
	Recent func(uint32) bool // tells whether a message, by its UID, is \Recent; nil: none is
	// EmailID gives the object identifier of a message as clients know it.
	EmailID func(*mailbox.Message) string
	Index   *fulltext.Index // nil: bodies must be read
}

// Want is what the caller wants to know of messages that are found.
type Want uint8

// What may be wanted.
const (
	WantNumber  Want = iota // only Number and UID
	WantMessage             // Item without Outline
	WantOutline
)

// Found is a message that the program fits.
type Found struct {
	Number uint32 // sequence number
	*mailbox.Item
}

// Run calls found for each message that p fits, in the order of their numbers
// when outlines are wanted, else in any. Nothing is held while found runs, and
// what it is given is valid only then. Messages that cannot be read are
// searched as if they were empty: err may wrap ErrUnreadable though all others
// were looked at.
func (p *Program) Run(ctx context.Context, box Mailbox, want Want, found func(Found) error) error {
	r := run{Program: p, Mailbox: box, want: level(want), found: found, now: time.Now()}
	if r.Only == nil {
		r.Only = r.UIDs
	}
	p.root.bind(box)
	left := r.numbers()
	var err error
	if len(left) > 0 && p.root.asksRows() && r.deepest() > byRow {
		left, err = r.rows(ctx, left)
	}
	if err == nil && len(left) > fewMessages && r.Index != nil && len(p.texts) > 0 {
		left, err = r.consult(ctx, left)
	}
	if err == nil && r.err == nil && len(left) > 0 {
		err = r.rest(ctx, left)
	}
	return first(err, r.err, r.unread)
}

// fewMessages are read sooner than the index is asked, which may have to take
// in the whole folder.
const fewMessages = 50

// first gives the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrUnreadable says that some messages could not be read.
var ErrUnreadable = errors.New("unreadable message")

// run is one search under way.
type run struct {
	*Program
	Mailbox
	want   level
	found  func(Found) error
	now    time.Time
	known  []fulltext.Result // of Index, by the places of text keys
	heads  []fulltext.Result // likewise, of headers; empty for BODY
	err    error             // of found
	unread error
	buf    []byte // of scan
}

// deepest is the level at which all is known, both for the keys and for what
// is wanted.
func (r *run) deepest() level { return max(r.root.level, r.want) }

// bind gives sets their meaning in a mailbox. They keep it: a search that is
// run again is about the same messages, whatever their numbers are then.
func (k *key) bind(box Mailbox) {
	for _, kid := range k.kids {
		kid.bind(box)
	}
	if k.op != opNumbers && k.op != opUIDs || k.bound {
		return
	}
	k.bound = true
	switch {
	case k.set.Saved:
		k.uids = box.Saved
	case len(box.UIDs) == 0:
	case k.op == opNumbers:
		n := uint32(len(box.UIDs))
		for _, r := range k.set.Normal(n) {
			if r.First <= n {
				k.numbers = append(k.numbers, wire.Range{First: box.UIDs[r.First-1], Last: box.UIDs[min(r.Last, n)-1]})
			}
		}
	default:
		k.numbers = k.set.Normal(box.UIDs[len(box.UIDs)-1])
	}
}

// asksRows tells whether a key asks for the row of a message.
func (k *key) asksRows() bool {
	return k.kids == nil && k.level == byRow || slices.ContainsFunc(k.kids, (*key).asksRows)
}

// asksHeader tells whether a key asks for the header as it is stored.
func (k *key) asksHeader() bool {
	return k.op == opText || k.op == opHeader && k.level == byHeader || slices.ContainsFunc(k.kids, (*key).asksHeader)
}

func (r *run) subject(at level, uid uint32) *subject {
	n, _ := slices.BinarySearch(r.UIDs, uid)
	return &subject{level: at, number: uint32(n + 1), uid: uid, now: r.now, recent: r.Recent != nil && r.Recent(uid), emailID: r.EmailID}
}

// tell gives found a message. It tells whether more are wanted.
func (r *run) tell(s *subject) bool {
	it := s.item
	if it == nil {
		it = &mailbox.Item{Message: mailbox.Message{UID: s.uid}}
	}
	r.err = r.found(Found{s.number, it})
	return r.err == nil
}

// numbers asks what needs only numbers. It gives the UIDs of those about which
// more must be known.
func (r *run) numbers() (left []uint32) {
	if r.root.level > byNumber && len(r.root.kids) > 0 && r.root.kids[0].level > byNumber {
		return r.Only // no key to ask
	}
	for _, uid := range r.Only {
		s := r.subject(byNumber, uid)
		switch t := r.root.ask(s); {
		case t == no:
		case t == yes && r.want == byNumber:
			if !r.tell(s) {
				return nil
			}
		default:
			left = append(left, uid)
		}
	}
	return left
}

// rows asks what needs only the row of a message.
func (r *run) rows(ctx context.Context, uids []uint32) (left []uint32, err error) {
	for it, err := range r.Store.Items(ctx, r.Folder, mailbox.Ranges(uids), 0) {
		if err != nil {
			return nil, err
		}
		if !in(uids, it.UID) {
			continue
		}
		s := r.subject(byRow, it.UID)
		s.item = &it
		switch t := r.root.ask(s); {
		case t == no:
		case t == yes && r.want <= byRow:
			if !r.tell(s) {
				return nil, nil
			}
		default:
			left = append(left, it.UID)
		}
	}
	return left, ctx.Err()
}

// in tells whether uid is in uids, which ascend.
func in(uids []uint32, uid uint32) bool {
	_, found := slices.BinarySearch(uids, uid)
	return found
}

// consult asks the index about the texts of messages.
func (r *run) consult(ctx context.Context, uids []uint32) (left []uint32, err error) {
	for _, k := range r.texts {
		known, err := r.Index.Find(ctx, r.Folder, k.text)
		var heads fulltext.Result
		if err == nil && k.op == opText {
			heads, err = r.Index.FindHeader(ctx, r.Folder, k.text)
		}
		if err != nil {
			return nil, err
		}
		r.known, r.heads = append(r.known, known), append(r.heads, heads)
	}
	for _, uid := range uids {
		s := r.subject(byNumber, uid)
		r.lookUp(s)
		switch t := r.root.ask(s); {
		case t == no:
		case t == yes && r.want == byNumber:
			if !r.tell(s) {
				return nil, nil
			}
		default:
			left = append(left, uid)
		}
	}
	return left, nil
}

// lookUp notes what the index knows of a message.
func (r *run) lookUp(s *subject) {
	if len(r.texts) == 0 {
		return
	}
	s.bodies, s.heads = make([]truth, len(r.texts)), make([]truth, len(r.texts))
	for i := range r.known {
		s.bodies[i], s.heads[i] = says(r.known[i], s.uid), says(r.heads[i], s.uid)
	}
}

// says gives what the index says of a message.
func says(known fulltext.Result, uid uint32) truth {
	switch {
	case uid > known.Upto || in(known.May, uid):
		return unknown
	case in(known.Has, uid):
		return yes
	}
	return no
}

// rest reads of messages what is needed, each once, and answers for them.
func (r *run) rest(ctx context.Context, uids []uint32) error {
	need := mailbox.Need(0)
	if r.deepest() >= byOutline {
		need |= mailbox.NeedOutline
	}
	if r.deepest() >= byHeader {
		need |= mailbox.NeedText
	}
	for it, err := range r.Store.Items(ctx, r.Folder, mailbox.Ranges(uids), need) {
		if err != nil {
			if it.UID == 0 {
				return err
			}
			r.unread, it.Outline = fmt.Errorf("%w: %w", ErrUnreadable, err), nil
		}
		if !in(uids, it.UID) {
			continue
		}
		if it.Outline == nil {
			it.Outline = &outline.Outline{}
		}
		s := r.subject(min(r.deepest(), byOutline), it.UID)
		s.item = &it
		r.lookUp(s)
		t, err := r.decide(ctx, s)
		if err != nil {
			return err
		}
		if t == yes && !r.tell(s) {
			return nil
		}
	}
	return ctx.Err()
}

// decide answers for a message, reading its text if nothing else helps.
func (r *run) decide(ctx context.Context, s *subject) (truth, error) {
	if t := r.root.ask(s); t != unknown {
		return t, nil
	}
	c, err := r.Store.OpenItem(ctx, s.item)
	switch {
	case errors.Is(err, mailbox.ErrNoMessage):
		return no, nil
	case err != nil && ctx.Err() != nil:
		return no, err
	case err != nil:
		r.unread = fmt.Errorf("%w: %w", ErrUnreadable, err)
		r.empty(s)
		return r.root.ask(s), nil
	}
	defer c.Close()
	if r.root.asksHeader() {
		if err := s.readHeader(c); err != nil {
			return no, err
		}
		if t := r.root.ask(s); t != unknown {
			return t, nil
		}
	}
	if err := r.scan(ctx, c, s.bodies); err != nil {
		return no, err
	}
	s.level = byText
	return r.root.ask(s), nil
}

// empty is for a message that cannot be read.
func (r *run) empty(s *subject) {
	s.level, s.header = byText, mail.ParseHeader(nil)
	for i, b := range s.bodies {
		if b == unknown {
			s.bodies[i] = no
		}
	}
}

// readHeader reads the header of a message and goes back to its beginning.
func (s *subject) readHeader(c *mailbox.Content) error {
	h, err := mail.ReadHeader(bufio.NewReader(c), mail.DefaultHeaderLimits())
	if err != nil && !errors.Is(err, mail.ErrHeaderLimit) {
		return err
	}
	s.header, s.headers = h, fulltext.Normal(outline.HeaderText(h))
	s.level = byHeader
	_, err = c.Seek(0, 0)
	return err
}
