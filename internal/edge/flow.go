package edge

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// Rate is how much of something is allowed: Count in Seconds on average, and
// Burst at once by who was idle for long enough. A Count of 0 allows
// everything.
type Rate struct {
	Count   int64
	Burst   int64
	Seconds uint32 // at most a day
}

// FlowRules bounds what one source brings, whatever it turns out to be. Over a
// limit nothing is lost but time: the refusal is temporary, is not evidence,
// and what was refused is not counted.
type FlowRules struct {
	// Rates are those of one source: for each quantity a short window and a
	// long one, in the order of the quantities.
	Rates    [quantities]Rate
	Sessions int // open at a time, of one source; 0: no limit
	// Prefix times as much is allowed to all unproven sources of one /24 or
	// /56 together; 0: no limit.
	Prefix int64
	// Trusted times as much is allowed to a proven source, by itself: it
	// neither counts in its network nor suffers from it. 0: no limit.
	Trusted int64
	// Stress is the load above which unproven sources may have half the room.
	Stress float64
}

// What rates are for. Each has two: the short one first.
const (
	connections = 2 * iota
	messages
	recipients
	octets
	quantities
)

// SourceRates are the limits of one source as a site sets them; the long window
// of each is made from the short one.
type SourceRates struct {
	Connections int64 // a minute, twice as many at once
	Messages    int64 // in ten minutes
	Recipients  int64 // in ten minutes
	Octets      int64 // in ten minutes
}

// longer is how many times the short window's count the long one allows.
const longer = 20

// DefaultFlowRules are the rules of edge.flow as it comes.
func DefaultFlowRules() FlowRules {
	r := FlowRules{Sessions: 10, Prefix: 4, Trusted: 50, Stress: 0.7}
	r.Set(SourceRates{Connections: 30, Messages: 100, Recipients: 500, Octets: 128 << 20})
	return r
}

// Set makes the rates of one source: twenty times as many connections an hour
// as a minute, and of the rest twenty times as much a day as in ten minutes.
func (r *FlowRules) Set(s SourceRates) {
	short := func(at int, n, burst int64, seconds, long uint32) {
		r.Rates[at] = Rate{n, burst, seconds}
		r.Rates[at+1] = Rate{longer * n, longer * n, long}
	}
	short(connections, s.Connections, 2*s.Connections, 60, 3600)
	short(messages, s.Messages, s.Messages, 600, 86400)
	short(recipients, s.Recipients, s.Recipients, 600, 86400)
	short(octets, s.Octets, s.Octets, 600, 86400)
}

// Limit is what a client is over; the zero Limit is none.
type Limit uint8

// Within is no limit reached.
const Within Limit = 0

// The other limits. Those of a source, and then those of its network, begin
// with the rates in the order of FlowRules.Rates.
const (
	sourceRate  Limit = 1
	sourceOpen        = sourceRate + quantities
	networkRate       = sourceOpen + 1
	networkOpen       = networkRate + quantities
	Stressed          = networkOpen + 1 // half the room is kept for proven sources
	Full              = Stressed + 1    // no place in the table is free of open sessions
	limits            = Full + 1
)

// quantity names what rates are for.
var quantity = [quantities / 2]string{"connections", "messages", "recipients", "octets"}

// String names the limit for metrics: "source-connections-short".
func (l Limit) String() string {
	switch {
	case l == Within:
		return "within"
	case l == Stressed:
		return "stress"
	case l == Full:
		return "full"
	case l == sourceOpen:
		return "source-sessions"
	case l == networkOpen:
		return "network-sessions"
	}
	scope, at := "source-", int(l-sourceRate)
	if l >= networkRate {
		scope, at = "network-", int(l-networkRate)
	}
	return scope + quantity[at/2] + [2]string{"-short", "-long"}[at%2]
}

// Flow counts what sources bring and says when it is too much. Its table has a
// fixed size; what is idle makes room first, and who has open sessions never
// does, so that their number stays exact. Its methods may be called from any
// number of goroutines; none allocates.
type Flow struct {
	rules  FlowRules
	costs  [3][quantities]cost // by scope
	table  *flowTable
	told   shown        // limits that events have told of within the hour
	open   atomic.Int64 // sessions
	doubt  atomic.Int64 // of them those of unproven sources
	denied [limits]counter
}

