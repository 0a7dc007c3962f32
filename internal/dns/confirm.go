package dns

import (
	"context"
	"net/netip"
	"time"
)

// Confirmation is a search for the confirmed name of an address that goes on
// beside whoever wants to know it.
type Confirmation struct {
	done chan struct{}
	name string // "" when there is none
	err  error  // it could not be found out
}

// Confirm starts to look for a name of addr, as ForwardConfirmed does, for so
// long at most.
func Confirm(r Resolver, addr netip.Addr, limit time.Duration) *Confirmation {
	c := &Confirmation{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		c.name, _, c.err = ForwardConfirmed(ctx, r, addr)
	}()
	return c
}

// Done is closed when the search is over. A nil Confirmation never is.
func (c *Confirmation) Done() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.done
}

// Name gives what is known now: a name, or "" and whether the search ended
// without one.
func (c *Confirmation) Name() (name string, none bool) {
	if c == nil {
		return "", false
	}
	select {
	case <-c.done:
		return c.name, c.name == "" && c.err == nil
	default:
		return "", false
	}
}
