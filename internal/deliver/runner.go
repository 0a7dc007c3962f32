package deliver

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Limits are the bounds and times of a Runner. A zero field means its default.
type Limits struct {
	Active         int           // recipients in memory; default 4000
	Connections    int           // workers in all; default 200
	PerDestination int           // workers of one next hop; default 20
	First          int           // workers of a next hop at first; default 2
	PerConnection  int           // transactions on one connection; default 100
	Idle           time.Duration // an unused connection is kept; default 3 s
	Retry          time.Duration // from the first attempt to the second; doubles; default 3 min
	RetryMax       time.Duration // longest between two attempts; default 3 h
	DeadAfter      int           // failures to connect in a row that make a next hop dead; default 3
	DeadMax        time.Duration // longest rest of a dead next hop; default 1 h
	DelayWarning   time.Duration // age at which a user hears of a delay; default 4 h; negative: never
	Drain          time.Duration // what transactions may take after the stop; default 30 s
	DigestRows     int           // double bounces that bring a digest before the day is over; default 500
	DigestEvery    time.Duration // default 24 h
	Sweep          time.Duration // between looks for expired and delayed mail; default 1 min
}

func (l Limits) withDefaults() Limits {
	for _, n := range []struct {
		p *int
		d int
	}{{&l.Active, 4000}, {&l.Connections, 200}, {&l.PerDestination, 20}, {&l.First, 2}, {&l.PerConnection, 100},
		{&l.DeadAfter, 3}, {&l.DigestRows, 500}} {
		if *n.p == 0 {
			*n.p = n.d
		}
	}
	for _, t := range []struct{ p, d *time.Duration }{
		{&l.Idle, new(3 * time.Second)}, {&l.Retry, new(3 * time.Minute)}, {&l.RetryMax, new(3 * time.Hour)},
		{&l.DeadMax, new(time.Hour)}, {&l.DelayWarning, new(4 * time.Hour)}, {&l.Drain, new(30 * time.Second)},
		{&l.DigestEvery, new(24 * time.Hour)}, {&l.Sweep, new(time.Minute)}} {
		if *t.p == 0 {
			*t.p = *t.d
		}
	}
	return l
}

// Runner empties the queue. Its fields are set before Run.
type Runner struct {
	Queue      *queue.Queue
	Intake     *Intake
	Resolver   dns.Resolver
	Routes     *Table
	Events     *event.Recorder
	Metrics    *Metrics
	Log        *slog.Logger
	Hostname   string         // ours, in EHLO and in reports
	Own        []netip.Addr   // addresses at which the world reaches us, for loops
	Port       uint16         // of mail exchangers; 0: 25
	Discipline *Discipline    // hears what becomes of users' mail; may be nil
	Postmaster mail.Address   // gets what nobody else may hear of
	Times      smtpc.Timeouts // zero: smtpc.DefaultTimeouts
	Limits     Limits

	limits Limits
	kicked chan struct{}
	hard   context.Context // ends when draining takes too long
	soft   context.Context // ends when Run is to stop
	group  sync.WaitGroup

	mu      sync.Mutex
	active  map[int64]bool // recipients in jobs
	readers int            // reads of the queue going on
	ended   map[int64]bool // recipients that left active during them: what those reads say of them is old
	dests   map[string]*destination
	workers int
	// generation counts the operators' notices: jobs read before the newest
	// one are read again instead of begun.
	generation uint64
}

func (r *Runner) timeouts() smtpc.Timeouts {
	if r.Times == (smtpc.Timeouts{}) {
		return smtpc.DefaultTimeouts
	}
	return r.Times
}

// Run delivers until ctx ends, then lets the transactions at work finish for
// Limits.Drain. It gives an error only when it could not begin.
func (r *Runner) Run(ctx context.Context) error {
	r.limits = r.Limits.withDefaults()
	r.kicked = make(chan struct{}, 1)
	r.active, r.ended, r.dests = map[int64]bool{}, map[int64]bool{}, map[string]*destination{}
	var end context.CancelFunc
	r.soft = ctx
	r.hard, end = context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if r.Queue.Bus != nil {
		defer r.Queue.Bus.Subscribe(queue.Topic, func([]byte) { r.notice() })()
	}
	r.group.Go(r.sweeper)
	r.loop(ctx)
	timer := time.AfterFunc(r.limits.Drain, end)
	defer timer.Stop()
	r.group.Wait()
	return nil
}

