package dns

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Breaker stops asking a resolver that has failed to answer so many questions
// in a row, and tries again after a rest: work that can be done without DNS
// must not wait for a server that is not there. Its fields are set before use.
type Breaker struct {
	Resolver Resolver
	Failures int           // in a row, without any answer between
	Rest     time.Duration // 0: it never tries again

	mu     sync.Mutex
	failed int
	until  time.Time
}

// errResting is the cause of failures without a question.
var errResting = errors.New("DNS has not answered, and is not asked for a while")

// resting tells whether nothing is asked now. When a rest is over, one question
// decides about the next.
func (b *Breaker) resting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < b.Failures {
		return false
	}
	if b.Rest == 0 || time.Now().Before(b.until) {
		return true
	}
	b.until = time.Now().Add(b.Rest) // the others wait for the answer to this one
	return false
}

func (b *Breaker) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil || IsNotFound(err):
		b.failed = 0
	case errors.Is(err, context.Canceled):
	default:
		if b.failed++; b.failed == b.Failures {
			b.until = time.Now().Add(b.Rest)
		}
		b.failed = min(b.failed, b.Failures)
	}
}

func guarded[T any](b *Breaker, name string, question func() (T, error)) (T, error) {
	if b.resting() {
		var none T
		return none, &Error{Name: name, Kind: ErrTemporary, Cause: errResting}
	}
	answer, err := question()
	b.note(err)
	return answer, err
}

// MX implements Resolver.
func (b *Breaker) MX(ctx context.Context, domain string) (MXResult, error) {
	return guarded(b, domain, func() (MXResult, error) { return b.Resolver.MX(ctx, domain) })
}

// Addrs implements Resolver.
func (b *Breaker) Addrs(ctx context.Context, host string) (AddrsResult, error) {
	return guarded(b, host, func() (AddrsResult, error) { return b.Resolver.Addrs(ctx, host) })
}

// TXT implements Resolver.
func (b *Breaker) TXT(ctx context.Context, name string) (TXTResult, error) {
	return guarded(b, name, func() (TXTResult, error) { return b.Resolver.TXT(ctx, name) })
}

// PTR implements Resolver.
func (b *Breaker) PTR(ctx context.Context, addr netip.Addr) (PTRResult, error) {
	return guarded(b, addr.String(), func() (PTRResult, error) { return b.Resolver.PTR(ctx, addr) })
}

// TLSA implements Resolver.
func (b *Breaker) TLSA(ctx context.Context, name string) (TLSAResult, error) {
	return guarded(b, name, func() (TLSAResult, error) { return b.Resolver.TLSA(ctx, name) })
}
