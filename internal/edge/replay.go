package edge

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"math"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Replay runs rules over recorded events and tells who would have been delayed,
// and how many guesses answered, beside what happened.
//
// The files are read twice: first to find out which sources were senders and
// which attackers, then to decide every RCPT anew with the engine itself. What
// cannot be known is assumed, in favour of nobody: attackers do what they did;
// a sender that was answered then and is deferred now tries the same
// transaction again, as mail servers do, at the first moment at which that
// helps, so that such a delay is the least there can be. Limits of flow are not
// replayed.
type Replay struct {
	Rules Rules
	Files []string // of the journal, in any order
}

// giveUp is how long mail servers try, in seconds (RFC 5321 section 4.5.4.1).
const giveUp = 5 * 86400

// Run gives the report. Its memory grows with the number of distinct sources,
// of delayed mail and of valid addresses that attackers were told of.
func (r *Replay) Run(ctx context.Context) (*Report, error) {
	p := &player{report: &Report{}, senders: map[string]*SenderReport{}, held: map[uint64]*heldMail{}, found: map[uint64]guessed{}}
	census, err := p.takeCensus(ctx, r.Files)
	if err != nil {
		return nil, err
	}
	p.census = census
	sizes := Sizes{Sources: max(2*len(census.sources), 1<<16)}
	if p.engine, err = NewSeeded(r.Rules, sizes, 1); err != nil { // the same log gives the same report
		return nil, err
	}
	defer p.engine.Close()
	if err := p.each(ctx, r.Files, p.event); err != nil {
		return nil, err
	}
	p.retry(math.MaxUint32)
	p.finish()
	return p.report, nil
}

// player decides recorded attempts anew.
type player struct {
	engine  *Engine
	census  *census
	report  *Report
	open    sessions[dialogue]
	held    map[uint64]*heldMail // transactions of senders that somebody deferred, then or now
	retries retryHeap
	senders map[string]*SenderReport
	found   map[uint64]guessed // valid recipients that attackers were told of
	swept   Time
}

// guessed tells when attackers were told that an address is valid.
type guessed struct{ then, now bool }

// dialogue is what a session has for the next accepted message.
type dialogue struct {
	told []told
}

// told is a recipient whose message may be accepted.
type told struct {
	attempt  Attempt
	decision Decision
	held     *heldMail // it waits for an assumed retry
}

// heldMail is mail of a sender to one recipient that was deferred in the
// replay, or then.
type heldMail struct {
	key      uint64 // in player.held
	attempt  Attempt
	decision Decision
	sender   *SenderReport
	truth    Truth
	known    bool   // truth is
	first    Time   // when it was first deferred in the replay; 0: it was not
	then     Time   // when it was first deferred as recorded; 0: it was not
	answered bool   // in the replay; what follows in the log would not have been
	assumed  bool   // its retries are
	accepted bool   // its message was, in the log
	more     []Time // when further mail came that waits for the same retry
}