// kick makes the loop read the queue soon.
func (r *Runner) kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

// notice is called when an operator has changed the queue: what is not begun
// is forgotten, and read again as it is now.
func (r *Runner) notice() {
	r.mu.Lock()
	r.generation++
	for _, d := range r.dests {
		d.until, d.rest = time.Time{}, 0 // "retry" means now
	}
	r.mu.Unlock()
	r.kick()
}

// loop reads due recipients and hands them to their destinations. Reading
// takes at most about a third of the time, whatever comes in.
func (r *Runner) loop(ctx context.Context) {
	for ctx.Err() == nil {
		start := time.Now()
		wait, err := r.fetch(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.Error("cannot read the queue", "error", err)
			wait = 5 * time.Second
		}
		if !sleep(ctx, max(2*time.Millisecond, 2*time.Since(start))) {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-r.kicked:
		case <-r.Queue.Added():
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// sleep tells whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	longestWait = 30 * time.Second
	pageSize    = 500
)

// fetch reads one page of due recipients and gives how long there is nothing
// more to do, unless kicked.
func (r *Runner) fetch(ctx context.Context) (time.Duration, error) {
	r.mu.Lock()
	room := r.limits.Active - len(r.active)
	limit := len(r.active) + min(pageSize, room)
	full := r.fullRoutes()
	generation := r.generation
	r.mu.Unlock()
	if room <= 0 {
		return longestWait, nil // a worker kicks when it is done
	}
	defer r.reading()()
	now := time.Now()
	items, err := r.Queue.Due(ctx, now, limit, full)
	if err != nil {
		return 0, err
	}
	r.take(items, generation)
	if len(items) == limit {
		return 0, nil
	}
	next, err := r.Queue.NextDue(ctx, now)
	if err != nil {
		return 0, err
	}
	if next.IsZero() {
		return longestWait, nil
	}
	return min(time.Until(next), longestWait), nil
}

// reading is called before a read of the queue whose result is acted upon, and
// what it gives after that.
func (r *Runner) reading() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.readers--; r.readers == 0 {
			clear(r.ended)
		}
	}
}

// forget takes recipients from those at work. What becomes of them is on disk.
func (r *Runner) forget(items []queue.Item) {
	for i := range items {
		delete(r.active, items[i].ID)
		if r.readers > 0 {
			r.ended[items[i].ID] = true
		}
	}
}

// take puts due recipients into jobs, leaving out those at work already.
func (r *Runner) take(items []queue.Item, generation uint64) {
	var moved, late []queue.Item
	r.mu.Lock()
	now := time.Now()
	dead := map[string]bool{}
	for _, it := range items {
		if r.active[it.ID] || r.ended[it.ID] {
			continue
		}
		if name := r.Routes.Name(it.Domain); name != it.Route {
			it.Route = name
			moved = append(moved, it)
			continue // read again under its new route
		}
		d := r.destination(it.Route, now)
		if d.until.After(now) {
			if !dead[it.Route] {
				dead[it.Route] = true
				late = append(late, it)
			}
			continue
		}
		if d.add(it, generation) {
			r.active[it.ID] = true
		}
	}
	r.spawnAll()
	r.mu.Unlock()
	if len(moved) > 0 {
		r.persist("reroute", func(tx *db.Tx) error {
			for _, it := range moved {
				if err := r.Queue.Reroute(tx, it.ID, it.Route); err != nil {
					return err
				}
			}
			return nil
		})
		r.kick()
	}
	for _, it := range late {
		r.postpone(it.Route)
	}
}

// delay is the time from attempt number n to the next, with a fifth of jitter
// to either side.
func (l Limits) delay(n int) time.Duration {
	d := l.RetryMax
	if n < 20 {
		d = min(l.Retry<<max(n-1, 0), l.RetryMax)
	}
	return jitter(d)
}

func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// persist writes what must not be forgotten: it tries until it is written or
// the drain is over. It tells whether it was.
func (r *Runner) persist(what string, fn func(*db.Tx) error) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		err := r.Queue.DB.Write(context.Background(), fn)
		if err == nil {
			return true
		}
		r.Log.Error("cannot write the queue, trying again", "what", what, "error", err)
		r.Events.Record(event.Event{Time: time.Now(), Kind: event.Fault, Role: "delivery", Verb: what, Reason: err.Error()})
		if !sleep(r.hard, pause) {
			return false
		}
	}
}
