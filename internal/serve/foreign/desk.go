// Package foreign keeps the visits of another mail server's clients, which that
// server tells us of piece by piece: a milter connection, a policy request, a
// look-up of sendmail's. All pieces of one connection meet at one Guest, found
// by the client's address and port, so that it does not matter by which way
// which of them comes.
//
// # Asking and telling
//
// A recipient is asked for before the other server has looked it up (Ask): that
// decision is blind. What the recipient turned out to be comes afterwards, by
// one of three ways:
//
//   - the server says so (Tell): the milter hears of each recipient, the refused
//     ones too, and the second stage of a policy list of those that exist;
//   - it stays silent: Postfix comes to the second stage with recipients that
//     exist and with no others. When the next request comes, or after a while,
//     the recipient is looked up where the Guard has a way (Guard.Exists).
//     Without one silence is taken as "unknown", and only if a second stage was
//     ever seen: a list without one would else make every recipient unknown;
//   - nobody tells, and nothing is learnt.
//
// Deferred recipients are nobody's to tell: the Guard looks them up itself
// (Guard.Exists), where it has been given a way.
package foreign

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

// The limits of a Desk.
const (
	maxGuests = 65536
	maxAsked  = 1000 // recipients of one transaction that are remembered
	guestIdle = 10 * time.Minute
	maxLooks  = 64 // look-ups of recipients that nobody told about, at once

	lookSoon = 200 * time.Millisecond // until silence leads to a look-up
	settle   = 3 * time.Second        // until silence is an answer
)

// Desk keeps the guests of one server. Its fields are set before use.
type Desk struct {
	Guard *edge.Guard
	// Own are the networks that the other server relays for: their clients are
	// not judged.
	Own []netip.Prefix

	staged atomic.Bool  // a second stage was seen
	ends   atomic.Bool  // it is told when a message is accepted
	looks  atomic.Int64 // under way

	once   sync.Once
	ctx    context.Context // ends with the desk
	cancel context.CancelFunc
	wg     sync.WaitGroup // look-ups

	mu     sync.Mutex
	closed bool
	guests map[netip.AddrPort]*list.Element
	recent list.List // of *Guest, the newest in front
}

// Client is what the other server tells of a client when it connects.
type Client struct {
	Role   string // of the events
	Remote netip.AddrPort
	Name   string // confirmed by the server, "" for none
	Looked bool   // the server has looked for a name
}

// HearsEnds tells that each accepted message will be told, from the first one
// on; otherwise that is known once one was.
func (d *Desk) HearsEnds() { d.ends.Store(true) }

// Known gives the guest that is known by the address and port, nil for none.
func (d *Desk) Known(remote netip.AddrPort) *Guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.guests[remote]; e != nil {
		return e.Value.(*Guest)
	}
	return nil
}

// Guest gives the guest that is known by c.Remote, or makes it one. A guest
// that nothing was heard of for ten minutes is gone; so is the oldest one when
// there are too many.
func (d *Desk) Guest(c Client) *Guest {
	now := time.Now()
	d.mu.Lock()
	e, known := d.guests[c.Remote]
	if !known {
		if d.guests == nil {
			d.guests = map[netip.AddrPort]*list.Element{}
		}
		e = d.recent.PushFront(d.newGuest(c))
		d.guests[c.Remote] = e
	}
	g := e.Value.(*Guest)
	g.seen = now
	d.recent.MoveToFront(e)
	gone := d.expire(now)
	d.mu.Unlock()
	for _, old := range gone {
		old.leave()
	}
	return g
}

func (d *Desk) newGuest(c Client) *Guest {
	g := &Guest{desk: d, client: c, trace: mail.NewTraceID()}
	if d.closed {
		return g
	}
	g.visit, g.away = d.Guard.Open(edge.Client{
		Trace: g.trace, Role: c.Role, Remote: c.Remote, Exempt: d.own(c.Remote.Addr()), MTAName: c.Name, Looked: c.Looked,
	})
	return g
}

// expire takes out the guests that are too old or too many.
func (d *Desk) expire(now time.Time) (gone []*Guest) {
	for e := d.recent.Back(); e != nil; e = d.recent.Back() {
		g := e.Value.(*Guest)
		if now.Sub(g.seen) < guestIdle && d.recent.Len() <= maxGuests {
			break
		}
		d.recent.Remove(e)
		delete(d.guests, g.client.Remote)
		gone = append(gone, g)
	}
	return gone
}

// Forget ends a guest: its connection is over.
func (d *Desk) Forget(g *Guest) {
	d.mu.Lock()
	if e := d.guests[g.client.Remote]; e != nil && e.Value.(*Guest) == g {
		d.recent.Remove(e)
		delete(d.guests, g.client.Remote)
	}
	d.mu.Unlock()
	g.leave()
}

func (d *Desk) init() {
	d.once.Do(func() { d.ctx, d.cancel = context.WithCancel(context.Background()) })
}

// Close ends all visits. Whoever comes later is not judged; then the Guard may
// be closed.
func (d *Desk) Close() {
	d.init()
	d.cancel()
	d.mu.Lock()
	d.closed = true
	var gone []*Guest
	for e := d.recent.Front(); e != nil; e = e.Next() {
		gone = append(gone, e.Value.(*Guest))
	}
	d.recent.Init()
	clear(d.guests)
	d.mu.Unlock()
	for _, g := range gone {
		g.leave()
	}
	d.wg.Wait()
}

// own tells whether the client is the server's own, or sits beside it.
func (d *Desk) own(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range d.Own {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