// Whose limits a cost is of.
const (
	ofSource = iota
	ofNetwork
	ofTrusted
)

// NewFlow makes a Flow that knows so many sources and networks at a time, 48
// octets each; 0 stands for 1<<18. It should be several times the number of
// sessions that may be open. Close gives its memory back.
func NewFlow(rules FlowRules, size int) (*Flow, error) {
	if size <= 0 {
		size = 1 << 18
	}
	var seed [8]byte
	rand.Read(seed[:])
	t, err := newFlowTable(size, binary.LittleEndian.Uint64(seed[:]))
	if err != nil {
		return nil, err
	}
	f := &Flow{rules: rules, table: t, told: newShown(toldWords)}
	for i, r := range rules.Rates {
		f.costs[ofSource][i] = r.cost(1)
		f.costs[ofNetwork][i] = r.cost(rules.Prefix)
		f.costs[ofTrusted][i] = r.cost(rules.Trusted)
	}
	return f, nil
}

// toldWords is how many sources and networks over a limit are kept apart.
const toldWords = 1 << 14

// Close frees the table. The Flow must not be used any more.
func (f *Flow) Close() { f.table.close() }

// Session is an open connection as Flow counts it. Connect makes it, and it
// must be given back to Disconnect once.
type Session struct {
	source  Source
	open    bool
	trusted bool
}

// Connect counts a connection and an open session, or says which limit forbids
// it; only without one the Session counts. load is the share of the room for
// connections that is taken, from 0 to 1.
func (f *Flow) Connect(now Time, s Source, trusted bool, load float64) (Session, Limit) {
	l := f.connect(now, s, trusted, load)
	if l != Within {
		f.denied[l].add(1)
		return Session{}, l
	}
	f.open.Add(1)
	if !trusted {
		f.doubt.Add(1)
	}
	return Session{s, true, trusted}, Within
}

func (f *Flow) connect(now Time, s Source, trusted bool, load float64) Limit {
	if !trusted && f.stressed(load) {
		return Stressed
	}
	g := f.table.group(s)
	g.lock.Lock()
	defer g.lock.Unlock()
	own := g.entry(s.key, now)
	if own == nil {
		return Full
	}
	if own.full(f.sessions(trusted, 1)) {
		return sourceOpen
	}
	own.open++ // keeps its place while the network looks for one
	l := f.connectNetwork(g, now, s, trusted, own)
	if l != Within {
		own.open--
	}
	return l
}

// connectNetwork goes on where the source has room for a session.
func (f *Flow) connectNetwork(g flowGroup, now Time, s Source, trusted bool, own *flow) Limit {
	if trusted {
		return own.take(&f.costs[ofTrusted], connections, 1, sourceRate)
	}
	net := g.entry(s.narrow, now)
	if net == nil {
		return Full
	}
	if net.full(f.sessions(false, f.rules.Prefix)) {
		return networkOpen
	}
	l := f.takeBoth(own, net, connections, 1)
	if l == Within {
		net.open++
	}
	return l
}

// takeBoth takes from the source and its network, or from neither.
func (f *Flow) takeBoth(own, net *flow, what int, n int64) Limit {
	if l := net.over(&f.costs[ofNetwork], what, n, networkRate); l != Within {
		return l
	}
	l := own.take(&f.costs[ofSource], what, n, sourceRate)
	if l == Within {
		net.spend(&f.costs[ofNetwork], what, n)
	}
	return l
}

func (f *Flow) sessions(trusted bool, times int64) int64 {
	if trusted {
		times = f.rules.Trusted
	}
	return int64(f.rules.Sessions) * times
}

// stressed tells whether unproven sources have the half of the room that is
// theirs under stress. With open sessions taking load of the room, theirs take
// doubt/open of that.
func (f *Flow) stressed(load float64) bool {
	if load <= f.rules.Stress {
		return false
	}
	open := f.open.Load()
	return open > 0 && load*float64(f.doubt.Load())/float64(open) > 0.5
}

// Disconnect ends what Connect began. It does nothing for a Session that
// Connect refused, or a second time.
func (f *Flow) Disconnect(s *Session) {
	if !s.open {
		return
	}
	s.open = false
	g := f.table.group(s.source)
	g.lock.Lock()
	g.leave(s.source.key)
	if !s.trusted {
		g.leave(s.source.narrow)
	}
	g.lock.Unlock()
	f.open.Add(-1)
	if !s.trusted {
		f.doubt.Add(-1)
	}
}

