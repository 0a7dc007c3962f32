package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
)

// How often a zone is tried.
const (
	trialEvery = 10 * time.Minute
	trialAgain = time.Minute // after it gave no answer
	patience   = 5 * time.Second
)

// health is whether a zone may be used.
type health struct {
	mu    sync.Mutex
	known bool
	err   error
	until time.Time     // then it is tried anew
	trial chan struct{} // closed when the trial under way ends; nil: none is
}

// well says why the zone must not be used now. The caller that finds a trial due
// makes it; others go on with what is known and wait only for the first.
func (z *zone) well(ctx context.Context, r dns.Resolver) error {
	h := &z.health
	h.mu.Lock()
	if h.known && (h.trial != nil || time.Now().Before(h.until)) {
		defer h.mu.Unlock()
		return h.err
	}
	if trial := h.trial; trial != nil {
		h.mu.Unlock()
		select {
		case <-trial:
			return z.well(ctx, r)
		case <-ctx.Done():
			return fmt.Errorf("waiting for its trial: %w", ctx.Err())
		}
	}
	h.trial = make(chan struct{})
	h.mu.Unlock()
	again, err := z.try(ctx, r)
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.trial)
	h.trial = nil
	if ctx.Err() != context.Canceled { // the message went away: that proves nothing
		h.known, h.err, h.until = true, err, time.Now().Add(again)
	}
	return err
}

// fail switches the zone off at once, because of what it answered just now.
func (z *zone) fail(err error) {
	h := &z.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.err, h.until = true, err, time.Now().Add(trialEvery)
}

// doubt makes the next message try the zone, because it gave no answer.
func (z *zone) doubt() {
	h := &z.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = time.Time{}
}

// never is what no list holds: RFC 5782, 5.
func (z *zone) never() string {
	if z.Kind == Address {
		return reversed(netip.MustParseAddr("127.0.0.1"))
	}
	return "invalid"
}

// try makes the trial. Only the wrong kind of presence counts: many lists do not
// hold the test names that RFC 5782 wants them to.
func (z *zone) try(ctx context.Context, r dns.Resolver) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := r.Addrs(ctx, z.never()+"."+z.Zone)
	switch {
	case dns.IsNotFound(err):
		return trialEvery, nil
	case err != nil:
		return trialAgain, plain(err)
	}
	if v := z.judge(res.Addrs); v.refused != nil {
		return trialEvery, v.refused
	}
	return trialEvery, fmt.Errorf("lists %q, which no list may hold", z.never())
}

// plain is a resolver's error without the name that was asked for, in which a
// customer's key may stand.
func plain(err error) error {
	var e *dns.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Cause != nil {
		return fmt.Errorf("%w: %v", e.Kind, e.Cause)
	}
	return e.Kind
}
