package deliver

import (
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// job is a message with recipients of one next hop.
type job struct {
	message    *queue.Message
	items      []queue.Item
	generation uint64
}

// destination is a next hop with its line of jobs. Runner.mu guards it.
type destination struct {
	name    string
	line    []*job
	waiting int     // recipients in line
	workers int     // with a connection or on the way to one
	idle    int     // of them, those without a job
	width   float64 // workers that it may have now
	work    chan struct{}

	failures int           // to connect, in a row
	rest     time.Duration // of the newest death
	until    time.Time     // dead until then
	last     queue.Outcome // of the newest failure
	used     time.Time
}

// lineLimit bounds the recipients in line, so that a slow destination does not
// take all the room.
const lineLimit = 400

func (r *Runner) destination(name string, now time.Time) *destination {
	d := r.dests[name]
	if d == nil {
		d = &destination{name: name, width: float64(r.limits.First), work: make(chan struct{}, 1)}
		r.dests[name] = d
	}
	d.used = now
	return d
}

// add puts an item into the line, with the job of its message when that is the
// newest one. It tells whether there was room.
func (d *destination) add(it queue.Item, generation uint64) bool {
	if d.waiting >= lineLimit {
		return false
	}
	d.waiting++
	if n := len(d.line); n > 0 && d.line[n-1].message.ID == it.Message.ID && len(d.line[n-1].items) < smtpc.MaxRecipients {
		j := d.line[n-1]
		j.items = append(j.items, it)
		return true
	}
	d.line = append(d.line, &job{message: it.Message, items: []queue.Item{it}, generation: generation})
	return true
}

// fullRoutes names the destinations whose line needs nothing now.
func (r *Runner) fullRoutes() []string {
	var out []string
	for _, d := range r.dests {
		if d.waiting > lineLimit/2 {
			out = append(out, d.name)
		}
	}
	return out
}

// spawnAll gives all destinations with a line the workers they may have, those
// without any first.
func (r *Runner) spawnAll() {
	for _, d := range r.dests {
		if d.workers == 0 {
			r.spawn(d, 1)
		}
	}
	for _, d := range r.dests {
		r.spawn(d, int(d.width))
	}
}

// spawn lets d have up to most workers, as far as its line needs them.
func (r *Runner) spawn(d *destination, most int) {
	if r.soft.Err() != nil {
		return
	}
	for len(d.line) > d.idle && d.workers < most && r.workers < r.limits.Connections {
		d.workers++
		d.idle++
		r.workers++
		r.group.Go(func() { r.serve(d) })
	}
	if len(d.line) > 0 && d.idle > 0 {
		d.signal()
	}
}

// leaves tells whether a worker of d is to end: d may not have as many any
// more, or they are all taken while another destination has none.
func (r *Runner) leaves(d *destination) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.workers > int(d.width) {
		return true
	}
	if d.workers == 1 || r.workers < r.limits.Connections {
		return false
	}
	for _, other := range r.dests {
		if other.workers == 0 && len(other.line) > 0 {
			return true
		}
	}
	return false
}

// left notes that a worker of d has ended.
func (r *Runner) left(d *destination) {
	r.mu.Lock()
	defer r.mu.Unlock()
	crowded := r.workers >= r.limits.Connections
	d.workers--
	d.idle--
	r.workers--
	d.used = time.Now()
	if crowded {
		r.spawnAll()
	} else {
		r.spawn(d, int(d.width))
	}
}

func (d *destination) signal() {
	select {
	case d.work <- struct{}{}:
	default:
	}
}

// next takes a job from the line; stale ones are dropped to be read again.
func (r *Runner) next(d *destination) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(d.line) > 0 && r.soft.Err() == nil {
		j := d.line[0]
		d.line[0], d.line = nil, d.line[1:]
		if d.waiting > lineLimit/2 && d.waiting-len(j.items) <= lineLimit/2 {
			r.kick() // there is room again
		}
		d.waiting -= len(j.items)
		if j.generation == r.generation {
			d.idle--
			if len(d.line) > 0 && d.idle > 0 {
				d.signal()
			}
			return j
		}
		r.forget(j.items)
		r.kick()
	}
	return nil
}

// done is called when the results of j are on disk.
func (r *Runner) done(d *destination, j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.idle++
	before := len(r.active)
	r.forget(j.items)
	if before >= r.limits.Active || len(r.active) == 0 {
		r.kick()
	}
}

// await waits for a job while the connection may stay open.
func (r *Runner) await(d *destination) *job {
	if j := r.next(d); j != nil {
		return j
	}
	r.mu.Lock()
	crowded := r.workers >= r.limits.Connections
	r.mu.Unlock()
	if crowded {
		return nil
	}
	timer := time.NewTimer(r.limits.Idle)
	defer timer.Stop()
	for {
		select {
		case <-d.work:
			if j := r.next(d); j != nil {
				return j
			}
		case <-timer.C:
			return r.next(d)
		case <-r.soft.Done():
			return nil
		}
	}
}

// worked notes that d took a connection and a transaction.
func (r *Runner) worked(d *destination) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.failures, d.rest = 0, 0
	if d.width < float64(r.limits.PerDestination) {
		d.width += 1 / d.width
		r.spawn(d, int(d.width))
	}
}

// refusedUs notes that no connection to d could be had, and puts everything
// for it off when that is enough.
func (r *Runner) refusedUs(d *destination, o queue.Outcome) {
	r.mu.Lock()
	d.width = max(1, d.width/2)
	d.failures++
	d.last = o
	dies := d.failures >= r.limits.DeadAfter && !d.until.After(time.Now())
	if dies {
		r.dies(d, time.Now())
	}
	r.mu.Unlock()
	if dies {
		r.postpone(d.name)
	}
}

// dies lets d rest, longer after each death in a row, and forgets its line.
func (r *Runner) dies(d *destination, now time.Time) {
	d.rest = min(max(2*d.rest, r.limits.Retry), r.limits.DeadMax)
	d.until, d.width = now.Add(jitter(d.rest)), 1
	for _, j := range d.line {
		r.forget(j.items)
	}
	d.line, d.waiting = nil, 0
}

// postpone puts off what is due for a dead destination.
func (r *Runner) postpone(name string) {
	r.mu.Lock()
	d := r.dests[name]
	if d == nil || d.until.IsZero() {
		r.mu.Unlock()
		return
	}
	until, last := d.until, d.last
	r.mu.Unlock()
	r.persist("postpone", func(tx *db.Tx) error {
		_, err := r.Queue.Postpone(tx, name, until, last)
		return err
	})
}

// tidy drops destinations that have been out of use for long.
func (r *Runner) tidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for name, d := range r.dests {
		if d.workers == 0 && len(d.line) == 0 && now.Sub(d.used) > 10*time.Minute && now.Sub(d.until) > 2*r.limits.DeadMax {
			delete(r.dests, name)
		}
	}
}