// each gives every event of the files to fn.
func (p *player) each(ctx context.Context, files []string, fn func(*event.Event)) error {
	log, err := openLog(files)
	if err != nil {
		return err
	}
	defer log.close()
	for n := 0; ; n++ {
		e, err := log.next()
		if errors.Is(err, io.EOF) {
			p.report.log(log)
			return nil
		}
		if err != nil {
			return err
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		p.report.span(e.Time)
		fn(&e)
	}
}

func (p *player) event(ev *event.Event) {
	now := Time(ev.Time.Unix())
	p.retry(now)
	p.sweep(now)
	switch ev.Kind {
	case event.Rcpt:
		a, ok := p.engine.Recorded(ev)
		if !ok {
			return
		}
		switch p.census.class(ev, &a) {
		case sender:
			p.fromSender(ev, &a)
		case attacker:
			p.fromOther(ev, &a, &p.report.Attackers)
		default:
			p.fromOther(ev, &a, &p.report.Unclear)
		}
	case event.Accept:
		if d := p.open.get(ev.Trace); d != nil {
			p.accept(d, now)
		}
	case event.Close:
		p.open.drop(ev.Trace)
	}
}

// fromOther decides an attempt of somebody who is no known sender.
func (p *player) fromOther(ev *event.Event, a *Attempt, g *GroupReport) {
	d := p.engine.Decide(a)
	truth, known := truthOf(ev.Truth)
	if known {
		p.engine.Learn(a, &d, truth)
	}
	g.Attempts++
	g.Answered.count(ev.Verdict == "answer", !d.Defer)
	if known && truth == Exists && g == &p.report.Attackers {
		f := p.found[a.Recipient]
		f.then = f.then || ev.Verdict == "answer"
		f.now = f.now || !d.Defer
		p.found[a.Recipient] = f
	}
}

// fromSender decides an attempt of a sender.
func (p *player) fromSender(ev *event.Event, a *Attempt) {
	key := mix(a.Sender^mix(a.Recipient, 3), 5)
	if a.Null { // everybody's bounces have the same sender
		key ^= mix(a.Source.narrow, 7)
	}
	h := p.held[key]
	answeredThen := ev.Verdict == "answer"
	switch {
	case h != nil && h.assumed:
		p.joins(ev, a, h)
		return
	case h != nil && h.answered:
		p.afterwards(ev, a, h, answeredThen)
		return
	}
	d := p.engine.Decide(a)
	truth, known := truthOf(ev.Truth)
	if known {
		p.engine.Learn(a, &d, truth)
	}
	if h == nil {
		p.report.Senders.Recipients++
		p.report.Senders.unknown(known && truth == Unknown, answeredThen, !d.Defer)
		if answeredThen && !d.Defer {
			p.tell(ev.Trace, told{attempt: *a, decision: d})
			return
		}
		h = &heldMail{key: key, sender: p.sender(ev, a)}
		p.held[key] = h
	}
	h.attempt, h.decision, h.truth, h.known = *a, d, truth, known
	p.both(ev, h, answeredThen)
	if answeredThen && h.answered {
		delete(p.held, key)
	}
}

// both writes down an attempt that then or now was not the first, or was
// deferred.
func (p *player) both(ev *event.Event, h *heldMail, answeredThen bool) {
	now := h.attempt.Time
	p.then(h, now, answeredThen)
	switch {
	case !h.decision.Defer:
		h.answered = true
		p.delayed(h, now)
		if answeredThen {
			p.tell(ev.Trace, told{attempt: h.attempt, decision: h.decision})
		}
	case h.first == 0:
		h.first = now
		p.report.Senders.Delayed.Now++
		h.sender.Delayed.Now++
		fallthrough
	default:
		if answeredThen { // nothing in the log will follow
			h.assumed = true
			p.later(h)
			p.tell(ev.Trace, told{held: h})
		}
	}
}

// afterwards takes an attempt in the log of mail that the replay has answered
// before.
func (p *player) afterwards(ev *event.Event, a *Attempt, h *heldMail, answeredThen bool) {
	p.then(h, a.Time, answeredThen)
	if answeredThen {
		p.tell(ev.Trace, told{attempt: h.attempt, decision: h.decision})
		delete(p.held, h.key)
	}
}

// joins takes more mail of a sender to a recipient for which it waits already:
// one retry lets both through.
func (p *player) joins(ev *event.Event, a *Attempt, h *heldMail) {
	h.more = append(h.more, a.Time)
	p.report.Senders.Recipients++
	p.report.Senders.Delayed.Now++
	h.sender.Delayed.Now++
	if ev.Verdict == "answer" {
		p.tell(ev.Trace, told{held: h})
	}
}

// then writes down what happened to held mail as recorded.
func (p *player) then(h *heldMail, now Time, answered bool) {
	s := &p.report.Senders
	switch {
	case !answered && h.then == 0:
		h.then = now
		s.Delayed.Then++
		h.sender.Delayed.Then++
	case answered && h.then != 0:
		s.then = append(s.then, uint32(now-h.then))
		h.sender.Longest.Then = max(h.sender.Longest.Then, Seconds(now-h.then))
		h.then = 0
	}
}

// delayed writes down for how long mail was held in the replay.
func (p *player) delayed(h *heldMail, now Time) {
	if h.first == 0 {
		return
	}
	for _, first := range append(h.more, h.first) {
		p.report.Senders.now = append(p.report.Senders.now, uint32(now-first))
		h.sender.Longest.Now = max(h.sender.Longest.Now, Seconds(now-first))
		if h.assumed {
			p.report.Senders.Assumed++
			h.sender.Assumed++
		}
	}
}

func (p *player) tell(trace mail.TraceID, t told) {
	d := p.open.at(trace)
	if len(d.told) < 10_000 { // more recipients than any transaction has
		d.told = append(d.told, t)
	}
}

// accept gives credit for an accepted message, at once or when its assumed
// retry gets through.
func (p *player) accept(d *dialogue, now Time) {
	for i := range d.told {
		t := &d.told[i]
		if t.held != nil && !t.held.answered {
			t.held.accepted = true
			continue
		}
		if t.held != nil {
			t.attempt, t.decision = t.held.attempt, t.held.decision
		}
		t.attempt.Time = now
		p.engine.Credit(&t.attempt, &t.decision)
	}
	d.told = d.told[:0]
}

// later plans the first retry that helps, as the engine sees it now.
func (p *player) later(h *heldMail) {
	at := h.attempt.Time + Time(h.decision.Wait)
	if h.decision.Until != 0 {
		at = h.decision.Until
	} else if first := p.heldSince(h); first != 0 {
		at = max(first+Time(h.decision.Wait), h.attempt.Time+60)
	}
	heap.Push(&p.retries, plannedRetry{max(at, h.attempt.Time+60), h})
}

// heldSince is when the engine first saw a transaction that waits.
func (p *player) heldSince(h *heldMail) Time {
	s, _ := p.engine.sources.peek(p.engine.sourceKey(&h.attempt))
	return s.heldSince(h.attempt.print())
}

// retry makes the assumed retries that are due before an event at now.
func (p *player) retry(now Time) {
	for len(p.retries) > 0 && p.retries[0].at < now {
		r := heap.Pop(&p.retries).(plannedRetry)
		h := r.held
		h.attempt.Time = r.at
		h.decision = p.engine.Decide(&h.attempt)
		if h.known {
			p.engine.Learn(&h.attempt, &h.decision, h.truth)
		}
		switch {
		case !h.decision.Defer:
			h.answered = true
			delete(p.held, h.key)
			p.delayed(h, r.at)
			if h.accepted {
				p.engine.Credit(&h.attempt, &h.decision)
			}
		case r.at-h.first > giveUp:
			delete(p.held, h.key)
			p.report.Senders.GivenUp += 1 + len(h.more)
			h.sender.GivenUp += 1 + len(h.more)
		default:
			p.later(h)
		}
	}
}

// sweep forgets what nobody tries any more, once an hour.
func (p *player) sweep(now Time) {
	if now-p.swept < 3600 {
		return
	}
	p.swept = now
	for key, h := range p.held {
		if now-h.attempt.Time > giveUp {
			p.forget(key, h)
		}
	}
}

// forget drops held mail, which the log, or its sender, left unanswered.
func (p *player) forget(key uint64, h *heldMail) {
	delete(p.held, key)
	if !h.answered {
		p.report.Senders.Open++
		h.sender.Open++
	}
}

func (p *player) finish() {
	for key, h := range p.held {
		p.forget(key, h)
	}
	for _, f := range p.found {
		p.report.Found.count(f.then, f.now)
	}
	p.report.Attackers.Sources, p.report.Unclear.Sources, p.report.Senders.Sources = p.census.sizes()
	p.report.sum(p.senders)
}

// sender gives the line of a sender in the report.
func (p *player) sender(ev *event.Event, a *Attempt) *SenderReport {
	s := SenderReport{Source: a.Source.Prefix().String(), Name: ev.Name, Identity: ev.Identity}
	if !a.Identity.Proven {
		s.Identity = ""
	}
	key := s.Source + " " + s.Name + " " + s.Identity
	if p.senders[key] == nil {
		p.senders[key] = &s
	}
	return p.senders[key]
}

// plannedRetry is an attempt that the log does not have.
type plannedRetry struct {
	at   Time
	held *heldMail
}

// retryHeap has the earliest retry first.
type retryHeap []plannedRetry

func (h retryHeap) Len() int           { return len(h) }
func (h retryHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h retryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *retryHeap) Push(x any) { *h = append(*h, x.(plannedRetry)) }

// Pop implements heap.Interface.
func (h *retryHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
