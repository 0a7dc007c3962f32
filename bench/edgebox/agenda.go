package main

import (
	"container/heap"
	"sync"
	"time"
)

// agenda runs things at their scaled time, each in a goroutine of its own.
type agenda struct {
	scale float64
	start time.Time
	slots chan struct{} // as many things as may run at once

	mu   sync.Mutex
	due  events
	wake chan struct{} // something earlier than all others was added
}

// maxAtOnce bounds the open sessions of a play; what comes beyond is late, and
// reported so.
const maxAtOnce = 1000

func newAgenda(scale float64) *agenda {
	return &agenda{scale: scale, start: time.Now(), slots: make(chan struct{}, maxAtOnce), wake: make(chan struct{}, 1)}
}

// now gives the scaled seconds since the start.
func (a *agenda) now() float64 { return time.Since(a.start).Seconds() * a.scale }

// at plans a thing. It is told the time it was planned for.
func (a *agenda) at(when float64, do func(at float64)) {
	a.mu.Lock()
	heap.Push(&a.due, thing{when, do})
	first := a.due[0].when == when
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// run does what is planned before the end, and returns then, when all that
// began has ended.
func (a *agenda) run(end float64) {
	for {
		wait, what := a.next(end)
		if what.do != nil {
			a.slots <- struct{}{}
			go func() {
				defer func() { <-a.slots }()
				what.do(what.when)
			}()
			continue
		}
		if wait <= 0 {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-a.wake:
			timer.Stop()
		}
	}
	for range cap(a.slots) {
		a.slots <- struct{}{}
	}
}

// next gives what is due, or how long to wait; nothing at the end.
func (a *agenda) next(end float64) (time.Duration, thing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := end
	if len(a.due) > 0 {
		at = min(end, a.due[0].when)
	}
	if wait := at - a.now(); wait > 0 {
		return time.Duration(wait/a.scale*1e9) + 1, thing{}
	}
	if at == end {
		return 0, thing{}
	}
	return 0, heap.Pop(&a.due).(thing)
}

type thing struct {
	when float64
	do   func(at float64)
}

type events []thing

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].when < e[j].when }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(thing)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}