// Message counts one message, or says which limit forbids it. Its size, as far
// as SIZE announced it, is looked at but not taken: Octets takes what came.
func (f *Flow) Message(now Time, s Source, trusted bool, size int64) Limit {
	return f.count(now, s, trusted, messages, size)
}

// Recipient counts one recipient, or says which limit forbids it.
func (f *Flow) Recipient(now Time, s Source, trusted bool) Limit {
	return f.count(now, s, trusted, recipients, 0)
}

func (f *Flow) count(now Time, s Source, trusted bool, what int, size int64) Limit {
	g := f.table.group(s)
	g.lock.Lock()
	defer g.lock.Unlock()
	own, net := g.both(s, trusted, now)
	l := f.countIn(own, net, trusted, what, size)
	if l != Within {
		f.denied[l].add(1)
	}
	return l
}

// countIn counts in the entries there are. None only means a table full of
// open sessions; Connect has said so.
func (f *Flow) countIn(own, net *flow, trusted bool, what int, size int64) (l Limit) {
	costs := &f.costs[ofSource]
	if trusted {
		costs = &f.costs[ofTrusted]
	}
	if own == nil {
		return Within
	}
	if l = own.over(costs, octets, size, sourceRate); l == Within && net != nil {
		l = net.over(&f.costs[ofNetwork], octets, size, networkRate)
	}
	switch {
	case l != Within:
		return l
	case net != nil:
		return f.takeBoth(own, net, what, 1)
	}
	return own.take(costs, what, 1, sourceRate)
}

// Octets counts what came, over its limit too: then the next message waits.
func (f *Flow) Octets(now Time, s Source, trusted bool, n int64) {
	g := f.table.group(s)
	g.lock.Lock()
	defer g.lock.Unlock()
	own, net := g.both(s, trusted, now)
	if own != nil {
		scope := ofSource
		if trusted {
			scope = ofTrusted
		}
		own.spend(&f.costs[scope], octets, n)
	}
	if net != nil {
		net.spend(&f.costs[ofNetwork], octets, n)
	}
}

// Open gives the sessions that are open, and those of them that unproven
// sources have.
func (f *Flow) Open() (all, unproven int64) { return f.open.Load(), f.doubt.Load() }

// Denied gives how often a limit was met since the start.
func (f *Flow) Denied(l Limit) int64 { return f.denied[min(l, limits-1)].Load() }

// Limits are all limits but Within, for metrics.
func Limits() (all []Limit) {
	for l := Limit(sourceRate); l < limits; l++ {
		all = append(all, l)
	}
	return all
}

// News tells whether an event should say that the limit was met: the first time
// in an hour for a source, for a network, or for what lies with us. Otherwise
// whoever is turned away a thousand times a second would fill the journal.
func (f *Flow) News(now Time, s Source, l Limit) bool {
	key := s.key
	switch {
	case l >= Stressed:
		key = 0
	case l >= networkRate:
		key = s.narrow
	}
	return f.told.count(mix(key, f.table.secret+uint64(l)), hourOf(now)) == 1
}

// Words says what the limit is and whose, for events: "more than 120
// connections a minute from 192.0.2.0/24".
func (f *Flow) Words(l Limit, s Source, trusted bool) string {
	times, who, at := int64(1), s.Prefix(), int(l-sourceRate)
	switch {
	case l == Within:
		return "within limits"
	case l == Stressed:
		return "half the room is kept for proven sources"
	case l == Full:
		return "more sessions than can be counted"
	case l >= networkRate:
		times, who, at = f.rules.Prefix, s.Narrow(), int(l-networkRate)
	case trusted:
		times = f.rules.Trusted
	}
	if at == quantities {
		return fmt.Sprintf("more than %d sessions at a time from %v", int64(f.rules.Sessions)*times, who)
	}
	r := f.rules.Rates[at]
	return fmt.Sprintf("more than %d %s %s from %v", r.Count*times, quantity[at/2], r.span(), who)
}

func (r Rate) span() string {
	switch r.Seconds {
	case 60:
		return "a minute"
	case 3600:
		return "an hour"
	case 86400:
		return "a day"
	}
	return fmt.Sprintf("in %d minutes", r.Seconds/60)
}
